"""For tests of exported files: a small run of any calibration, and running a file where zoo cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.evaluation.calibration import Calibration
from zoo.runs.run import Run

BINARY = Task("binary", ("Abnormal",))
SEVERAL = Task("multilabel", ("Mass", "Effusion", "Nodule"))
CLASSES = Task("multiclass", ("normal", "pneumonia", "effusion"))
SIZE = 24

CALIBRATIONS: dict[str, tuple[Task, dict[str, dict[str, Any]]]] = {
    "temperature": (BINARY, {"Abnormal": {"temperature": 2.5}}),
    "softmax": (CLASSES, {label: {"temperature": 0.4} for label in CLASSES.labels}),
    "platt": (
        SEVERAL,
        {"Mass": {"slope": 1.7, "intercept": -0.3}, "Effusion": {}, "Nodule": {"slope": 0.2, "intercept": 1.0}},
    ),
    "isotonic": (
        SEVERAL,
        {
            "Mass": {"logits": [-2.0, -0.5, 0.1, 1.5], "values": [0.05, 0.05, 0.4, 0.9]},
            "Effusion": {},
            "Nodule": {"logits": [-1.0, 0.0], "values": [0.2, 0.3]},
        },
    ),
}


def calibration(name: str) -> Calibration:
    task, parameters = CALIBRATIONS[name]
    return Calibration("temperature" if name == "softmax" else name, task, parameters)


def network(task: Task, size: int = SIZE, dropout: float = 0.2, width: int = 4) -> Any:
    """A tiny network whose logits differ from image to image."""
    import keras

    keras.utils.set_random_seed(3)
    model = registry().get("model", "tiny-cnn")
    options = validate(model.Options, {"width": width, "depth": 1, "dropout": dropout}, "model", "")
    built = model.build(task, size, None, options)
    kernel, bias = built.get_layer("logits").get_weights()
    built.get_layer("logits").set_weights([kernel * 8, bias + np.linspace(-0.5, 0.5, task.outputs)])
    return built


def make_run(folder: Path, task: Task, fitted: Calibration | None = None, patients: int = 60, width: int = 4) -> Run:
    """A finished run on phantom images: its network is random, everything an export reads is there."""
    run = Run(folder)
    folder.mkdir(parents=True)
    model = network(task, width=width)
    model.save(run.model_file)
    data = {"name": "phantom", "patients": patients, "size": 50}
    config = {"task": task.kind, "data": data, "model": {"name": "tiny-cnn"}, "image_size": SIZE}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    dataset = registry().get("dataset", "phantom")
    table = dataset.read(None, validate(dataset.Options, {"patients": patients, "size": 50}, "data", "")).table
    split = np.array(["train", "test", "val"])[np.arange(len(table)) % 3]
    labels = np.random.default_rng(0).integers(0, 2, (len(table), task.outputs)).astype(float)
    images = pd.DataFrame({"image": table["image"], "patient": table["patient"], "split": split})
    images[[f"label:{label}" for label in task.labels]] = labels
    images.to_csv(folder / "images.csv", index=False)
    run.write_json("data.json", {"dataset": "phantom", "root": None, "fingerprint": "0123abcd", "split": "drawn"})
    info = {
        "status": "complete",
        "task": task.kind,
        "labels": list(task.labels),
        "model": "tiny-cnn",
        "image_size": SIZE,
    }
    info |= {"thresholds": {label: 0.3 + 0.1 * k for k, label in enumerate(task.labels)}}
    run.write_json("run.json", info | ({"calibration": fitted.to_dict()} if fitted else {}))
    return run


WITHOUT_ZOO = """
import importlib.abc, json, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "zoo" or name.startswith("zoo."):
            raise ImportError("there is no zoo here")
sys.meta_path.insert(0, Blocker())
import numpy as np
form, file, images, predictions = sys.argv[1:]
images = [array for array in np.load(images).values()]
if form == "keras":
    import keras
    model = keras.saving.load_model(file)
    run = lambda image: np.asarray(model(image))
elif form == "savedmodel":
    import tensorflow as tf
    loaded = tf.saved_model.load(file)
    default, floats = (loaded.signatures[name] for name in ("serving_default", "serve_float"))
    def run(image):
        return (default if image.dtype == np.uint8 else floats)(tf.constant(image))["probabilities"].numpy()
elif form == "litert":
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=file)
    put, get = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    def run(image):
        interpreter.resize_tensor_input(put, image.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(put, image)
        interpreter.invoke()
        return interpreter.get_tensor(get)
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    run = lambda image: session.run(["probabilities"], {"image": image})[0]
np.savez(predictions, *[run(image) for image in images])
assert not any(name.split(".")[0] == "zoo" for name in sys.modules)
"""


def predict_elsewhere(form: str, file: Path, images: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """The predictions of an exported file for arrays `(N, H, W, 1)`, in a process in which zoo cannot be imported."""
    np.savez(folder / "images.npz", *images)
    words = [
        sys.executable,
        "-I",
        "-c",
        WITHOUT_ZOO,
        form,
        str(file),
        str(folder / "images.npz"),
        str(folder / "predictions.npz"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "predictions.npz") as predictions:
        return list(predictions.values())
