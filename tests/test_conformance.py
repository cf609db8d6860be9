"""The public checks on every registered strategy."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
from families import representatives
from layouts import LAYOUTS

from zoo.core.registry import Entry, registry
from zoo.testing import check_augmenter, check_dataset, check_loss, check_model, check_recipe, check_tracker
from zoo.testing.run import results_on

CHECKS = {
    "model": check_model,
    "loss": check_loss,
    "augmenter": check_augmenter,
    "dataset": check_dataset,
    "recipe": check_recipe,
    "tracker": check_tracker,
}
LIGHT = 800_000  # parameters: networks up to here are checked in the few seconds that every run has


def entries() -> list[Any]:
    """Every entry with its check: of each family of models the lightest is checked in full, its sisters briefly."""
    whole, found = {entry.name for entry in representatives()}, []
    for entry in (entry for kind in CHECKS for entry in registry().entries(kind)):
        check, model = CHECKS[entry.kind], entry.kind == "model"
        if model and entry.name not in whole:
            check = functools.partial(check_model, brief=True)
        slow = [pytest.mark.slow] if model and entry.strategy.info.parameters > LIGHT else []
        found.append(pytest.param(entry, check, id=f"{entry.kind}-{entry.name}", marks=slow))
    return found


@pytest.mark.conformance
@pytest.mark.parametrize(("entry", "check"), entries())
def test_every_registered_strategy_conforms(entry: Entry, check: Callable[..., None], tmp_path: Path) -> None:
    if entry.kind == "dataset" and entry.strategy.info.needs_root:
        LAYOUTS[entry.name](tmp_path)
        check(entry.strategy, tmp_path)
    else:
        check(entry.strategy)
    keras.backend.clear_session()  # fifty networks would else stay in memory


ON_JAX = """
import sys
import keras, numpy as np
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.testing import check_model
assert keras.backend.backend() == "jax"
for name in sys.argv[1:]:
    model = registry().get("model", name)
    if name in ("mobilenetv3", "tiny-cnn", "cnn-baseline", "vit-tiny"):
        check_model(model, brief=True)
    size = model.info.min_image_size
    network = model.build(Task("multilabel", ("Mass", "Nodule")), size, None, model.Options())
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 1), dtype=np.uint8)
    logits = network.predict(images, verbose=0)
    assert logits.shape == (2, 2) and logits.dtype == np.float32 and np.isfinite(logits).all(), name
    print(name, flush=True)
    keras.backend.clear_session()
"""


@pytest.mark.slow
@pytest.mark.conformance
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this run is on JAX itself")
def test_the_lightest_model_of_each_family_computes_on_jax_and_small_ones_conform() -> None:
    pytest.importorskip("jax")
    names = [entry.name for entry in representatives()]
    done = subprocess.run(
        [sys.executable, "-c", ON_JAX, *names],
        # what XLA saves in one pass through a network it spends many times over in optimising it
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names


@pytest.mark.slow
@pytest.mark.conformance
def test_every_loss_and_augmenter_conforms_on_jax() -> None:
    pytest.importorskip("jax")
    found = [entry for kind in ("loss", "augmenter") for entry in registry().entries(kind)]
    failed = [result.reason for _, _, result in results_on("jax", found, None, ()) if result.outcome == "failed"]
    assert not failed


def test_all_plugins_loaded() -> None:
    assert registry().failures == ()
