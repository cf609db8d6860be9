"""Export a run as one file for use without zoo, and keep the file only where it agrees with zoo."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import Registry
from zoo.engine import devices
from zoo.engine.load import load_network
from zoo.evaluation.serialise import to_plain
from zoo.export import formats, metadata
from zoo.export import trial_images as image_sources
from zoo.export.network import assemble
from zoo.export.parity import Parity, compare, zoo_probabilities
from zoo.export.trial_images import TrialImages
from zoo.inference.operating_point import OperatingPoint
from zoo.nn.inference import for_inference
from zoo.runs.run import Run

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4  # largest difference of a probability in float32
LOSS = 0.01  # of AUROC that quantisation may cost
IMAGES = 100  # of the run's own that float32 is compared on
IMAGES_FOR_AUROC = 1000
SAMPLES = 100  # training images that int8 takes its ranges from


@dataclass(frozen=True)
class Options:
    """What `zoo export` is asked for.

    `format` is keras, savedmodel, litert or onnx; `quantize` float16, int8 or None; `out` the file, by default in the run's
    exports/. `images` is a folder to compare on or the number of the run's own images. `tolerance` bounds the difference of a
    probability on images of the network's size, in a quantised file the loss of AUROC; None takes `TOLERANCE` or `LOSS`.
    `force` keeps a file beyond it.
    """

    format: str
    quantize: str | None = None
    out: Path | None = None
    images: Path | int | None = None
    tolerance: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Exported:
    """The file that was written, its size in bytes, how it agrees with zoo, and notes for the user."""

    file: Path
    size: int
    parity: Parity
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON."""
        return dict(to_plain(self))


def export(run: Run, options: Options, registry: Registry) -> Exported:
    """Write a run as one file that takes raw images of any size and gives calibrated probabilities.

    The file gets its name only after it was compared with zoo; one that differs too much is not kept.

    Args:
        run: a finished run.
        options: what to write.
        registry: has the run's dataset, for images to compare on.

    Raises:
        UsageError: the request makes no sense.
        ZooError: the run is not finished, the format cannot express its network, or the file differs too much from zoo.
    """
    form = formats.check_format(options.format, options.quantize)
    file = options.out or default_file(run, form, options.quantize)
    formats.check_target(file, form)
    point, size = OperatingPoint.of(run), int(run.info()["image_size"])
    with devices.session("cpu", "float32", 0):
        original = load_network(run)
        network = for_inference(original, float32=form.name in ("litert", "onnx"))
        images = _images(run, options, registry)
        pixels = image_sources.prepared(images.pixels, size)
        expected = zoo_probabilities(original, point, pixels)
        about = metadata.describe(run, registry, point, form.images, options.quantize)
        samples = image_sources.samples(run, SAMPLES, size, registry) if options.quantize == "int8" else None

        def assembled(resize: formats.Resize | None, dtype: str) -> Any:
            return assemble(network, point.task, point.calibration, resize, dtype)

        with formats.replacing_export(file, form) as partial:
            logger.info(f"Writing {form.name}{f' in {options.quantize}' if options.quantize else ''} …")
            formats.write(form, partial, assembled, options.quantize, samples)
            opened = formats.open_file(form, partial)
            auroc = options.quantize is not None or options.images is not None
            parity = compare(opened, expected, images, pixels, point, auroc=auroc)
            notes = _check_parity(parity, options)
            formats.add_metadata(form, partial, to_plain(about | {"parity": parity}))
            formats.open_file(form, partial)(images.pixels[0])
            bytes_ = _size(partial)
    return Exported(file, bytes_, parity, notes)


def default_file(run: Run, form: formats.Format, quantize: str | None) -> Path:
    """Where a file goes without --out: exports/NAME.SUFFIX in the run, -float16 or -int8 behind the name."""
    return run.path / "exports" / f"{run.name}{f'-{quantize}' if quantize else ''}{form.suffix}"


def _images(run: Run, options: Options, registry: Registry) -> TrialImages:
    """The images to compare on: those asked for, else validation and test images; for a quantised file, test images only."""
    if isinstance(options.images, Path):
        return image_sources.images_of_folder(options.images)
    default, splits = (IMAGES, ["val", "test"]) if options.quantize is None else (IMAGES_FOR_AUROC, ["test"])
    if options.images:
        splits = ["test"]
    count = options.images or default
    found = image_sources.run_images(run, splits, count, registry)
    return found if found is not None else image_sources.drawn_images(min(count, IMAGES), registry)


def _check_parity(parity: Parity, options: Options) -> tuple[str, ...]:
    """Notes about the comparison.

    Raises:
        ZooError: the file differs too much, or the cost of quantisation is unknown; not with `force`.
    """
    problem = _loss(parity, options) if options.quantize else _inexact(parity, options)
    notes = []
    if not parity.real:
        notes.append("Compared on drawn images: the run's own could not be read. --images FOLDER compares on others.")
    if problem and not options.force:
        raise ZooError(f"{problem} The file was not kept; --force keeps it all the same.")
    return (*notes, *([f"{problem} Kept by --force."] if problem else []))


def _inexact(parity: Parity, options: Options) -> str:
    """What is wrong with a float32 file, "" where nothing is."""
    limit, largest = TOLERANCE if options.tolerance is None else options.tolerance, parity.prepared.largest
    if largest <= limit:
        return ""
    return (
        f"the file's probabilities differ from zoo's by up to {largest:.2g} on {parity.images} images of the network's size, "
        f"more than {limit:g} (--tolerance)."
    )


def _loss(parity: Parity, options: Options) -> str:
    """What is wrong with a quantised file, "" where nothing is."""
    limit = LOSS if options.tolerance is None else options.tolerance
    if not np.isfinite([parity.prepared.largest, parity.original.largest]).all():
        return "the quantised file gives numbers that are not finite."
    if not parity.changes:
        return (
            "what the quantised file loses in AUROC cannot be measured: these images have no labels, or the run's own test "
            "images are not there."
        )
    change = parity.changes[0]
    if change.change >= -limit:
        return ""
    return (
        f"the quantised file loses {-change.change:.4f} in AUROC ({change.zoo:.4f} to {change.file:.4f}, 95% interval of the "
        f"change {change.low:+.4f} to {change.high:+.4f}) on {parity.images} images, more than {limit:g} (--tolerance)."
    )


def check_options(options: Options) -> None:
    """Raise UsageError for numbers that make no sense."""
    if options.tolerance is not None and not 0 <= options.tolerance <= 1:
        raise UsageError(f"--tolerance is from 0 to 1, not {options.tolerance:g}.")
    if isinstance(options.images, int) and options.images < 1:
        raise UsageError(f"--images takes a folder or a number from 1, not {options.images}.")


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())
