"""Averaged weights: the formula, what a validation sees, and that training goes on untouched."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from zoo.config.optimizers import OptimizerOptions
from zoo.core.contracts import NoOptions
from zoo.engine.averaging import averaged
from zoo.engine.optimizers import build_optimizer


def model(**options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    precision = options.pop("precision", "float32")
    optimizer = build_optimizer("adam", OptimizerOptions(lr=0.05, **options), "constant", NoOptions(), 100, precision)
    made.compile(optimizer, "mse")
    return made


def data(batches: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(batches * 4, 3)).astype("float32"), rng.normal(size=(batches * 4, 2)).astype("float32")


def weights(trained: keras.Model) -> list[np.ndarray]:
    return [np.array(w) for w in trained.get_weights()]


def steps(trained: keras.Model, count: int) -> list[list[np.ndarray]]:
    """The weights after each of `count` batches."""
    x, y = data(count)
    history = []
    for k in range(count):
        trained.train_on_batch(x[4 * k : 4 * k + 4], y[4 * k : 4 * k + 4])
        history.append(weights(trained))
    return history


def expected(history: list[list[np.ndarray]], momentum: float) -> list[np.ndarray]:
    average = history[0]
    for n, now in enumerate(history[1:], start=1):
        share = min(momentum, n / (n + 9))
        average = [share * a + (1 - share) * w for a, w in zip(average, now, strict=True)]
    return average


@pytest.mark.parametrize("momentum", [0.3, 0.9])
def test_the_average_follows_its_formula(momentum: float) -> None:
    trained = model(ema=momentum)
    history = steps(trained, 12)
    with averaged(trained) as found:
        assert found
        for a, b in zip(weights(trained), expected(history, momentum), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert not np.allclose(expected(history, momentum)[0], history[-1][0], atol=1e-3)


def test_with_accumulation_the_average_counts_updates() -> None:
    trained = model(ema=0.3, accumulate=3)
    history = steps(trained, 14)[2::3]
    with averaged(trained):
        for a, b in zip(weights(trained), expected(history, 0.3), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_what_was_trained_is_back_bit_for_bit_even_after_an_error() -> None:
    trained = model(ema=0.9)
    steps(trained, 9)
    before = weights(trained)

    def validate() -> None:
        with averaged(trained):
            assert not np.array_equal(weights(trained)[0], before[0])
            raise ValueError("amid the validation")

    with pytest.raises(ValueError, match="amid"):
        validate()
    for a, b in zip(weights(trained), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_is_that_without_an_average_across_several_fits() -> None:
    x, y = data(8)
    found = []
    for options in ({}, {"ema": 0.5}):
        trained = model(**options)
        for _ in range(2):
            trained.fit(x, y, batch_size=4, shuffle=False, verbose=0)
            with averaged(trained):
                pass
        found.append(weights(trained))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_lies_in_the_variables_of_the_optimizer() -> None:
    first, second = model(ema=0.9), model(ema=0.9)
    steps(first, 6)
    second.optimizer.build(second.trainable_variables)
    second.set_weights(first.get_weights())
    for mine, theirs in zip(second.optimizer.variables, first.optimizer.variables, strict=True):
        mine.assign(theirs)
    with averaged(first), averaged(second):
        for a, b in zip(weights(first), weights(second), strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(weights(first)[0], np.zeros_like(weights(first)[0]))


def test_there_is_nothing_to_use_before_the_first_update_or_without_the_option() -> None:
    fresh, early, without = model(ema=0.9), model(ema=0.9, accumulate=4), model()
    fresh.optimizer.build(fresh.trainable_variables)
    steps(early, 3)
    steps(without, 3)
    for trained in (fresh, early, without):
        before = weights(trained)
        with averaged(trained) as found:
            assert not found
            np.testing.assert_array_equal(weights(trained)[0], before[0])


def test_under_a_scaled_loss_too() -> None:
    trained = model(ema=0.5, precision="mixed_float16")
    history = steps(trained, 6)
    with averaged(trained) as found:
        assert found
        np.testing.assert_allclose(weights(trained)[0], expected(history, 0.5)[0], rtol=1e-4, atol=1e-5)


ON_JAX = """
    import keras, numpy as np
    from zoo.core.contracts import NoOptions
    from zoo.engine.averaging import averaged
    from zoo.config.optimizers import OptimizerOptions
    from zoo.engine.optimizers import build_optimizer
    x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    history, seen = [], []
    def make(ema):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        options = OptimizerOptions(lr=0.05, accumulate=2, ema=ema)
        model.compile(build_optimizer("adam", options, "constant", NoOptions(), 100, "float32"), "mse")
        return model
    class Epoch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raw = self.model.get_weights()[0].copy()
            history.append(raw)
            with averaged(self.model):
                seen.append(self.model.get_weights()[0].copy())
            assert np.array_equal(raw, self.model.get_weights()[0])
    models = [make(0.2), make(0.0)]
    models[0].fit(x, x[:, :1], batch_size=16, epochs=4, verbose=0, shuffle=False, callbacks=[Epoch()])
    models[1].fit(x, x[:, :1], batch_size=16, epochs=4, verbose=0, shuffle=False)
    average = history[0]
    for n, now in enumerate(history[1:], start=1):
        share = min(0.2, n / (n + 9))
        average = share * average + (1 - share) * now
    print(keras.backend.backend(), np.allclose(seen[-1], average, atol=1e-6), np.allclose(seen[-1], history[-1], atol=1e-3),
          np.array_equal(models[0].get_weights()[0], models[1].get_weights()[0]))
"""


@pytest.mark.slow
def test_on_jax_within_a_fit(run_python: Callable[..., Any]) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed (the extra 'jax')")
    done = run_python("-c", textwrap.dedent(ON_JAX), KERAS_BACKEND="jax")
    assert done.stdout.split() == ["jax", "True", "False", "True"], done.stderr
