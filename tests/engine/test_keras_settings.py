"""Keras' settings of a whole process: set where zoo relies on them, refused where they cannot be, and never an endless loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
from loglines import log_lines
from trainings import start

from zoo.core.errors import ZooError
from zoo.engine import devices, fit
from zoo.nn import keras_compat
from zoo.runs.run import Run


@pytest.fixture
def _other_settings() -> Any:
    """Every setting with another value than zoo's; set back in any case."""
    before = keras.config.dtype_policy()
    keras.config.set_floatx("float16")
    keras.config.set_dtype_policy("float16")
    keras.config.set_epsilon(1e-3)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_max_epochs(1)
    keras.config.set_max_steps_per_epoch(1)
    yield
    for name, value in keras_compat.SETTINGS.items():
        getattr(keras.config, f"set_{name}")(value)
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("_other_settings")
def test_loading_keras_sets_what_zoo_relies_on_and_says_what_it_was() -> None:
    with log_lines() as lines:
        devices.import_keras()
        devices.import_keras()
    assert {name: getattr(keras.config, name)() for name in keras_compat.SETTINGS} == keras_compat.SETTINGS
    assert keras.config.dtype_policy().name == "float32"
    (line,) = lines
    for part in ("image_data_format channels_last (was channels_first)", "max_epochs None (was 1)", "(was float16)"):
        assert part in line


@pytest.mark.usefixtures("_other_settings")
def test_a_precision_that_was_chosen_stays() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    devices.import_keras()
    assert keras.config.dtype_policy().name == "mixed_bfloat16"


def test_what_cannot_be_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.config, "is_nnx_enabled", lambda: True)
    with pytest.raises(ZooError, match="NNX mode is not supported"):
        devices.import_keras()
    monkeypatch.undo()
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ZooError, match="backend 'torch' is not supported"):
        devices.import_keras()


def test_a_faulty_setting_is_named_with_its_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keras.json").write_text("[]", encoding="utf-8")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "many")
    said = str(devices._unloadable(ValueError("invalid literal for int() with base 10: 'many'")))
    assert "the Keras backend" not in said
    for part in ("'many'", "KERAS_MAX_EPOCHS", str(tmp_path / "keras.json")):
        assert part in said
    assert "the Keras backend" in str(devices._unloadable(ImportError("No module named 'jax'")))


def test_a_training_of_which_fit_does_nothing_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(fit.Trainer, "fit", lambda self, *feed, **given: calls.append(given))
    with pytest.raises(ZooError, match=r"Keras ended the training at the start of epoch 1, before epoch 3 was done"):
        start("idle")
    assert len(calls) == 1


@pytest.mark.usefixtures("_other_settings")
@pytest.mark.filterwarnings("ignore:Limiting (epochs|steps_per_epoch) to")  # Keras' word on the limits set here
def test_limits_that_are_set_amid_a_training_end_it_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start("alone", epochs=1)
    kept = Run(tmp_path / "runs/alone").info()["keras"]
    assert kept == {"backend": keras.backend.backend(), **keras_compat.SETTINGS}
    inner = fit.Fitting._compile

    def compile_and(limit: Any, value: int) -> Any:
        def compile(fitting: fit.Fitting, phase: Any) -> None:
            inner(fitting, phase)
            limit(value)

        return compile

    monkeypatch.setattr(fit.Fitting, "_compile", compile_and(keras.config.set_max_steps_per_epoch, 2))
    with pytest.raises(ZooError, match="Keras ended the epoch at epoch 1, step 2 of 5"):
        start("steps")
    monkeypatch.setattr(fit.Fitting, "_compile", compile_and(keras.config.set_max_epochs, 1))
    with pytest.raises(ZooError, match="Keras ended the training at the start of epoch 2, before epoch 3"):
        start("epochs")
