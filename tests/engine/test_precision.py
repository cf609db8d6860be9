"""`--precision auto`: measurements decide, and what is not measured stays float32."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from zoo.config.resolve import resolve
from zoo.core.registry import registry
from zoo.engine import devices, precision
from zoo.engine.precision import Measurement, choose, cpu_kind, measurements, with_precision

KIND = "CPU with avx512_bf16"
KNOWN = (
    Measurement(KIND, "tensorflow", "densenet121", "mixed_bfloat16", 1.69),
    Measurement(KIND, "tensorflow", "mobilenetv3", "mixed_bfloat16", 0.73),
    Measurement(KIND, "tensorflow", "tiny-cnn", "mixed_bfloat16", 1.09),
    Measurement("Some GPU", "tensorflow", "densenet121", "mixed_bfloat16", 1.5),
    Measurement("Some GPU", "tensorflow", "densenet121", "mixed_float16", 1.8),
)


@pytest.mark.parametrize(
    ("model", "kind", "backend", "expected", "told"),
    [
        ("densenet121", KIND, "tensorflow", "mixed_bfloat16", "measured at 1.69 times the speed of float32"),
        ("mobilenetv3", KIND, "tensorflow", "float32", "mixed_bfloat16 was measured at 0.73 times"),
        ("tiny-cnn", KIND, "tensorflow", "float32", "mixed_bfloat16 was measured at 1.09 times"),
        ("densenet201", KIND, "tensorflow", "float32", f"no measurement of densenet201 on {KIND}, tensorflow"),
        ("densenet121", "CPU", "tensorflow", "float32", "no measurement of densenet121 on CPU, tensorflow"),
        ("densenet121", KIND, "jax", "float32", f"no measurement of densenet121 on {KIND}, jax"),
        ("densenet121", "Some GPU", "tensorflow", "mixed_float16", "measured at 1.80 times"),
        ("densenet121", "Other GPU", "tensorflow", "float32", "no measurement of densenet121 on Other GPU"),
    ],
)
def test_measurements_decide(model: str, kind: str, backend: str, expected: str, told: str) -> None:
    found, reason = choose(model, "", kind, backend, KNOWN)
    assert found == expected
    assert told in reason


def with_auto(monkeypatch: pytest.MonkeyPatch, device: tuple[str, str], **layer: Any) -> tuple[str, str]:
    monkeypatch.setattr(precision, "measurements", lambda: KNOWN)
    monkeypatch.setattr(precision, "cpu_kind", lambda: KIND)
    monkeypatch.setattr(devices, "select", lambda name: device)
    config, line = with_precision(resolve([{"precision": "auto", "weights": "none", **layer}], registry()))
    return config.settings.precision, line


def test_a_precision_is_chosen_and_the_reason_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    found, line = with_auto(monkeypatch, ("cpu:0", "CPU (tensorflow)"), model="densenet121")
    assert found == "mixed_bfloat16"
    assert line == (
        "Precision: mixed_bfloat16 (measured at 1.69 times the speed of float32 for densenet121 on CPU with avx512_bf16, "
        "tensorflow; --precision chooses by hand)"
    )
    found, line = with_auto(monkeypatch, ("gpu:0", "Some GPU (tensorflow)"), model="densenet121")
    assert found == "mixed_float16"
    assert with_auto(monkeypatch, ("gpu:0", "Other GPU (tensorflow)"), model="densenet121")[0] == "float32"


def test_options_that_make_another_network_were_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = ("cpu:0", "CPU (tensorflow)")
    found, line = with_auto(monkeypatch, cpu, model={"name": "mobilenetv3", "size": "large"})
    assert found == "float32"
    assert "no measurement of mobilenetv3 with size large" in line
    assert with_auto(monkeypatch, cpu, model={"name": "densenet121", "dropout": 0.2})[0] == "mixed_bfloat16"


@pytest.mark.parametrize("asked", ["float32", "mixed_bfloat16"])
def test_a_choice_by_hand_stands(asked: str) -> None:
    config = resolve([{"precision": asked, "model": "mobilenetv3", "weights": "none"}], registry())
    found, line = with_precision(config)
    assert found is config
    assert line == ""


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        ("fpu avx2 avx512f avx512_bf16", "CPU with avx512_bf16"),
        ("avx512_bf16 amx_bf16 amx_tile", "CPU with amx_bf16"),
        ("fpu avx2", "CPU"),
    ],
)
def test_the_kind_of_cpu_is_read_from_its_flags(tmp_path: Path, flags: str, kind: str) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nmodel name\t: X avx512_bf16\nflags\t\t: {flags}\n\n")
    assert cpu_kind(tmp_path / "cpuinfo") == kind
    assert cpu_kind(tmp_path / "missing") == "CPU"


def test_the_recorded_measurements_are_of_registered_models_and_known_precisions() -> None:
    found = measurements()
    assert {m.model for m in found} >= {"mobilenetv3", "densenet121", "efficientnet-lite0", "tiny-cnn"}
    for each in found:
        registry().get("model", each.model)
        resolve([{"precision": each.precision}], registry())
        assert each.ratio > 0
    with (Path(precision.__file__).parent / precision.MEASUREMENTS).open() as file:
        assert all(float(r["ratio_min"]) <= float(r["ratio"]) <= float(r["ratio_max"]) for r in csv.DictReader(file))
