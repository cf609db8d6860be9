"""Optimizers and schedules: the options reach Keras, and the rates are those of the formulas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import keras
import numpy as np
import pytest

from zoo.config.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    CosineOptions,
    OptimizerOptions,
    PlateauOptions,
    SgdOptions,
    default_lr,
)
from zoo.core.contracts import NoOptions
from zoo.core.errors import UsageError
from zoo.engine.optimizers import build_optimizer


def rates(options: CosineOptions, steps: int, lr: float) -> list[float]:
    optimizer = build_optimizer("adam", OptimizerOptions(lr=lr), "cosine", options, steps, "float32")
    schedule = optimizer._learning_rate
    return [float(schedule(step)) for step in range(steps + 1)]


def test_cosine_warms_up_linearly_and_decays_by_the_formula() -> None:
    found = rates(CosineOptions(warmup=0.1, final=0.01), 200, 2e-3)
    expected = []
    for step in range(201):
        if step < 20:
            expected.append(2e-3 * step / 20)
        else:
            share = min((step - 20) / 180, 1.0)
            expected.append(2e-3 * (0.99 * (1 + math.cos(math.pi * share)) / 2 + 0.01))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


def test_cosine_without_warm_up_starts_at_the_top() -> None:
    found = rates(CosineOptions(warmup=0.0), 50, 0.1)
    assert found[0] == pytest.approx(0.1)
    assert found[-1] == pytest.approx(0.0, abs=1e-8)
    assert all(a > b for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_every_optimizer_with_every_schedule_lowers_a_loss(name: str, schedule: str) -> None:
    options = OPTIMIZERS[name](lr=0.05, weight_decay=1e-4, clipnorm=1.0)
    schedule_options = {"constant": NoOptions(), "cosine": CosineOptions(), "plateau": PlateauOptions()}[schedule]
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(build_optimizer(name, options, schedule, schedule_options, 40, "float32"), "mse")
    y = x @ np.array([[1.0], [-2.0], [0.5]], "float32")
    history = model.fit(x, y, batch_size=16, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_options_reach_keras() -> None:
    adamw = build_optimizer(
        "adamw", OptimizerOptions(lr=1e-3, weight_decay=0.1, clipnorm=2.0), "constant", NoOptions(), 1, "float32"
    )
    assert type(adamw).__name__ == "AdamW"
    assert (adamw.weight_decay, adamw.global_clipnorm) == (0.1, 2.0)
    sgd = build_optimizer(
        "sgd", SgdOptions(lr=1e-2, momentum=0.5, nesterov=True), "constant", NoOptions(), 1, "float32"
    )
    assert (sgd.momentum, sgd.nesterov, float(sgd.learning_rate)) == (0.5, True, pytest.approx(1e-2))


def test_the_head_alone_trains_at_a_multiple_of_the_rate() -> None:
    head = build_optimizer("adam", OptimizerOptions(lr=1e-4), "constant", NoOptions(), 1, "float32", scale=10.0)
    assert float(head.learning_rate) == pytest.approx(1e-3)


def test_half_precision_scales_the_loss() -> None:
    half = build_optimizer("adam", OptimizerOptions(lr=1e-3), "constant", NoOptions(), 1, "mixed_float16")
    assert isinstance(half, keras.optimizers.LossScaleOptimizer)


def test_default_rates() -> None:
    assert default_lr("adam", False) == 1e-3
    assert default_lr("adamw", True) == 2e-4
    assert default_lr("sgd", False) == pytest.approx(1e-2)


def trained(accumulate: int, batch: int, schedule: str = "cosine", precision: str = "float32", **options: Any) -> list:
    """The weights of a small network without batch normalisation after 24 images of 3 epochs."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 5)).astype("float32"), rng.normal(size=(24, 2)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)])
    chosen = OptimizerOptions(lr=0.05, accumulate=accumulate, **options)
    schedule_options = CosineOptions(warmup=0.25) if schedule == "cosine" else NoOptions()
    model.compile(build_optimizer("adamw", chosen, schedule, schedule_options, 3 * 24 // batch, precision), "mse")
    model.fit(x, y, batch_size=batch, epochs=3, shuffle=False, verbose=0)
    return [np.array(w) for w in model.get_weights()]


@pytest.mark.parametrize("options", [{}, {"clipnorm": 0.1, "weight_decay": 0.1}])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_accumulating_is_training_on_a_larger_batch(schedule: str, options: dict[str, Any]) -> None:
    large, small, plain = (trained(k, b, schedule, **options) for k, b in ((1, 12), (3, 4), (1, 4)))
    for a, b in zip(large, small, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not np.allclose(large[0], plain[0], atol=1e-3)


def test_accumulating_with_a_scaled_loss() -> None:
    large, small = trained(1, 12, precision="mixed_float16"), trained(3, 4, precision="mixed_float16")
    for a, b in zip(large, small, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_accumulating_counts_across_epochs_and_leaves_out_the_rest() -> None:
    # 6 batches an epoch, 18 in all: updates of 4 reach over the ends of epochs, the last 2 batches make none
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    options = SgdOptions(lr=1.0, momentum=0.0, nesterov=False, accumulate=4)
    model.compile(build_optimizer("sgd", options, "constant", NoOptions(), 18, "float32"), "mae")
    y = np.full((6, 1), 100.0, np.float32)  # far away: the gradient of the mean absolute error is -x all along
    model.fit(np.arange(6, dtype=np.float32)[:, None], y, batch_size=1, epochs=3, shuffle=False, verbose=0)
    order = np.tile(np.arange(6.0), 3)[:16].reshape(4, 4)
    assert float(model.get_weights()[0][0, 0]) == pytest.approx(order.mean(axis=1).sum(), abs=1e-5)


def test_accumulating_more_batches_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match=r"optimizer\.accumulate 11 is larger than the 10 batches"):
        build_optimizer("adam", OptimizerOptions(lr=0.1, accumulate=11), "constant", NoOptions(), 10, "float32")
