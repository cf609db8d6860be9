"""Opening the fastest runtime for a run's network: LiteRT, ONNX Runtime or the compiled Keras network itself."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.core.errors import UsageError, ZooError, unknown
from zoo.inference.runtimes import artifacts
from zoo.inference.runtimes.artifacts import Artifact
from zoo.inference.runtimes.outputs import Runtime
from zoo.runs.run import Run

logger = logging.getLogger(__name__)

# fastest first (benchmarks/inference.py)
MODULES = {"litert": "ai_edge_litert", "onnx": "onnxruntime"}
TITLES = {"keras": "compiled Keras", "litert": "LiteRT", "onnx": "ONNX Runtime"}
RUNTIMES = ("auto", "keras", *MODULES)
MANY = 5000  # images; converting takes as long as some thousands of them (benchmarks/results/inference.csv)
GPU_NODES = ("nvidia[0-9]*", "kfd", "dxg")  # in /dev: NVIDIA's, AMD's, and Windows' for Linux


def open_runtime(run: Run, name: str = "auto", *, device: str = "auto", images: int | None = None) -> Runtime:
    """Open a runtime for the run's network.

    "auto" takes a converted network where it is there already, passed its comparison with Keras and is faster; converts it
    first where many images are to come; and is compiled Keras otherwise, and on a GPU. Its outputs differ from Keras' by at
    most `zoo.inference.runtimes.artifacts.TOLERANCE`. A converted network is kept in the run's folder compiled/, or in the cache
    folder where the run can only be read.

    Args:
        run: a finished run.
        name: auto, keras, litert or onnx; a runtime asked for by name is converted for, however few the images.
        device: auto, cpu, gpu or gpu:N; LiteRT and ONNX Runtime compute on the CPU.
        images: how many are expected; None where that is not known.

    Raises:
        UsageError: no such runtime or device, or the two do not go together.
        ZooError: the run has no network or a damaged one, the runtime's extra is not installed, or the network cannot be
            converted for the one asked for.
    """
    from zoo.config.devices import check_device

    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    check_device(device)
    if not run.model_file.exists():
        raise ZooError(f"the run {run.name} has no trained network: {run.model_file} is missing.")
    network = functools.cache(lambda: _load(run))
    if name == "auto":
        found = _fastest(run, device, images, network)
    else:
        found = None if name == "keras" else _asked(run, name, device, network)
    if found is None:
        logger.info(f"Runtime: {TITLES['keras']}")
        return _keras(network, device)
    form, artifact = found
    logger.info(f"Runtime: {TITLES[form]}")
    logger.debug(f"Converted network: {artifact.file}")
    return _open(form, artifact.file)


def _fastest(run: Run, device: str, images: int | None, network: Callable[[], Any]) -> tuple[str, Artifact] | None:
    """The first runtime that is installed and pays; None for compiled Keras."""
    if device.startswith("gpu") or (device == "auto" and _gpu()):
        return None
    for form in filter(_installed, MODULES):
        artifact = artifacts.find(run, form)
        if artifact is None and (images or 0) >= MANY and _can_convert(form):
            try:
                artifact = _make(run, form, network)
            except ZooError as error:  # no place to write
                logger.info(f"{TITLES[form]} is left out: {error}")
        if artifact is not None and artifact.pays:
            return form, artifact
    return None


def _asked(run: Run, form: str, device: str, network: Callable[[], Any]) -> tuple[str, Artifact]:
    """The runtime the user named.

    Raises:
        UsageError, ZooError: as `open_runtime`.
    """
    if device.startswith("gpu"):
        raise UsageError(f"{TITLES[form]} computes on the CPU; --device {device} goes with the runtime keras.")
    if not _installed(form):
        raise ZooError(f"{TITLES[form]} is not installed. Install it: pip install 'cxr-zoo[{form}]'")
    artifact = artifacts.find(run, form) or _make(run, form, network)
    if artifact.refused:
        raise ZooError(
            f"{TITLES[form]} cannot be used for {run.name}: {artifact.refused} Use the runtime keras or auto."
        )
    return form, artifact


def _make(run: Run, form: str, network: Callable[[], Any]) -> Artifact:
    from zoo.engine.devices import import_keras

    logger.info(f"Converting the network for {TITLES[form]}, once")
    with import_keras().device("cpu:0"):
        made = artifacts.make(run, form, network(), functools.partial(_open, form))
    if made.refused:
        logger.info(f"{TITLES[form]} is left out: {made.refused}")
    else:
        logger.info(
            f"Converted in {made.seconds:.0f} s: {made.speed:.1f} times the speed of Keras, outputs equal to "
            f"{made.difference:.0e}"
        )
    return made


def _load(run: Run) -> Any:
    from zoo.engine.load import load_network
    from zoo.inference.features import with_features

    return with_features(load_network(run))


def _keras(network: Callable[[], Any], device: str) -> Runtime:
    from zoo.engine import devices
    from zoo.inference.runtimes.compiled import CompiledKeras

    name, _ = devices.select(device)
    with devices.import_keras().device(name):
        return CompiledKeras(network(), name)


def _open(form: str, file: Path) -> Runtime:
    if form == "litert":
        from zoo.inference.runtimes.litert import LiteRT

        return LiteRT(file)
    from zoo.inference.runtimes.onnx import OnnxRuntime

    return OnnxRuntime(file)


def _installed(form: str) -> bool:
    return importlib.util.find_spec(MODULES[form]) is not None


def _can_convert(form: str) -> bool:
    """Whether the converter is here: TensorFlow as Keras' backend, and for ONNX tf2onnx too."""
    from zoo.engine.devices import import_keras

    if import_keras().backend.backend() != "tensorflow":
        return False
    return form != "onnx" or importlib.util.find_spec("tf2onnx") is not None


def _gpu() -> bool:
    """Whether the backend sees a GPU; without a device node there is none, and no need to load the backend to ask."""
    if not any(any(Path("/dev").glob(pattern)) for pattern in GPU_NODES):
        return False
    from zoo.engine import devices

    return devices.select("auto")[0] != "cpu:0"
