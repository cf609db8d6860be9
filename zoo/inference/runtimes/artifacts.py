"""Converted networks, cached with the run: made once per network and software version, and verified before use."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, ZooError
from zoo.core.files import replacing, sha256, write_text
from zoo.data.journal import IMAGES
from zoo.data.store import default_cache
from zoo.inference.runtimes.convert import CannotConvert, to_litert, to_onnx
from zoo.inference.runtimes.outputs import Runtime
from zoo.nn.keras_compat import flatten_layers
from zoo.runs.run import Run

FORMAT = 1  # raised when the files or their record change
# largest accepted difference of an output, relative to the largest output if that is over 1; rounding stays below it
TOLERANCE = 1e-4
TRIAL = 32  # images to verify with
WORTH = 1.1  # how many times less processor time than compiled Keras is worth using it
SUFFIX = {"litert": ".tflite", "onnx": ".onnx"}
# packages that a converted network depends on: converter and runtime
SOFTWARE = {
    "litert": ("keras", "tensorflow", "ai-edge-litert"),
    "onnx": ("keras", "tensorflow", "tf2onnx", "onnxruntime"),
}


@dataclass(frozen=True)
class Artifact:
    """A converted network and how it compares with compiled Keras.

    Attributes:
        file: the network in its format.
        digest: SHA-256 of the file.
        difference: largest difference of an output on the trial images, relative to the largest output if that is over 1.
        speed: how many times less processor time it takes.
        seconds: duration of the conversion.
        refused: why it must not be used; "" if it may.
    """

    file: Path
    digest: str = ""
    difference: float = float("nan")
    speed: float = float("nan")
    seconds: float = float("nan")
    refused: str = ""

    @property
    def pays(self) -> bool:
        return not self.refused and self.speed >= WORTH


def find(run: Run, form: str) -> Artifact | None:
    """The artifact of the run's current network, or the record of its failure; None if it was not made yet."""
    name = _name(run, form)
    for folder in _folders(run):
        try:
            record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            found = Artifact(folder / f"{name}{SUFFIX[form]}", **record)
            if found.refused or sha256(found.file) == found.digest:
                return found
        except (OSError, ValueError, TypeError):
            continue  # missing, incomplete or damaged
    return None


def make(run: Run, form: str, network: Any, open_file: Callable[[Path], Runtime]) -> Artifact:
    """Convert `network`, which gives logits and features, and compare it with compiled Keras on images.

    If the conversion fails or changes the outputs, the artifact records the reason, so that it is not tried again.

    Raises:
        ZooError: neither the run nor the cache can be written, or the converter is not installed.
    """
    name = _name(run, form)
    file = _writable(run) / f"{name}{SUFFIX[form]}"
    _clear(file.parent, form, name)
    try:
        made = _convert(run, form, network, file, open_file)
    except CannotConvert as error:
        made = Artifact(file, refused=str(error))
    if made.refused:
        file.unlink(missing_ok=True)
    record = asdict(made)
    del record["file"]
    write_text(
        file.with_suffix(".json"), json.dumps(record, indent=2) + "\n"
    )  # written last: it marks the artifact as complete
    return made


def _convert(run: Run, form: str, network: Any, file: Path, open_file: Callable[[Path], Runtime]) -> Artifact:
    from zoo.inference.runtimes.compiled import CompiledKeras

    half = {layer.compute_dtype for layer in flatten_layers(network)} & {"bfloat16", "float16"}
    if half:
        return Artifact(file, refused=f"{network.name} computes in {half.pop()}, which it would not outside Keras.")
    started = time.monotonic()
    if form == "litert":
        to_litert(network, file, shape=(1, *network.input_shape[1:]))
    else:
        to_onnx(network, file)
    seconds = time.monotonic() - started
    images = trial_images(run, network.input_shape[1])
    expected, before = _tried(CompiledKeras(network), images)
    try:
        runtime = open_file(file)
    except Exception as error:  # each runtime has its own
        return Artifact(file, refused=f"what was written of {network.name} cannot be opened: {error}")
    got, after = _tried(runtime, images)
    worst = max(_difference(mine, theirs) for mine, theirs in zip(got, expected, strict=True))
    refused = ""
    if not worst <= TOLERANCE:  # NaN fails too
        refused = f"its outputs differ from Keras' by up to {worst:.1e}, more than {TOLERANCE:.0e}."
    return Artifact(file, sha256(file), worst, round(before / after, 2), round(seconds, 1), refused)


def _tried(runtime: Runtime, images: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    """The outputs for the images, and the processor time in seconds: the better of two passes after a warm-up.

    Processor time depends less on other programs than wall time.
    """
    try:
        outputs, times = runtime.predict(images), []
        for _ in range(2):
            started = time.process_time()
            runtime.predict(images)
            times.append(time.process_time() - started)
        return outputs, min(times)
    finally:
        runtime.close()


def _difference(mine: np.ndarray, theirs: np.ndarray) -> float:
    if mine.shape != theirs.shape:
        return float("inf")
    return float(np.abs(mine - theirs).max() / max(1.0, float(np.abs(theirs).max())))


def trial_images(run: Run, size: int) -> np.ndarray:
    """Images `(32, size, size)` uint8 to compare runtimes on: from the run's store if it still exists, else generated."""
    try:
        data = run.data()
        images = np.load(Path(data["store"]) / IMAGES, mmap_mode="r", allow_pickle=False)
        if images.shape[1:] == (size, size) and len(images) >= TRIAL:
            return np.array(images[np.linspace(0, len(images) - 1, TRIAL).astype(int)])
    except (OSError, ValueError, KeyError, DataError):
        pass
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (TRIAL, 8, 8)).repeat(-(-size // 8), axis=1).repeat(-(-size // 8), axis=2)
    noise = random.normal(0, 20, (TRIAL, size, size))
    return np.clip(coarse[:, :size, :size] + noise, 0, 255).astype(np.uint8)


def _name(run: Run, form: str) -> str:
    """The form and a digest of the network's file and the software versions."""
    digest = hashlib.blake2b(sha256(run.model_file).encode(), digest_size=8)
    digest.update(json.dumps([FORMAT, *map(_version, SOFTWARE[form])]).encode())
    return f"{form}-{digest.hexdigest()}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _folders(run: Run) -> Iterator[Path]:
    yield run.path / "compiled"
    yield default_cache() / "compiled"


def _writable(run: Run) -> Path:
    """The run's folder of artifacts, or the cache's if the run is read-only."""
    for folder in _folders(run):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / "writable"
            with replacing(probe) as partial:
                partial.touch()
            probe.unlink()
        except OSError:
            continue
        return folder
    raise ZooError(
        f"neither {run.path} nor {default_cache()} can be written: a converted network cannot be saved. Choose another cache "
        "folder with the environment variable ZOO_CACHE."
    )


def _clear(folder: Path, form: str, name: str) -> None:
    """Remove the run's artifacts of earlier networks and versions. The cache, which runs share, is left alone."""
    if folder.parent == default_cache():
        return
    for file in folder.glob(f"{form}-*"):
        if not file.name.startswith(name):
            file.unlink(missing_ok=True)
