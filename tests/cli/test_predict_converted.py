"""`zoo predict` with a network that was converted before: neither Keras nor TensorFlow is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import make_images, zoo

from zoo.inference.classifier import Classifier
from zoo.inference.ood import FILE, LEAST, fit_detector
from zoo.runs.run import Run

pytestmark = pytest.mark.usefixtures("elsewhere")

PREDICT = """
import sys
from zoo.cli.main import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print({"keras", "tensorflow", "jax", "torch"} & set(sys.modules), file=sys.stderr)
"""


def give_detector(run: Run) -> None:
    with Classifier.open(run, runtime="keras") as classifier:
        size = classifier.image_size
        images = np.random.default_rng(1).integers(0, 256, (LEAST, size, size), dtype=np.uint8)
        _, features = classifier.runtime.predict(images)
    fit_detector(features, images).save(run.path / FILE)


@pytest.mark.parametrize(("runtime", "package"), [("litert", "ai_edge_litert"), ("onnx", "onnxruntime")])
def test_a_run_converted_once_predicts_without_keras_and_tensorflow(
    runtime: str, package: str, finished: Callable[..., Any], run_python: Callable[..., Any]
) -> None:
    pytest.importorskip(package)
    finished("first", "multilabel")
    assert zoo("evaluate", "first", "--calibration", "temperature").exit_code == 0
    give_detector(Run(Path("runs/first")))
    make_images(1)
    image = Path("images/0.png")
    by_keras = zoo("predict", "first", str(image), "--json", "--runtime", "keras")
    assert zoo("predict", "first", str(image), "--runtime", runtime).exit_code == 0  # converts
    words = ("predict", str(Path("runs/first").resolve()), str(image.resolve()), "--json", "--runtime", runtime)
    done = run_python("-c", PREDICT, *words)
    assert done.stderr.splitlines()[-1] == "set()", done.stderr
    found, expected = json.loads(done.stdout), json.loads(by_keras.stdout)
    assert found["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert found["positive"] == expected["positive"]
    assert found["ood"]["score"] == pytest.approx(expected["ood"]["score"], rel=1e-3)
