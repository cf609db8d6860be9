"""The syntax of --device and --devices."""

from __future__ import annotations

import re

from zoo.core.errors import UsageError


def check_device(device: str) -> None:
    """Raise UsageError where `device` is not of the form auto, cpu, gpu or gpu:N."""
    if not re.fullmatch(r"auto|cpu|gpu(:\d+)?", device):
        raise UsageError(f"unknown device '{device}'. Valid: auto, cpu, gpu, gpu:N.")


def check_devices(devices: str | int) -> None:
    """Raise UsageError where `devices` is not of the form all, N or cpu:N."""
    if not re.fullmatch(r"all|(cpu:)?[1-9]\d*", str(devices)):
        raise UsageError(f"unknown devices '{devices}'. Valid: all, a number of GPUs such as 2, cpu:N.")


def parts_of_cpu(devices: str | int | None) -> int:
    """The N of `cpu:N`; 0 where other devices are meant."""
    kind, _, number = str(devices).rpartition(":")
    return int(number) if kind == "cpu" else 0
