"""A run as one file for use without zoo: written, compared with zoo on images, and kept only where it says the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.engine import devices
from zoo.engine.load import load_network
from zoo.evaluation.calibration import Calibration
from zoo.evaluation.plain import plain
from zoo.export import formats, metadata
from zoo.export import trial_images as image_sources
from zoo.export.network import assemble
from zoo.export.parity import Parity, compare, zoo_probabilities
from zoo.export.trial_images import TrialImages
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
    probability, in a quantised file the loss of AUROC; None takes `TOLERANCE` or `LOSS`. `force` keeps a file beyond it.
    """

    format: str
    quantize: str | None = None
    out: Path | None = None
    images: Path | int | None = None
    tolerance: float | None = None
    force: bool = False


@dataclass(frozen=True)
class Exported:
    """The file that was written, its size in bytes, how it compares with zoo, and sentences the user should read."""

    file: Path
    size: int
    parity: Parity
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON."""
        return dict(plain(self))


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
    formats.check_place(file, form)
    info, task = _finished(run), run.task()
    calibration = _calibration(run, task)
    size = int(info["image_size"])
    with devices.session("cpu", "float32", 0):
        original = load_network(run)
        network = for_inference(original, float32=form.name in ("litert", "onnx"))
        images = _images(run, options, registry)
        expected = zoo_probabilities(original, task, calibration, images, size)
        about = metadata.describe(run, registry, calibration, form.images, options.quantize)
        samples = image_sources.samples(run, SAMPLES, size, registry) if options.quantize == "int8" else None

        def assembled(dtype: str) -> Any:
            return assemble(network, task, calibration, size, dtype)

        with formats.taking_the_place_of(file, form) as partial:
            logger.info(f"Writing {form.name}{f' in {options.quantize}' if options.quantize else ''} …")
            formats.write(form, partial, assembled, options.quantize, samples)
            parity = compare(
                formats.open_file(form, partial),
                expected,
                images,
                task,
                about["thresholds"],
                auroc=options.quantize is not None,
            )
            notes = _judge(parity, options)
            formats.add_metadata(form, partial, plain(about | {"parity": parity}))
            formats.open_file(form, partial)(images.pixels[0])
            bytes_ = _size(partial)
    return Exported(file, bytes_, parity, notes)


def default_file(run: Run, form: formats.Format, quantize: str | None) -> Path:
    """Where a file goes without --out: exports/NAME.SUFFIX in the run, -float16 or -int8 behind the name."""
    return run.path / "exports" / f"{run.name}{f'-{quantize}' if quantize else ''}{form.suffix}"


def _finished(run: Run) -> dict[str, Any]:
    info = run.info()
    if not run.model_file.exists() or "thresholds" not in info:
        raise ZooError(
            f"the run {run.name} has no trained network with thresholds (status: {info.get('status')}). Train it to the end: "
            f"zoo train --resume {run.reference}"
        )
    return info


def _calibration(run: Run, task: Task) -> Calibration | None:
    stored = run.info().get("calibration")
    calibration = None if stored is None else Calibration.from_dict(stored)
    if calibration is not None and calibration.task != task:
        raise DataError(f"the calibration in {run.path / 'run.json'} is for other labels than the run's.")
    return calibration


def _images(run: Run, options: Options, registry: Registry) -> TrialImages:
    """The images to compare on; for a quantised file all test images, which have labels, unless others are asked for."""
    if isinstance(options.images, Path):
        return image_sources.images_of_folder(options.images)
    if options.quantize is None:
        count, splits = options.images or IMAGES, ["val", "test"]
    else:
        count, splits = options.images or IMAGES_FOR_AUROC, ["test"]
    found = image_sources.run_images(run, splits, count, registry)
    return found if found is not None else image_sources.drawn_images(min(count, IMAGES), registry)


def _judge(parity: Parity, options: Options) -> tuple[str, ...]:
    """Sentences about the comparison.

    Raises:
        ZooError: the file differs too much, or a quantised one could not be judged; not with `force`.
    """
    problem = _quantised(parity, options) if options.quantize else _exact(parity, options)
    notes = []
    if not parity.real:
        notes.append("Compared on drawn images: the run's own could not be read. --images FOLDER compares on others.")
    if problem and not options.force:
        raise ZooError(f"{problem} The file was not kept; --force keeps it all the same.")
    return (*notes, *([f"{problem} Kept by --force."] if problem else []))


def _exact(parity: Parity, options: Options) -> str:
    limit = TOLERANCE if options.tolerance is None else options.tolerance
    if parity.largest <= limit:
        return ""
    return (
        f"the file's probabilities differ from zoo's by up to {parity.largest:.2g} on {parity.images} images, more than "
        f"{limit:g} (--tolerance)."
    )


def _quantised(parity: Parity, options: Options) -> str:
    limit = LOSS if options.tolerance is None else options.tolerance
    if not np.isfinite(parity.largest):
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
