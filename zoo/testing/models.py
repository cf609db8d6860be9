"""Conformance checks of models."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.contracts import Model
from zoo.core.tasks import Task
from zoo.engine.load import custom_layers
from zoo.nn.graph import as_graph
from zoo.nn.members import BACKBONE
from zoo.testing.saved import logits_elsewhere
from zoo.testing.suite import (
    EXAMPLE_TASKS,
    Checks,
    Result,
    carried_out,
    check_info,
    demand,
    example_tasks,
    leave_gradients,
    numpy,
)

if TYPE_CHECKING:
    import keras
    import numpy as np

# how far half precision may move the logits, as a share of their spread over images that differ
HALF_TOLERANCE = 0.1
# what a brief check leaves out, beside all tasks but one
LONG = ("raw pixels", "odd sizes", "half precision", "saving", "logits, not probabilities")


def check_model(model: Model, *, brief: bool = False) -> None:
    """Check that a model builds for its tasks, takes raw pixels, gives float32 logits, trains, and survives saving.

    Networks are built at the smallest image size the model allows, with default options and random weights; nothing is
    downloaded.

    Args:
        model: the model.
        brief: check one task and leave out uint8 pixels, odd sizes, half precision, saving and probabilities: for larger
            variants of a network that passes all checks, of which each would take minutes.

    Raises:
        AssertionError: the model fails a check; the message says which and why.
    """
    demand(model_results(model, brief=brief))


def model_results(model: Model, *, brief: bool = False) -> Iterator[Result]:
    """The result of every check, one by one."""
    subject = _Subject(model)
    checks = subject.checks()
    if brief:
        subject.task = subject.tasks[0]
    others = [name for name in checks if name.endswith("logits")][1:]
    return carried_out(model, checks, left_out=(*others, *LONG) if brief else ())


class _Subject:
    """One model under test; each network is built once for all checks."""

    def __init__(self, model: Model) -> None:
        self.model, self.name, self.options = model, model.info.name, model.Options()
        self.size = model.info.min_image_size
        self.tasks = example_tasks(model) or list(EXAMPLE_TASKS.values())  # without any task the first check fails
        self.task = self.tasks[-1]  # that of the checks which need only one

    def checks(self) -> Checks:
        tasks = {f"{task.kind} logits": partial(self.logits, task) for task in self.tasks}
        return {
            "info": self.info,
            **tasks,
            "raw pixels": self.raw_pixels,
            "parameters": self.parameters,
            "odd sizes": self.odd_sizes,
            "half precision": self.half_precision,
            "saving": self.saving,
            "logits, not probabilities": self.unbounded,
            "frozen features": self.frozen_features,
            "gradients": self.gradients,
        }

    def info(self) -> None:
        check_info(self.model)
        assert self.size <= self.model.info.image_size, f"{self.name}: image_size is below min_image_size"

    @cached_property
    def networks(self) -> dict[str, keras.Model]:
        return {}

    def network(self, task: Task) -> keras.Model:
        if task.kind not in self.networks:
            network = self.model.build(task, self.size, None, self.options)
            self.networks[task.kind] = as_graph(network, self.size)  # as a training does
        return self.networks[task.kind]

    @property
    def last(self) -> keras.Model:
        return self.network(self.task)

    def logits(self, task: Task) -> None:
        _check_logits(self.name, self.network(task), task, self.size)

    def raw_pixels(self) -> None:
        """The whole range of an image, as bytes and as floats."""
        import numpy as np

        noise = _pixels(self.size)
        logits = numpy(self.last(noise.astype("float32"), training=False))
        from_bytes = numpy(self.last(noise, training=False))
        assert np.allclose(from_bytes, logits, atol=1e-5), (
            f"{self.name}: uint8 pixels give other logits than float ones"
        )
        for shade in (0, 255):
            flat = np.full((1, self.size, self.size, 1), shade, np.uint8)
            finite = np.isfinite(numpy(self.last(flat, training=False))).all()
            assert finite, f"{self.name}: the logits of an image that is {shade} everywhere are not finite"

    def parameters(self) -> None:
        stated, binary = self.model.info.parameters, self.tasks[0]
        if binary.outputs != 1:
            return  # the count is stated for one output
        count = self.network(binary).count_params()
        if (
            count != stated
        ):  # some networks have weights for every place of an image: they are counted at their own size
            count = self.model.build(binary, self.model.info.image_size, None, self.options).count_params()
        message = f"{self.name}: info.parameters is {stated:,}, the network with one output has {count:,}"
        assert count == stated, message

    def odd_sizes(self) -> None:
        """Images of a size that no power of two divides."""
        task, size = self.task, self.size + 3 - self.size % 2
        network = self.model.build(task, size, None, self.options)
        _check_logits(f"{self.name} at {size} pixels", network, task, size)

    def half_precision(self) -> None:
        """The same weights in mixed_float16: float32 logits that are finite and close."""
        import keras
        import numpy as np

        task, images = self.task, _images(self.size)
        expected = numpy(self.last(images, training=False))
        with _precision("mixed_float16"):
            half = self.model.build(task, self.size, None, self.options)
        half.set_weights(self.last.get_weights())
        logits = half(images, training=False)
        dtype = keras.backend.standardize_dtype(logits.dtype)
        where = f"{self.name} in mixed_float16"
        assert dtype == "float32", f"{where}: logits are {dtype}, not float32"
        off = np.abs(numpy(logits) - expected).max()
        limit = HALF_TOLERANCE * max(float(np.abs(expected).max()), 1e-3)
        assert off <= limit, f"{where}: logits are off by {off:.3g} from those in float32, more than {limit:.3g}"

    def saving(self) -> None:
        import keras
        import numpy as np

        pixels = _pixels(self.size)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.keras"
            self.last.save(path)
            unknown = [each for each in custom_layers(path) if keras.saving.get_registered_object(each) is None]
            assert not unknown, (
                f"{self.name}: {', '.join(unknown)} cannot be loaded: decorate it with @keras.saving.register_keras_serializable()"
            )
            loaded = keras.saving.load_model(path, compile=False)
            before, after = (numpy(each(pixels, training=False)) for each in (self.last, loaded))
            assert np.allclose(before, after, atol=1e-5), f"{self.name}: a saved and loaded network gives other logits"
            elsewhere = logits_elsewhere(path, pixels)
        assert elsewhere is None or np.allclose(before, elsewhere, atol=1e-4), (
            f"{self.name}: a saved network, loaded in another process, gives other logits"
        )

    def unbounded(self) -> None:
        """Whatever the weights are, probabilities lie in [0, 1]; logits leave it for one random draw or another."""
        import numpy as np

        network, pixels, generator = self.last, _pixels(self.size).astype("float32"), np.random.default_rng(0)
        every = [each for each in network.weights if _drawn(each)]
        # those of the head are enough for most networks; all take seconds where there are a hundred million
        for weights, scale in [(every[-2:], 1.0)] * 3 + [(every, 0.1), (every, 0.3), (every, 1.0)]:
            before = [numpy(each).copy() for each in weights]
            for weight, old in zip(weights, before, strict=True):
                weight.assign(old + generator.normal(0, scale, old.shape))
            logits = numpy(network(pixels, training=False))
            for weight, old in zip(weights, before, strict=True):
                weight.assign(old)
            if not np.isfinite(logits).all() or logits.min() < 0 or logits.max() > 1:
                return
        raise AssertionError(
            f"{self.name}: the output stays in [0, 1] whatever the weights: these are probabilities, not logits. Leave out the "
            "sigmoid or softmax at the end (activation=None): losses and calibration take logits."
        )

    def frozen_features(self) -> None:
        """The output of a frozen backbone, where there is one, is computed once for all epochs."""
        from zoo.engine.features import NotSeparable, split_network

        backbone = next((layer for layer in self.last.layers if layer.name == BACKBONE), None)
        if backbone is None:
            return
        backbone.trainable = False
        try:
            split_network(self.last)
        except NotSeparable as reason:
            raise AssertionError(f"{self.name}: the features of its frozen backbone cannot be kept: {reason}") from None
        finally:
            backbone.trainable = True

    def gradients(self) -> None:
        """One training step with an optimizer that leaves in each weight its gradient."""
        import numpy as np

        network, generator = self.last, np.random.default_rng(0)
        for weight in network.trainable_variables:
            values = numpy(weight)
            if not values.any():  # a layer that starts at zero hides the gradients of those behind it
                weight.assign(generator.normal(0, 0.05, values.shape))
        before = [numpy(weight).copy() for weight in network.trainable_variables]
        network.compile(optimizer=leave_gradients(), loss="mse", run_eagerly=_eager())
        pixels = _pixels(self.size, 8)
        with warnings.catch_warnings():  # Keras warns of what is asserted below
            warnings.simplefilter("ignore", UserWarning)
            network.train_on_batch(pixels.astype("float32"), generator.normal(0, 3, (8, network.output_shape[-1])))
        for weight, old in zip(network.trainable_variables, before, strict=True):
            gradient = numpy(weight)
            assert np.isfinite(gradient).all(), f"{self.name}: the gradient of {weight.path} is not finite"
            reached = gradient.any() and not np.array_equal(gradient, old)
            message = f"{self.name}: no gradient reaches {weight.path}; a weight that is not used must not be trainable"
            assert reached, message


def _drawn(weight: Any) -> bool:
    """Whether a weight may be drawn at random: no statistics, whose variance is positive, and no counters."""
    import keras

    statistics = ("moving_mean", "moving_variance", "mean", "variance", "count")
    is_float = keras.backend.is_float_dtype(keras.backend.standardize_dtype(weight.dtype))
    return bool(is_float) and weight.path.rpartition("/")[2] not in statistics


@contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Layers built inside compute in another precision."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_logits(where: str, network: keras.Model, task: Task, size: int) -> None:
    import keras
    import numpy as np

    shape = network.input_shape
    assert shape == (None, size, size, 1), f"{where}: input {shape}, not (None, {size}, {size}, 1)"
    logits = network(_pixels(size).astype("float32"), training=False)
    where = f"{where} ({task.kind})"
    assert tuple(logits.shape) == (4, task.outputs), f"{where}: logits {tuple(logits.shape)}, not (4, {task.outputs})"
    dtype = keras.backend.standardize_dtype(logits.dtype)
    assert dtype == "float32", f"{where}: logits are {dtype}, not float32"
    assert np.isfinite(numpy(logits)).all(), f"{where}: logits of raw pixels in [0, 255] are not finite"


def _pixels(size: int, count: int = 4) -> np.ndarray:
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def _images(size: int) -> np.ndarray:
    """Four smooth images `(4, size, size, 1)` from dark to bright."""
    import numpy as np

    ramp = np.linspace(0, 1, size)
    waves = [np.outer(np.sin(np.pi * ramp) ** k, np.cos(np.pi * ramp) ** 2) * 60 * k for k in (1, 2, 3, 4)]
    return np.stack(waves)[..., None].astype("float32")


def _eager() -> bool:
    """Whether one step is faster without compiling: tracing a deep network costs TensorFlow more than the step does."""
    import keras

    return bool(keras.backend.backend() != "jax")


__all__ = ["check_model", "model_results"]
