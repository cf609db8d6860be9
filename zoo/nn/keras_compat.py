"""What zoo needs of Keras beyond its public interface. No other module touches Keras' internals.

Every function names what it relies on, and tests/nn/test_keras_compat.py checks that. Where one of these tests fails with a
new version of Keras, this module is the place to look; until then the upper bound in setup.cfg keeps that version out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

# Keras' settings of a whole process that zoo relies on; keras.json, KERAS_MAX_EPOCHS, KERAS_MAX_STEPS_PER_EPOCH and other code
# in the process may have changed them
SETTINGS: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "max_epochs": None,
    "max_steps_per_epoch": None,
}


def apply_settings() -> dict[str, Any]:
    """Give every one of `SETTINGS` its value in this process; returns those that had another, with what that was.

    Relies on nothing internal. The precision of new layers follows floatx where nobody chose one: it is corrected with it.
    """
    from keras import config

    before = {name: getattr(config, name)() for name in SETTINGS}
    changed = {name: value for name, value in before.items() if value != SETTINGS[name]}
    if "floatx" in changed and config.dtype_policy().name == changed["floatx"]:
        config.set_dtype_policy(SETTINGS["floatx"])
    for name in changed:
        getattr(config, f"set_{name}")(SETTINGS[name])
    return changed


def settings() -> dict[str, Any]:
    """The backend and the `SETTINGS` of this process, as they are now."""
    from keras import config

    return {name: getattr(config, name)() for name in ("backend", *SETTINGS)}


def flatten_layers(layer: Any) -> list[Any]:
    """A layer or network and all layers inside it, at any depth.

    Relies on `Layer._flatten_layers`; the public `Model.layers` does not descend into nested models and composite layers.
    """
    return list(layer._flatten_layers())


def is_functional(network: Any) -> bool:
    """Whether a network is a graph of layers from `keras.Input` to its outputs.

    Relies on the class `keras.src.models.Functional`, which `keras.Model(inputs, outputs)` returns and Keras does not export.
    """
    import keras

    return isinstance(network, keras.src.models.Functional)


def node_of(tensor: Any) -> Any:
    """The call that computed a symbolic tensor: an object with `operation`, `input_tensors` and `outputs`.

    Relies on `KerasTensor._keras_history` and `Operation._inbound_nodes`.

    Raises:
        AttributeError: the tensor belongs to no graph of layers.
    """
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


def calls(layer: Any) -> int:
    """How many times a layer is called in the graphs it is part of. Relies on `Operation._inbound_nodes`."""
    return len(layer._inbound_nodes)


def seed_generators(model: Any) -> list[Any]:
    """The random generators of a model and its layers, such as those of dropout. Relies on `Layer._seed_generators`."""
    return [generator for layer in flatten_layers(model) for generator in layer._seed_generators]


@contextmanager
def override_moments(layers: Sequence[Any], moments: Callable[[Any, Sequence[int]], tuple[Any, Any]]) -> Iterator[None]:
    """Let batch normalisation layers compute mean and variance in training as `moments(inputs, axes)`, for a while.

    Relies on `BatchNormalization._moments(inputs, mask)` and `BatchNormalization._reduction_axes`. Inputs with a mask keep
    Keras' own computation.
    """

    def call(layer: Any, inputs: Any, mask: Any) -> tuple[Any, Any]:
        if mask is not None:
            own: tuple[Any, Any] = type(layer)._moments(layer, inputs, mask)
            return own
        return moments(inputs, layer._reduction_axes)

    for layer in layers:
        layer._moments = MethodType(call, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer._moments


def sync_variables(trainer: Any) -> None:
    """Let a trainer's variables hold the values of the last step while `fit` runs.

    Relies on `jax_state_sync`: on JAX `fit` keeps the values apart from the variables. Nothing to do on TensorFlow.
    """
    sync = getattr(trainer, "jax_state_sync", None)
    if sync is not None:
        sync()


class OwnAverages:
    """Placed before a Keras optimizer class in a subclass, replaces how `use_ema` updates its averages.

    Relies on `BaseOptimizer._update_model_variables_moving_average`, which Keras calls after every batch, and on
    `BaseOptimizer._iterations`, which counts batches where the public `iterations` counts updates.
    """

    def update_averages(self, pairs: Iterable[tuple[Any, Any]], batches: Any) -> None:
        """Update the averages after `batches` batches, this one not counted; `pairs` are as `moving_averages` gives them."""
        raise NotImplementedError

    def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
        optimizer: Any = self
        averages = optimizer._model_variables_moving_average
        self.update_averages(zip(trainable_variables, averages, strict=True), optimizer._iterations)


def moving_averages(optimizer: Any) -> list[tuple[Any, Any]]:
    """Each variable that an optimizer with `use_ema` trains, with its average.

    Relies on `BaseOptimizer._trainable_variables` and `BaseOptimizer._model_variables_moving_average`.
    """
    return list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True))


def variable_index(optimizer: Any, variable: Any) -> int:
    """The position of a variable among those an optimizer was built for. Relies on `BaseOptimizer._get_variable_index`."""
    return int(optimizer._get_variable_index(variable))


def has_weight_decay(optimizer: Any, variable: Any) -> bool:
    """Whether `exclude_from_weight_decay` lets a variable decay. Relies on `BaseOptimizer._use_weight_decay`."""
    return bool(optimizer._use_weight_decay(variable))


def update_without_strategy(optimizer: Any) -> None:
    """Let an optimizer of the TensorFlow backend update each replica's copy of the weights by the gradient it is given.

    Relies on the class `BaseOptimizer` below the TensorFlow one, and on its methods `_backend_update_step`,
    `_apply_weight_decay` and `_backend_increment_gradient_accumulators`, which the TensorFlow class overrides to add up
    gradients under `tf.distribute`.
    """
    base: Any = next(c for c in type(optimizer).__mro__ if c.__name__ == "BaseOptimizer")
    for name in ("_backend_update_step", "_apply_weight_decay", "_backend_increment_gradient_accumulators"):
        setattr(optimizer, name, MethodType(getattr(base, name), optimizer))
