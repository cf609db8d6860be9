"""Inference service: decodes an image, predicts with each run and draws heat maps. For one thread at a time."""

from __future__ import annotations

import base64
import io
import logging
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.quiet import import_matplotlib
from zoo.serve.decoding import Decoder, Image, NoDecoder, Request, TooManyPixels, Unreadable
from zoo.serve.errors import APIError, Busy
from zoo.serve.limits import Limits
from zoo.serve.responses import LabelInfo, LabelPrediction, OODResult, Predictions, RunInfo, RunPrediction

if TYPE_CHECKING:
    from zoo.inference.classifier import Classifier, Prediction

logger = logging.getLogger(__name__)

HEAT_SIDE = 768  # pixels of a heat map's longer side; heat maps are smooth
METHODS = ("gradcam", "gradcam++")  # occlusion runs the network hundreds of times for one map


class InferenceService:
    """The runs that are served, by name."""

    def __init__(self, classifiers: Sequence[Classifier], limits: Limits, force: bool = False) -> None:
        self.classifiers: dict[str, Classifier] = {}
        for each in classifiers:
            self.classifiers[_free_name(each.run.name, self.classifiers)] = each
        self.decoder = Decoder(limits, force)

    def start(self) -> None:
        """Start the decoder and run each network on an empty image, so that the first client does not wait for compilation."""
        self.decoder.start()
        for name, classifier in self.classifiers.items():
            logger.info(f"warming up {name}")
            image = np.zeros((classifier.image_size, classifier.image_size), np.uint8)
            classifier.predict_one(image)
            try:
                classifier.heat(image[None], [0], METHODS[0])
            except UsageError as error:  # a network without feature maps, such as dense layers on the pixels
                logger.warning(f"{name} has no heat maps: {error}")

    def close(self) -> None:
        """End the decoder and free the runs."""
        self.decoder.close()
        for classifier in self.classifiers.values():
            classifier.close()

    @cached_property
    def infos(self) -> list[RunInfo]:
        """What is served."""
        return [_info(name, classifier) for name, classifier in self.classifiers.items()]

    def select(self, names: Sequence[str]) -> list[str]:
        """The runs called `names`; all of them if there are none.

        Raises:
            APIError: 404 for a run that is not served.
        """
        for name in names:
            if name not in self.classifiers:
                raise APIError(404, f"there is no such run here. Served: {', '.join(self.classifiers)}.")
        return list(dict.fromkeys(names)) or list(self.classifiers)

    def predict(self, data: bytes, names: Sequence[str], picture: bool) -> Predictions:
        """The runs' predictions for the image in the file `data`.

        Raises:
            APIError: 422 and the reason where it cannot be read, 413 where it has too many pixels.
        """
        chosen = [self.classifiers[name] for name in names]
        image = self._image(data, chosen, picture)
        shared = _shared(image)
        predictions = [
            self._predict(name, classifier, image, "" if shared else image.notes.get(classifier.views, ""))
            for name, classifier in zip(names, chosen, strict=True)
        ]
        if all(each.reason for each in predictions):
            raise APIError(422, _sentence(predictions[0].reason))
        source = "data:image/png;base64," + base64.b64encode(image.picture).decode() if picture else None
        return Predictions(
            width=image.width,
            height=image.height,
            note=", ".join(filter(None, (image.note, shared))),
            picture=source,
            predictions=predictions,
        )

    def heat_map(self, data: bytes, name: str, label: str, method: str) -> tuple[bytes, bool]:
        """A PNG to lay over the image, and whether it is empty: the map is zero everywhere.

        The more a place raises the label's probability, the brighter and the less transparent it is.

        Raises:
            APIError: as `predict`; 404 for a label that the run does not have.
        """
        classifier = self.classifiers[name]
        if label not in classifier.labels:
            raise APIError(404, f"the run has no such label. It has: {', '.join(classifier.labels)}.")
        image = self._image(data, [classifier], picture=False)
        if classifier.views in image.rejected:
            raise APIError(422, _sentence(image.rejected[classifier.views]))
        column = list(classifier.labels).index(label)
        try:
            heat = classifier.heat(image.squares[classifier.image_size][None], [column], method)[0]
        except UsageError as error:
            raise APIError(422, str(error)) from None
        heat = np.nan_to_num(heat)
        return overlay(heat, image.width, image.height), not heat.any()

    def _image(self, data: bytes, chosen: Sequence[Classifier], picture: bool) -> Image:
        sizes = tuple(sorted({each.image_size for each in chosen}))
        views = tuple(dict.fromkeys(each.views for each in chosen))
        try:
            return self.decoder.read(data, Request(sizes, views, picture))
        except TooManyPixels as error:
            raise APIError(413, _sentence(str(error))) from None
        except Unreadable as error:
            raise APIError(422, _sentence(str(error))) from None
        except NoDecoder:
            raise Busy("no process to read images can be started now: try again in a moment.", 5) from None

    def _predict(self, name: str, classifier: Classifier, image: Image, note: str) -> RunPrediction:
        if classifier.views in image.rejected:
            return RunPrediction(run=name, reason=image.rejected[classifier.views], labels=[], ood=None)
        found = classifier.predict_one(image.squares[classifier.image_size])
        if found.probabilities is None or found.positive is None:
            return RunPrediction(run=name, reason=found.reason, labels=[], ood=None)
        labels = [
            LabelPrediction(label=label, probability=float(p), threshold=_finite(limit), positive=bool(positive))
            for (label, limit), p, positive in zip(
                _thresholds(classifier), found.probabilities, found.positive, strict=True
            )
        ]
        return RunPrediction(run=name, reason="", note=note, labels=labels, ood=_ood(found))


