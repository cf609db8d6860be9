"""A finished run as a classifier: images in, probabilities and decisions out, from Python and from every command."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.core.errors import DataError, UsageError, unknown
from zoo.inference import intake
from zoo.inference.operating_point import OperatingPoint
from zoo.inference.reading import ImageFile, ImageReader, Read, by_processes, by_threads
from zoo.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from zoo.explain.maps import Mapper
    from zoo.inference.ood import OODDetector, OODScore
    from zoo.inference.runtimes.runtime import Runtime

BATCH = 32
MAPS_AT_ONCE = 8
NOT_FINITE = "the network's prediction is not a finite number"


@dataclass(frozen=True, eq=False)
class Prediction:
    """A run's prediction for one image.

    Attributes:
        file: the image's name.
        reason: why there is no prediction; "" where there is one. Without one the arrays are None.
        note: how the image was normalised.
        logits: the network's outputs, float32 `(K,)`.
        probabilities: float64 `(K,)` in [0, 1], calibrated where the run has a calibration.
        positive: bool `(K,)`, the decision at the run's operating point; for exclusive classes the most probable one.
        ood: the out-of-distribution score; None where the run has no detector.
        image: uint8 `(S, S)` as the network saw it, where it was asked for.
    """

    file: str
    reason: str = ""
    note: str = ""
    logits: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    positive: np.ndarray | None = None
    ood: OODScore | None = None
    image: np.ndarray | None = field(default=None, repr=False)


class Classifier:
    """A finished run: `Classifier.open(run)` or `zoo.load("NAME")`.

    `run`, `task`, `labels`, `image_size` (pixels), `calibration` (None where the run has none), `detector` (None likewise),
    `reader` (what reads images) and `runtime` are attributes.
    """

    def __init__(
        self,
        run: Run,
        point: OperatingPoint,
        image_size: int,
        detector: OODDetector | None,
        runtime: Runtime,
        *,
        views: frozenset[str] | None = None,
        force: bool = False,
        device: str = "auto",
    ) -> None:
        """Use `open`."""
        self.run, self.point, self.image_size = run, point, image_size
        self.task, self.calibration = point.task, point.calibration
        self.labels: tuple[str, ...] = point.task.labels
        self.detector, self.runtime = detector, runtime
        self.reader, self.device = ImageReader(image_size, views, force), device
        self._mappers: dict[tuple[str, int], Mapper] = {}

    @classmethod
    def open(
        cls,
        run: Run,
        *,
        runtime: str = "auto",
        device: str = "auto",
        force: bool = False,
        images: int | None = None,
    ) -> Classifier:
        """Load a run.

        Args:
            run: a finished run.
            runtime: what computes: auto (the fastest that is installed and ready), keras, litert or onnx.
            device: auto, cpu, gpu or gpu:N.
            force: read DICOM images although their tags speak against it.
            images: how many are expected, where that is known: for many of them a faster runtime is made ready.

        Raises:
            ZooError: the run is not finished, or a file of it is damaged.
            UsageError: there is no such runtime or device here.
        """
        from zoo.inference.ood import load_detector
        from zoo.inference.runtimes.runtime import open_runtime

        point = OperatingPoint.of(run)
        return cls(
            run,
            point,
            int(run.info()["image_size"]),
            load_detector(run),
            open_runtime(run, runtime, device=device, images=images),
            views=intake.views_seen(run, unknown=force),
            force=force,
            device=device,
        )

    @property
    def thresholds(self) -> dict[str, float]:
        """The operating point on the probabilities this object gives: see `OperatingPoint.thresholds`."""
        return self.point.thresholds

    @property
    def views(self) -> frozenset[str] | None:
        """The views of the images the network learned from; None where they are not known."""
        return self.reader.views

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits float32 `(N, K)` of prepared images uint8 `(N, S, S)`, as training saw them (`zoo.data.resize.square`)."""
        return self.runtime.predict(images)[0]

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities float64 `(N, K)` of logits `(N, K)`, calibrated where the run has a calibration."""
        return self.point.probabilities(logits)

    def predict_one(self, pixels: np.ndarray) -> Prediction:
        """The prediction for one image, gray uint8 `(H, W)` of any size.

        Raises:
            UsageError: the array is no such image.
        """
        return next(self.stream([pixels], batch_size=1, workers=0, keep_images=True))

    def stream(
        self,
        images: Iterable[ImageFile],
        batch_size: int = BATCH,
        workers: int = 1,
        *,
        isolated: bool = False,
        keep_images: bool = False,
    ) -> Generator[Prediction, None, None]:
        """Predictions for images in their order, in memory that does not grow with their number.

        Args:
            images: names of files, or gray uint8 arrays `(H, W)` of any size. At most three batches of them are taken
                ahead of the prediction that is being given.
            batch_size: images that go through the network at once.
            workers: threads that read images; 0: none, each image is read when its turn comes.
            isolated: read images in processes instead of threads, so that one that crashes its decoder gets a reason like
                any other. Starting them takes half a second.
            keep_images: predictions keep the pixels the network saw.

        Raises:
            UsageError: an array is no image. A file that cannot be read raises nothing: its prediction has the reason.
        """
        if batch_size < 1:
            raise UsageError(f"a batch has at least one image, not {batch_size}.")
        ways = by_processes if isolated and workers else by_threads
        batch: list[Read] = []
        with closing(ways(self.reader, images, workers, 2 * batch_size + workers)) as reading:
            for read in reading:
                batch.append(read)
                if len(batch) == batch_size:
                    yield from self._predictions(batch, keep_images)
                    batch = []
        yield from self._predictions(batch, keep_images)

    def predict(
        self, images: ImageFile | Iterable[ImageFile], batch_size: int = BATCH, workers: int = 1
    ) -> pd.DataFrame:
        """Predictions as a table, one row per image in their order.

        Args:
            images: one or several of: a file, a folder or a pattern (see `intake.expand`), a gray uint8 array `(H, W)`, or one
                array `(N, H, W)` of several images.
            batch_size: as in `stream`.
            workers: as in `stream`.

        Returns:
            `file`, `probability:LABEL` in [0, 1] and `positive:LABEL` per label, for exclusive classes `class` instead of the
            latter; `flagged` and `flag_reason` (empty where the run has no OOD detector); `reason`, why an image could not
            be read, and `note`. Numbers are NaN, and decisions None, where there is a reason.

        Raises:
            UsageError: an array is no image.
        """
        import pandas as pd

        rows = [self.row(prediction) for prediction in self.stream(_each(images), batch_size, workers)]
        return pd.DataFrame(rows, columns=self.columns)

    @property
    def columns(self) -> list[str]:
        """The columns of `predict`."""
        decisions = ["class"] if self.task.exclusive else [f"positive:{label}" for label in self.labels]
        probabilities = [f"probability:{label}" for label in self.labels]
        return ["file", *probabilities, *decisions, "flagged", "flag_reason", "reason", "note"]

    def row(self, prediction: Prediction) -> dict[str, Any]:
        """One prediction as a row of `predict`."""
        values: dict[str, Any] = {"file": prediction.file, "reason": prediction.reason, "note": prediction.note}
        values |= {"flagged": None, "flag_reason": ""}
        if prediction.ood is not None:
            values |= {"flagged": prediction.ood.flagged, "flag_reason": prediction.ood.reason}
        for k, label in enumerate(self.labels):
            values[f"probability:{label}"] = (
                np.nan if prediction.probabilities is None else float(prediction.probabilities[k])
            )
            if not self.task.exclusive:
                values[f"positive:{label}"] = None if prediction.positive is None else bool(prediction.positive[k])
        if self.task.exclusive:
            values["class"] = None if prediction.positive is None else self.labels[int(prediction.positive.argmax())]
        return values

    def positive_labels(self, prediction: Prediction) -> list[int]:
        """The outputs that an image is positive for, the most probable first; where it is for none, the most probable one."""
        if prediction.probabilities is None or prediction.positive is None:
            return []
        order = np.argsort(-prediction.probabilities, kind="stable")
        return [int(k) for k in order if prediction.positive[k]] or [int(order[0])]

    def explain(self, image: ImageFile, label: str | None = None, method: str = "gradcam") -> np.ndarray:
        """Where in an image the prediction for a label comes from.

        Args:
            image: a file, or gray uint8 pixels `(H, W)` of any size.
            label: one of `labels`; None: the most probable one that the image is positive for, else the most probable.
            method: gradcam, gradcam++ or occlusion.

        Returns:
            float32 `(S, S)` in [0, 1] over the image padded to a square, S the run's `image_size`.

        Raises:
            UsageError: an unknown label or method, or an array that is no image.
            DataError: the file cannot be read.
        """
        read = self.reader(image)
        if read.image is None:
            raise DataError(f"{read.file}: {read.reason}.")
        column = self._strongest(read) if label is None else self.column(label)
        return self.heat(read.image[None], [column], method)[0]

    def _strongest(self, read: Read) -> int:
        prediction = next(self._predictions([read], False))
        if prediction.reason:
            raise DataError(f"{read.file}: {prediction.reason}.")
        return self.positive_labels(prediction)[0]

    def column(self, label: str) -> int:
        """Which output a label is, without regard to case; raises UsageError for an unknown one."""
        for k, each in enumerate(self.labels):
            if each.lower() == label.lower():
                return k
        raise unknown("label", label, self.labels)

    def heat(self, images: np.ndarray, columns: Sequence[int], method: str = "gradcam") -> np.ndarray:
        """Heat maps float32 `(N, S, S)` in [0, 1] of prepared images `(N, S, S)`, each for the output in `columns`."""
        from zoo.engine import devices

        mapper = self.mapper(method, 1 if len(images) == 1 else MAPS_AT_ONCE)
        with devices.import_keras().device(devices.select(self.device)[0]):
            return mapper.heat_maps(images, columns)

    def mapper(self, method: str, batch: int = 1) -> Mapper:
        """What makes the heat maps, `batch` images at once; made when first asked for, and kept.

        Raises:
            UsageError: an unknown method.
        """
        from zoo.explain.maps import METHODS, Mapper

        if method not in METHODS:
            raise unknown("method", method, METHODS)
        if (method, batch) not in self._mappers:
            self._mappers[method, batch] = Mapper(self._network, method, batch=batch)
        return self._mappers[method, batch]

    @cached_property
    def _network(self) -> Any:
        from zoo.engine import devices
        from zoo.engine.load import load_network

        with devices.import_keras().device(devices.select(self.device)[0]):
            return load_network(self.run)

    def close(self) -> None:
        """Free what the runtime holds."""
        self.runtime.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _predictions(self, batch: list[Read], keep: bool) -> Iterator[Prediction]:
        images = [each.image for each in batch if each.image is not None]
        predictions: Iterator[dict[str, Any]] = iter(self._ask(np.stack(images)) if images else [])
        for each in batch:
            if each.image is None:
                yield Prediction(each.file, reason=each.reason)
                continue
            yield Prediction(each.file, note=each.note, image=each.image if keep else None, **next(predictions))

    def _ask(self, images: np.ndarray) -> list[dict[str, Any]]:
        logits, features = self.runtime.predict(images)
        finite: list[bool] = [bool(np.isfinite(z).all()) for z in logits]
        positive = self.point.positive(logits)
        probabilities = self.probabilities(logits)
        scores = [None] * len(images) if self.detector is None else self.detector.score(features, images)
        return [
            {"logits": z, "probabilities": p, "positive": d, "ood": v} if ok else {"reason": NOT_FINITE}
            for z, p, d, v, ok in zip(logits, probabilities, positive, scores, finite, strict=True)
        ]


def _each(images: ImageFile | Iterable[ImageFile]) -> Iterator[ImageFile]:
    """One image, several, or an array of several, one by one; names of folders and patterns become those of their images."""
    if isinstance(images, np.ndarray):
        stack = images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images
        if stack.ndim == 3 and stack.shape[-1] not in (1, 3, 4):
            yield from stack
        else:
            yield stack
        return
    for image in [images] if isinstance(images, (str, Path)) else images:
        if isinstance(image, np.ndarray):
            yield image
        else:
            yield from intake.expand_one(str(image))
