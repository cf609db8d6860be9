"""Devices, precision and compilation: what is chosen is used, and what is not there is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from zoo.core.errors import UsageError
from zoo.engine import devices

TRAIN = [
    "train",
    "--model",
    "tiny-cnn",
    "--set",
    "model.width=8",
    "--set",
    "model.depth=1",
    "--image-size",
    "32",
    "--epochs",
    "1",
    "--batch-size",
    "16",
    "--data",
    "phantom",
    "--set",
    "data.patients=40",
    "--json",
]


def test_the_cpu_is_used_where_there_is_nothing_else() -> None:
    name, line = devices.select("cpu")
    assert name == "cpu:0"
    assert line == f"CPU ({keras.backend.backend()})"


def test_a_gpu_that_is_not_there_is_named_with_the_way_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_tensorflow_gpus", list)
    with pytest.raises(UsageError, match=r"--device gpu: tensorflow sees no GPU here\. Use --device cpu"):
        devices.select("gpu")
    monkeypatch.setattr(devices, "_tensorflow_gpus", lambda: ["Some GPU"])
    with pytest.raises(UsageError, match=r"--device gpu:1: tensorflow sees 1 GPU"):
        devices.select("gpu:1")


def test_a_gpu_is_taken_on_its_own_unless_the_cpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_tensorflow_gpus", lambda: ["First", "Second"])
    assert devices.select("auto") == ("gpu:0", "First (tensorflow)")
    assert devices.select("gpu:1") == ("gpu:1", "Second (tensorflow)")
    assert devices.select("cpu")[0] == "cpu:0"


@pytest.mark.parametrize("device", ["tpu", "gpu:x", "cpu:1", "gpu:-1"])
def test_an_unknown_device_shows_the_valid_ones(device: str) -> None:
    with pytest.raises(UsageError, match="auto, cpu, gpu, gpu:N"):
        devices.select(device)


def test_a_session_sets_precision_and_seed_and_gives_the_precision_back() -> None:
    before = keras.config.dtype_policy().name
    with devices.session("cpu", "mixed_bfloat16", 3):
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == before
    drawn = []
    for seed in (3, 3, 4):
        with devices.session("cpu", "float32", seed):
            drawn.append(keras.ops.convert_to_numpy(keras.random.normal((3,))).tolist())
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "jit"), [("mixed_float16", "auto"), ("mixed_bfloat16", "off"), ("float32", "on")]
)
def test_every_precision_and_compilation_trains_to_finite_results(
    precision: str, jit: str, run_zoo: Callable[..., Any], tmp_path: Path
) -> None:
    done = run_zoo(*TRAIN, "--precision", precision, "--jit", jit, ZOO_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert 0 <= json.loads(done.stdout)["test"]["per_label"]["Abnormal"]["auroc"]["value"] <= 1
    assert precision in done.stderr


def test_an_unusable_backend_is_named_with_the_two_that_work(run_zoo: Callable[..., Any], tmp_path: Path) -> None:
    done = run_zoo(*TRAIN, KERAS_BACKEND="abacus", ZOO_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 1
    assert "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax" in done.stderr
    assert "Traceback" not in done.stderr
