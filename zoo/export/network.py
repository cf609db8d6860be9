"""The network of an exported file: raw images of any size in, calibrated probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.core.tasks import Task

if TYPE_CHECKING:
    import keras

    from zoo.evaluation.calibration import Calibration

FLOAT32 = "float32"


def assemble(
    network: Any,
    task: Task,
    calibration: Calibration | None,
    resize: Callable[[Any, int], Any] | None = None,
    dtype: str = FLOAT32,
) -> keras.Model:
    """Put resizing before the network, and activation and calibration behind it.

    Args:
        network: from pixels `(N, S, S, 1)` to logits `(N, K)`.
        task: says which activation.
        calibration: of the logits; None gives the plain activation.
        resize: one of `zoo.export.preprocess` for images of any size; None for images of the network's own size.
        dtype: of the input, float32 or uint8.

    Returns:
        A Keras model from gray pixels `(N, H, W, 1)` in [0, 255] to float32 probabilities `(N, K)`.
    """
    import keras

    size = int(network.input_shape[1])
    image = keras.Input((size, size, 1) if resize is None else (None, None, 1), dtype=dtype, name="image")
    logits = network(image if resize is None else resize(image, size))
    return keras.Model(image, probabilities(logits, task, calibration), name=network.name)


def probabilities(logits: Any, task: Task, calibration: Calibration | None) -> Any:
    """`Calibration.probabilities`, or the task's plain activation, as Keras operations on logits `(N, K)`."""
    from keras import ops

    logits = ops.cast(logits, FLOAT32)
    if calibration is not None and calibration.method == "isotonic":
        return _isotonic(logits, task, calibration)
    if calibration is not None:
        scale, shift = _line(calibration)
        if (scale != 1).any():
            logits = ops.multiply(logits, scale)
        if shift.any():
            logits = ops.add(logits, shift)
    return ops.softmax(logits, axis=-1) if task.exclusive else ops.sigmoid(logits)


def _line(calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """What logits are multiplied by and what is added, each float32 `(1, K)`."""
    found = [calibration.parameters[label] for label in calibration.task.labels]
    scale = [1 / f["temperature"] if "temperature" in f else f.get("slope", 1.0) for f in found]
    shift = [f.get("intercept", 0.0) for f in found]
    return np.array([scale], np.float32), np.array([shift], np.float32)


def _isotonic(logits: Any, task: Task, calibration: Calibration) -> Any:
    """Straight lines between the knots, constant beyond them: the first value and what each stretch adds."""
    from keras import ops

    columns = []
    for k, label in enumerate(task.labels):
        logit = ops.take(logits, np.array([k], np.int32), axis=1)
        found = calibration.parameters[label]
        if not found:
            columns.append(ops.sigmoid(logit))
            continue
        knots, values = np.array(found["logits"]), np.array(found["values"])
        start = knots[:-1].astype(np.float32)[None]
        width = np.maximum(np.diff(knots), np.finfo(np.float32).tiny).astype(np.float32)[None]
        rise = np.diff(values).astype(np.float32)[None]
        share = ops.clip(ops.divide(ops.subtract(logit, start), width), 0.0, 1.0)
        columns.append(ops.add(ops.sum(ops.multiply(share, rise), axis=1, keepdims=True), float(values[0])))
    return columns[0] if len(columns) == 1 else ops.concatenate(columns, axis=1)
