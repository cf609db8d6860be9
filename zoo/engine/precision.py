"""`--precision auto`: the fastest precision by recorded measurements (precision.csv, from benchmarks/precision.py)."""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from zoo.config.run_config import RunConfig
from zoo.core.options import as_dict
from zoo.engine import devices

MEASUREMENTS = "precision.csv"
LEAST_RATIO = 1.1  # what a lower precision must gain; less is within the noise of the measurements
HINT = "--precision chooses by hand"
# instructions for bfloat16 as Linux names them, the stronger first: each kind of CPU has measurements of its own
INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
# model options that change no more than the head: the measurement holds for any value
OF_THE_HEAD = {"pooling", "sharpness", "hidden", "dropout"}


@dataclass(frozen=True)
class Measurement:
    """How many times faster a training step is at `precision` than at float32, for one model on one kind of device."""

    device: str
    backend: str
    model: str
    precision: str
    ratio: float


def with_precision(config: RunConfig) -> tuple[RunConfig, str]:
    """Resolve the precision "auto" of a configuration.

    Returns:
        The configuration with a precision, and a line that gives the reason; empty unless the precision was "auto".

    Raises:
        UsageError: the configured device is not there.
    """
    settings = config.settings
    if settings.precision != "auto":
        return config, ""
    backend = str(devices.import_keras().backend.backend())
    if settings.deterministic:  # before JAX looks for devices
        devices.make_deterministic()
    device, line = devices.select(settings.one_device)
    kind = cpu_kind() if device.startswith("cpu") else line.removesuffix(f" ({backend})")
    chosen: Any
    chosen, reason = choose(config.model.name, _changed(config), kind, backend, measurements())
    return replace(config, settings=replace(settings, precision=chosen)), f"Precision: {chosen} ({reason}; {HINT})"


def choose(model: str, changed: str, kind: str, backend: str, known: tuple[Measurement, ...]) -> tuple[str, str]:
    """The fastest precision measured for a model on a kind of device, and the reason in words.

    float32 where nothing was measured or nothing gains at least `LEAST_RATIO`. A model was measured at its own image size.

    Args:
        model: the registered name.
        changed: options of the model that were not measured, in words; empty where it is built as measured.
        kind: the kind of device, as `cpu_kind` or the GPU's name.
        backend: "tensorflow" or "jax".
        known: what was measured.
    """
    where = f"{kind}, {backend}"
    found = [m for m in known if (m.model, m.device, m.backend) == (model, kind, backend)]
    if changed:
        return "float32", f"no measurement of {model} with {changed}"
    if not found:
        return "float32", f"no measurement of {model} on {where}"
    best = max(found, key=lambda m: m.ratio)
    measured = f"{best.ratio:.2f} times the speed of float32 for {model} on {where}"
    if best.ratio < LEAST_RATIO:
        return "float32", f"{best.precision} was measured at {measured}"
    return best.precision, f"measured at {measured}"


def cpu_kind(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The kind of this CPU by what decides the speed of bfloat16: `CPU with avx512_bf16`, `CPU with amx_bf16` or `CPU`."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return "CPU"
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return next((f"CPU with {name}" for name in INSTRUCTIONS if name in flags), "CPU")


@functools.cache
def measurements() -> tuple[Measurement, ...]:
    """All recorded measurements."""
    text = resources.files("zoo.engine").joinpath(MEASUREMENTS).read_text(encoding="utf-8")
    return tuple(
        Measurement(row["device"], row["backend"], row["model"], row["precision"], float(row["ratio"]))
        for row in csv.DictReader(text.splitlines())
    )


def _changed(config: RunConfig) -> str:
    """The model's options that make another network than the one measured, which is built with the defaults."""
    chosen, usual = as_dict(config.model.options), as_dict(type(config.model.options)())
    return ", ".join(f"{k} {v}" for k, v in chosen.items() if k not in OF_THE_HEAD and v != usual[k])
