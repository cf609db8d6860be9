"""The weighted mean of several networks' probabilities, and the weights with the smallest log-loss on given images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import metrics

SMALLEST = 1e-4  # a fitted weight below it is 0, so that its network need not be computed


def combine(task: Task, logits: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """The logits of the weighted mean of probabilities, in float64 and without rounding a probability to 0 or 1.

    A sigmoid's mean p̄ has the logit log p̄ − log(1 − p̄), both by log-sum-exp of the members' log-sigmoids; of exclusive
    classes the logits are log p̄, whose softmax is p̄.

    Args:
        task: determines the activation.
        logits: of M networks, `(M, N, K)`.
        weights: M numbers ≥ 0 with the sum 1.

    Returns:
        `(N, K)`.
    """
    z = np.asarray(logits, np.float64)
    with np.errstate(divide="ignore"):
        log_weights = np.log(np.asarray(weights, np.float64))[:, None, None]
    if task.exclusive:
        top = z.max(axis=-1, keepdims=True)
        return _log_sum(z - top - np.log(np.exp(z - top).sum(axis=-1, keepdims=True)) + log_weights)
    positive = -np.logaddexp(0, -z)
    return _log_sum(positive + log_weights) - _log_sum(positive - z + log_weights)


def _log_sum(values: np.ndarray) -> np.ndarray:
    """log Σ exp over the first axis."""
    return np.asarray(np.logaddexp.reduce(values, axis=0))


def log_loss(task: Task, labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean negative log-likelihood of known labels `(N, K)` under logits `(N, K)`; of exclusive classes one per image.

    Raises:
        DataError: no label is known.
    """
    likelihood = _likelihoods(task, labels, np.asarray(logits)[None])[0]
    return float(-np.log(likelihood).mean())


def fit_weights(task: Task, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The weights of a mean of probabilities with the smallest log-loss on images, each ≥ 0 and together 1.

    The loss is convex in the weights, so any start leads to its minimum. SciPy's SLSQP (Kraft 1988) starts from equal
    weights, which are kept if it finds nothing better.

    Args:
        task: determines the activation.
        labels: `(N, K)`, NaN for unknown.
        logits: of M networks, `(M, N, K)`.

    Returns:
        float64 `(M,)`.

    Raises:
        DataError: no label is known.
    """
    from scipy.optimize import minimize

    likelihoods = _likelihoods(task, labels, logits)
    equal = np.full(len(likelihoods), 1 / len(likelihoods))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        mixed = weights @ likelihoods
        return float(-np.log(mixed).mean()), -(likelihoods / mixed).mean(axis=1)

    found = minimize(
        loss,
        equal,
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(equal),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": np.ones_like},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = np.where(found.x < SMALLEST, 0, found.x)
    weights = weights / weights.sum()
    return weights if np.isfinite(weights).all() and loss(weights)[0] <= loss(equal)[0] else equal


def _likelihoods(task: Task, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The probability that each of M networks gave to each of the L known labels: `(M, L)`, above 0."""
    labels = np.asarray(labels, np.float64)
    probability = np.stack([metrics.probabilities(task, each) for each in logits])
    if task.exclusive:
        known = ~np.isnan(labels).any(axis=1)
        of_label = (probability * np.nan_to_num(labels)).sum(axis=-1)
    else:
        known = ~np.isnan(labels)
        other = np.stack([metrics.probabilities(task, -np.asarray(each)) for each in logits])  # 1 - p, not rounded
        of_label = np.where(labels == 1, probability, other)
    if not known.any():
        raise DataError("the weights cannot be fitted: no label of the validation images is known.")
    return np.asarray(np.maximum(of_label[:, known], np.finfo(np.float64).tiny))