def overlay(heat: np.ndarray, width: int, height: int) -> bytes:
    """A heat map `(S, S)` in [0, 1] over the padded square, as a transparent PNG over an image of this width and height."""
    from PIL import Image

    from zoo.explain.overlay import COLOURS, FAINTEST

    side, size = max(width, height), len(heat)
    left, top = ((side - width) // 2) / side * size, ((side - height) // 2) / side * size
    box = (left, top, left + width / side * size, top + height / side * size)
    target = (max(1, round(HEAT_SIDE * width / side)), max(1, round(HEAT_SIDE * height / side)))
    over = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(target, Image.Resampling.BILINEAR, box=box))
    colours = import_matplotlib().colormaps[COLOURS](FAINTEST + (1 - FAINTEST) * over, bytes=True)
    colours[..., 3] = np.rint(255 * np.clip(over / 0.7, 0, 1))  # what is faint is transparent, as in `zoo explain`
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _free_name(name: str, taken: dict[str, Any]) -> str:
    """The run's name, with a number where another folder's run has it already."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free


def _shared(image: Image) -> str:
    """What all runs that take an image have not seen of it; "" where they differ."""
    found = set(image.notes.values())
    return found.pop() if len(found) == 1 else ""


def _thresholds(classifier: Classifier) -> list[tuple[str, float | None]]:
    return [(label, classifier.thresholds.get(label)) for label in classifier.labels]


def _info(name: str, classifier: Classifier) -> RunInfo:
    from urllib.parse import quote

    labels = [LabelInfo(label=label, threshold=_finite(value)) for label, value in _thresholds(classifier)]
    run = classifier.run
    return RunInfo(
        run=name,
        model=str(run.info().get("model", "")),
        dataset=_dataset(run),
        task=classifier.task.kind,
        image_size=classifier.image_size,
        labels=labels,
        calibrated=classifier.calibration is not None,
        ood_detector=classifier.detector is not None,
        runtime=classifier.runtime.name,
        card=f"/cards/{quote(name, safe='')}",
    )


def _dataset(run: Any) -> str:
    try:
        return str(dict(run.config().get("data") or {}).get("name", ""))
    except (OSError, ValueError, TypeError, ZooError):
        return ""


def _ood(prediction: Prediction) -> OODResult | None:
    found = prediction.ood
    if found is None:
        return None
    score, threshold = _finite(found.score), _finite(found.threshold)
    return OODResult(flagged=bool(found.flagged), score=score, threshold=threshold, reason=found.reason)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _sentence(reason: str) -> str:
    return f"the image cannot be used: {reason.rstrip('.')}."
