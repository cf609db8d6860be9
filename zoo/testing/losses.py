"""Conformance checks of losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.core.contracts import LabelCounts, Loss
from zoo.core.tasks import Task
from zoo.testing.suite import Checks, Result, carried_out, check_info, demand, example_tasks, leave_gradients, numpy

if TYPE_CHECKING:
    import numpy as np

Function = Callable[[Any, Any], Any]


def check_loss(loss: Loss) -> None:
    """Check a loss for each of its tasks: shape, unknown labels, extreme logits in two precisions, direction, gradient.

    Raises:
        AssertionError: the loss fails a check; the message says which and why.
    """
    demand(loss_results(loss))


def loss_results(loss: Loss) -> Iterator[Result]:
    """The result of every check, one by one."""
    checks: dict[str, Callable[[], None]] = {"info": partial(check_info, loss)}
    for task in example_tasks(loss):
        checks |= _Subject(loss, task).checks()
    return carried_out(loss, checks)


class _Subject:
    """One loss on one task."""

    def __init__(self, loss: Loss, task: Task) -> None:
        self.loss, self.task = loss, task
        self.where = f"{loss.info.name} ({task.kind})"

    def checks(self) -> Checks:
        each = {
            "shape": self.shape,
            "masks": self.masks,
            "extremes": self.extremes,
            "direction": self.direction,
            "gradient": self.gradient,
        }
        return {f"{self.task.kind} {name}": check for name, check in each.items()}

    @property
    def function(self) -> Function:
        import numpy as np

        outputs = self.task.outputs
        counts = LabelCounts(np.full(outputs, 30.0), np.full(outputs, 70.0))
        return self.loss.build(self.task, counts, self.loss.Options())

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits `(6, outputs)`."""
        import numpy as np

        logits = np.random.default_rng(0).uniform(-3, 3, (6, self.task.outputs)).astype("float32")
        return _label_rows(self.task), logits

    def shape(self) -> None:
        labels, logits = self.rows
        values = numpy(self.function(labels, logits))
        message = f"{self.where}: gives shape {values.shape} for labels of shape {labels.shape}"
        assert values.shape == labels.shape, message

    def masks(self) -> None:
        """Unknown labels must not change the masked loss; that needs finite values wherever it is masked."""
        import numpy as np

        from zoo.engine.training import masked_loss

        function, (labels, logits) = self.function, self.rows
        unknown = labels.copy()
        unknown[0] = np.nan

        def reduced(labels: np.ndarray, logits: np.ndarray) -> float:
            return float(numpy(masked_loss(self.task, function, labels, logits)))

        with_unknown, without = reduced(unknown, logits), reduced(labels[1:], logits[1:])
        message = f"{self.where}: an image of unknown labels changes the loss from {without:.6g} to {with_unknown:.6g}"
        assert np.isclose(with_unknown, without, rtol=1e-5), message
        gradient = _loss_gradient(lambda y, z: masked_loss(self.task, function, unknown, z), labels, logits)
        assert not gradient[0].any(), f"{self.where}: unknown labels have a gradient"

    def extremes(self) -> None:
        import keras
        import numpy as np

        function, (labels, _) = self.function, self.rows
        for precision in ("float16", "float32"):
            for sign in (1, -1):
                logits = (80 * sign * (2 * labels - 1)).astype(precision)
                try:
                    values = numpy(function(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(logits)))
                except Exception as error:
                    message = f"{self.where}: fails for {precision} logits, cast them to float32: {error}"
                    raise AssertionError(message) from error
                finite = np.isfinite(values.astype("float32")).all()
                message = f"{self.where}: not finite for {precision} logits of ±80; compute from logits, in float32"
                assert finite, message
        for sign in (1, -1):
            gradient = _loss_gradient(function, labels, (80 * sign * (2 * labels - 1)).astype("float32"))
            assert np.isfinite(gradient).all(), f"{self.where}: the gradient is not finite for logits of ±80"

    def direction(self) -> None:
        """The loss of a row falls as the logits move toward its labels."""
        import numpy as np

        for labels in np.unique(_label_rows(self.task), axis=0):
            steps = np.linspace(-2, 2, 5, dtype="float32")[:, None]
            rows = np.repeat(labels[None], len(steps), axis=0)
            losses = numpy(self.function(rows, steps * (2 * rows - 1))).sum(axis=1)
            wanted = f"as the logits move toward the labels {labels.tolist()}: {losses.tolist()}"
            assert (np.diff(losses) < 0).all(), f"{self.where}: does not fall {wanted}"

    def gradient(self) -> None:
        """The gradient of the sum against central differences, logit by logit."""
        import numpy as np

        function, (labels, logits) = self.function, self.rows
        step = 1e-2
        expected = np.zeros(logits.shape)
        for index in np.ndindex(*logits.shape):
            change = np.zeros_like(logits)
            change[index] = step
            above, below = (numpy(function(labels, logits + s * change)).astype(float).sum() for s in (1, -1))
            expected[index] = (above - below) / (2 * step)
        off = float(np.abs(_loss_gradient(function, labels, logits) - expected).max())
        assert off < 5e-3, f"{self.where}: the gradient is off from finite differences by {off:.3g}"


def _label_rows(task: Task) -> np.ndarray:
    """Six rows of float32 labels that show every class present and absent."""
    import numpy as np

    if task.exclusive:
        return np.eye(task.outputs, dtype="float32")[np.arange(6) % task.outputs]
    return ((np.arange(6)[:, None] + np.arange(task.outputs)) % 2).astype("float32")


def _loss_gradient(function: Function, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    import keras

    class Logits(keras.Model):
        """The logits are the weights."""

        def __init__(self) -> None:
            super().__init__()
            self.logits = self.add_weight(shape=logits.shape, initializer="zeros", name="logits")

        def call(self, inputs: Any) -> Any:
            return keras.ops.convert_to_tensor(self.logits)

        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, *rest: Any, **more: Any) -> Any:
            return keras.ops.sum(function(y, y_pred))

    probe = Logits()
    probe.logits.assign(logits)
    probe.compile(optimizer=leave_gradients(), run_eagerly=True)
    probe.train_on_batch(labels, labels)
    return numpy(probe.logits)


__all__ = ["check_loss", "loss_results"]
