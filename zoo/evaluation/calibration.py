"""Calibration: an increasing map from logits to probabilities, fitted on validation images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.core.errors import DataError, UsageError, unknown
from zoo.core.tasks import Task
from zoo.evaluation.notes import FEW, Note
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

METHODS = ("temperature", "platt", "isotonic")
TEMPERATURES = (0.01, 100.0)  # the range that is searched
_KEYS = {"temperature": {"temperature"}, "platt": {"slope", "intercept"}, "isotonic": {"logits", "values"}}

_Fit = dict[str, Any] | Note  # parameters, or why there are none


@dataclass(frozen=True)
class Calibration(Serialisable):
    """A fitted map from logits to probabilities.

    `parameters[label]` depends on the method: `temperature` (the same for all classes of a multiclass task);
    `slope` and `intercept`; or the knots `logits` and `values` of an isotonic map. It is empty where the label is left
    as it is; `uncalibrated[label]` is then the reason: "few_images" (counts: validation images with the label, and without),
    "few_outside_one_class" (counts: images of the other classes, and of all), "constant_output", "separated" (the outputs
    separate the validation images perfectly), "no_temperature" (none of the range fits), "inverted" (Platt's slope is not
    positive), "not_increasing" (the isotonic map is flat).
    """

    method: str
    task: Task
    parameters: dict[str, dict[str, Any]]
    uncalibrated: dict[str, Note] = field(default_factory=dict)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float64 `(N, K)` in [0, 1], from finite logits `(N, K)`.

        The order of the images within a label is kept; an isotonic map makes some of them equal. For a multiclass task
        the rows sum to 1 and the most probable class stays the same.

        Raises:
            ValueError: the logits have another number of labels.
        """
        z = np.array(logits, dtype=np.float64)
        if z.ndim != 2 or z.shape[1] != self.task.outputs:
            raise ValueError(f"logits have the shape {z.shape}; it must be (images, {self.task.outputs})")
        if self.method == "isotonic":
            probability = metrics.probabilities(self.task, z)
            for k, label in enumerate(self.task.labels):
                if knots := self.parameters[label]:
                    probability[:, k] = np.interp(z[:, k], knots["logits"], knots["values"])
            return probability
        for k, label in enumerate(self.task.labels):
            if not (found := self.parameters[label]):
                continue
            if self.method == "temperature":
                z[:, k] /= found["temperature"]
            else:
                z[:, k] = found["slope"] * z[:, k] + found["intercept"]
        return metrics.probabilities(self.task, z)

    @property
    def at_range_end(self) -> tuple[str, ...]:
        """The labels whose temperature is the lowest or the highest that is searched: not to be relied on."""
        return tuple(name for name, found in self.parameters.items() if found.get("temperature") in TEMPERATURES)

    def carried(self, thresholds: Mapping[str, float]) -> dict[str, float]:
        """Thresholds on uncalibrated probabilities (above 1: logits) as they lie on calibrated ones, for each label of the task."""
        raw = np.array([float(thresholds[label]) for label in self.task.labels])
        probability = np.minimum(raw, 1)
        with np.errstate(divide="ignore"):
            logits = np.where(raw > 1, raw, np.log(probability) - np.log1p(-probability))
        return dict(zip(self.task.labels, self.probabilities(logits[None])[0].tolist(), strict=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of `to_dict`, to the last digit.

        Raises:
            DataError: a part is missing or the method is unknown.
        """
        try:
            task = Task(values["task"]["kind"], tuple(values["task"]["labels"]))
            parameters = {label: dict(values["parameters"][label]) for label in task.labels}
            needed = _KEYS[values["method"]]
            for label, found in parameters.items():
                if found and set(found) != needed:
                    raise ValueError(f"{label} has the parameters {sorted(found)}, not {sorted(needed)}")
            reasons = {label: Note.from_dict(reason) for label, reason in values["uncalibrated"].items()}
            return cls(values["method"], task, parameters, reasons)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"this is not a calibration: {type(error).__name__} {error}.") from None


def fit_calibration(method: str, validation: Predictions) -> Calibration:
    """Fit one map per label on validation images; a NaN label leaves the image out for that label.

    - "temperature" divides the logits by T > 0 (Guo et al. 2017, arXiv:1706.04599), the minimum of the log loss, convex
      in 1/T and searched from T = .01 to 100. A multiclass task has one T for its softmax, the others one per label.
    - "platt" is sigmoid(slope · logit + intercept), the minimum of the log loss on Platt's smoothed targets
      (N₊+1)/(N₊+2) and 1/(N₋+2) (Platt 1999), with which it is finite even for perfectly separated images.
    - "isotonic" is the best non-decreasing map (Zadrozny & Elkan 2002): pooled adjacent violators with straight lines
      between the blocks and constant beyond the ends. Its values are kept within 1/(n+2) and (n+1)/(n+2), Laplace's rule
      of succession for n images: n images cannot vouch for less, and the log loss of a new image stays finite.

    A label stays as it is (see `Calibration.uncalibrated`) where fewer than 10 images have or have not got it, where the
    best map would not be increasing (inverted outputs), or, for temperature, where the outputs separate the images
    perfectly at 0: the log loss then falls for ever as T goes to 0.

    Raises:
        UsageError: the method is unknown, or cannot be used for a multiclass task.
        DataError: the predictions have no images, a logit that is not finite, or an image twice.
    """
    if method not in METHODS:
        raise unknown("calibration method", method, METHODS)
    task = validation.task
    if task.exclusive and method != "temperature":
        raise UsageError(
            f"{method} calibration works on one output at a time and would break the sum of a multiclass task's "
            "probabilities. Use temperature."
        )
    validation.check("validation predictions")
    logits = validation.logits.astype(np.float64)
    if task.exclusive:
        fits = [_fit_softmax(validation.labels, logits)] * task.outputs
    else:
        fits = [_fit_label(method, validation.labels[:, k], logits[:, k]) for k in range(task.outputs)]
    return Calibration(
        method,
        task,
        {label: {} if isinstance(fit, Note) else dict(fit) for label, fit in zip(task.labels, fits, strict=True)},
        {label: fit for label, fit in zip(task.labels, fits, strict=True) if isinstance(fit, Note)},
    )


def pool(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Isotonic regression of labels `(N,)`, 1 or 0, on scores `(N,)`: pooled adjacent violators, equal scores together.

    Returns:
        The distinct scores in order `(D,)`, the value fitted to each `(D,)`, each image's place among the distinct scores
        `(N,)`, and where the blocks of equal value begin in them, with D at the end.
    """
    from scipy.optimize import isotonic_regression

    distinct, place = np.unique(scores, return_inverse=True)
    weights = np.bincount(place).astype(np.float64)
    fitted = isotonic_regression(np.bincount(place, labels) / weights, weights=weights)
    return distinct, fitted.x, place, fitted.blocks


def _fit_label(method: str, labels: np.ndarray, logits: np.ndarray) -> _Fit:
    known = ~np.isnan(labels)
    positive, z = labels[known] > 0.5, logits[known]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if min(positives, negatives) < FEW:
        return Note("few_images", counts=(positives, negatives))
    if z.min() == z.max():
        return Note("constant_output")
    return {"temperature": _fit_sigmoid, "platt": _fit_platt, "isotonic": _fit_isotonic}[method](positive, z)


def _fit_sigmoid(positive: np.ndarray, z: np.ndarray) -> _Fit:
    from scipy.special import expit

    if (np.where(positive, z, -z) > 0).all():
        return Note("separated")
    return _temperature(lambda inverse: float(((expit(inverse * z) - positive) * z).mean()))


def _fit_softmax(labels: np.ndarray, logits: np.ndarray) -> _Fit:
    from scipy.special import softmax

    known = np.nansum(labels, axis=1) == 1
    positive, z = labels[known] > 0.5, logits[known]
    others = len(positive) - int(positive.sum(axis=0).max(initial=0))
    if others < FEW:
        return Note("few_outside_one_class", counts=(others, len(positive)))
    right = z[positive]
    if (np.where(positive, -np.inf, z).max(axis=1) < right).all():
        return Note("separated")
    return _temperature(lambda inverse: float(((softmax(inverse * z, axis=1) * z).sum(axis=1) - right).mean()))


def _temperature(slope: Callable[[float], float]) -> _Fit:
    """The temperature from the derivative of the log loss by 1/T, which rises with 1/T."""
    from scipy.optimize import brentq

    smallest, largest = 1 / TEMPERATURES[1], 1 / TEMPERATURES[0]
    if slope(smallest) >= 0:
        return Note("no_temperature")
    if slope(largest) <= 0:
        return {"temperature": TEMPERATURES[0]}
    return {"temperature": float(1 / brentq(slope, smallest, largest, xtol=1e-14))}


def _fit_platt(positive: np.ndarray, z: np.ndarray) -> _Fit:
    from scipy.optimize import minimize
    from scipy.special import expit

    centre, spread = z.mean(), z.std()
    x = np.stack([(z - centre) / spread, np.ones_like(z)])  # standardised, so that both steps are of one size
    positives = int(positive.sum())
    target = np.where(positive, (positives + 1) / (positives + 2), 1 / (len(z) - positives + 2))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        s = w @ x
        value = (np.logaddexp(0, s) - target * s).mean()
        return float(value), x @ (expit(s) - target) / len(z)

    def curvature(w: np.ndarray) -> np.ndarray:
        p = expit(w @ x)
        return (x * (p * (1 - p))) @ x.T / len(z)

    share = target.mean()
    start = np.array([0.0, np.log(share / (1 - share))])
    w = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-9}).x
    slope = float(w[0] / spread)
    if slope <= 0:
        return Note("inverted")
    return {"slope": slope, "intercept": float(w[1] - slope * centre)}


def _fit_isotonic(positive: np.ndarray, z: np.ndarray) -> _Fit:
    distinct, fitted, _, blocks = pool(z, positive)
    if len(blocks) == 2:
        return Note("not_increasing")
    least = 1 / (len(z) + 2)
    knots = np.unique(np.concatenate([blocks[:-1], blocks[1:] - 1]))
    values = np.clip(fitted[knots], least, 1 - least)
    return {"logits": distinct[knots].tolist(), "values": values.tolist()}
