"""Layer-wise learning rates: which block a variable belongs to, and the steps by the formulas of the optimizers."""

from __future__ import annotations

import importlib.util
import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from trainings import Killed, configuration, go_on, result, start

from zoo.config.optimizers import OPTIMIZERS
from zoo.core.contracts import NoOptions
from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.layer_rates import Rates, layer_rates
from zoo.engine.optimizers import build_optimizer
from zoo.engine.steps import Steps

BINARY = Task("binary", ("abnormal",))


def shares(network: Any, rates: Rates) -> dict[str, float]:
    """The share of every layer with weights, by its name; all variables of a layer have the same one."""
    found: dict[str, set[float]] = {}
    for variable in network.weights:
        found.setdefault(variable.path.removeprefix(f"{network.name}/").split("/")[0], set()).add(
            rates.share_of(variable)
        )
    assert all(len(each) == 1 for each in found.values())
    return {name: each.pop() for name, each in found.items()}


def gated() -> keras.Model:
    """Stages at 16, 8 and 4 pixels; in the second a gate of 1×1, as in squeeze-excite, and a shortcut."""
    x = inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, padding="same", name="stem")(x)
    x = shortcut = layers.Conv2D(2, 3, 2, padding="same", name="middle")(x)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Multiply()([x, layers.Conv2D(2, 1, activation="sigmoid", name="gate")(gate)])
    x = layers.Add()([shortcut, layers.BatchNormalization(name="norm")(x)])
    x = layers.Conv2D(2, 3, 2, padding="same", name="last")(x)
    images = keras.Input((16, 16, 1))
    backbone = keras.Model(inputs, x, name="backbone")
    pooled = layers.GlobalAveragePooling2D()(backbone(images))
    return keras.Model(images, layers.Dense(1, name="logits")(layers.Dense(3, name="hidden")(pooled)))


def test_blocks_are_the_stages_of_equal_resolution() -> None:
    network = gated()
    rates = layer_rates(network, 0.5)
    top, below = dict.fromkeys(("logits", "hidden"), 1.0), dict.fromkeys(("middle", "gate", "norm"), 0.25)
    assert shares(network, rates) == top | {"last": 0.5, "stem": 0.125} | below
    assert "3 blocks below it at 0.5 of the one above, the lowest at 0.125" in rates.summary


def test_the_blocks_of_a_vision_transformer_are_those_it_numbers() -> None:
    model = registry().get("model", "vit-tiny")
    network = model.build(BINARY, 32, None, model.Options(class_token=True))
    found = shares(network, layer_rates(network, 0.75, model.blocks))
    assert found["logits"] == found["norm"] == 1.0
    for block in range(1, 13):
        parts = {share for name, share in found.items() if name.startswith(f"block{block}_")}
        assert parts == {0.75 ** (13 - block)}
    embedding = {found[name] for name in ("patches", "positions", "class_token", "class_position")}
    assert embedding == {0.75**13}


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("tiny-cnn", 3),
        ("cnn-baseline", 4),
        ("dense-baseline", 2),
        pytest.param("mobilenetv3", 5, marks=pytest.mark.slow),
        pytest.param("simplified-densenet", 5, marks=pytest.mark.slow),
    ],
)
def test_stages_of_built_in_networks(name: str, blocks: int) -> None:
    model = registry().get("model", name)
    rates = layer_rates(model.build(BINARY, 64, None, model.Options()), 0.5, model.blocks)
    assert len(rates.blocks) == blocks


def test_without_a_backbone_the_last_layer_is_the_head() -> None:
    network = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, name="a"), layers.Dense(1, name="b")]
    )
    assert shares(network, layer_rates(network, 0.5)) == {"a": 0.5, "b": 1.0}


def test_nothing_below_the_head_and_a_pattern_that_finds_nothing_are_errors() -> None:
    network = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(UsageError, match=r"optimizer\.layer_decay lowers the rate of what lies below the head"):
        layer_rates(network, 0.5)
    with pytest.raises(ZooError, match="is in the path of no weight"):
        layer_rates(gated(), 0.5, r"^block(\d+)")


def test_frozen_weights_keep_their_place() -> None:
    network = gated()
    network.get_layer("backbone").get_layer("last").trainable = False
    assert shares(network, layer_rates(network, 0.5))["middle"] == 0.25


# the steps

START = np.array([[1.0], [-2.0]], np.float32)


def two_layers() -> keras.Model:
    """y = v·(w·x), so that both gradients are easily written down."""
    network = keras.Sequential(
        [keras.Input((1,)), layers.Dense(1, use_bias=False, name="below"), layers.Dense(1, use_bias=False, name="head")]
    )
    network.set_weights([START[:1], START[1:]])
    return network


def compiled(name: str, share: float | None, schedule: str = "constant", **options: Any) -> keras.Model:
    network = two_layers()
    below = network.get_layer("below").kernel
    share_of = None if share is None else lambda variable: share if variable is below else 1.0
    chosen = OPTIMIZERS[name](lr=0.1, **options)
    network.compile(build_optimizer(name, chosen, schedule, NoOptions(), 100, "float32", share_of=share_of), "mse")
    return network


def stepped(network: keras.Model, x: list[float]) -> np.ndarray:
    for value in x:
        network.train_on_batch(np.array([[value]], np.float32), np.zeros((1, 1), np.float32))
    return np.concatenate([np.array(w) for w in network.get_weights()]).ravel()


def gradients(w: np.ndarray, x: float) -> np.ndarray:
    """Of (v·w·x)² by w and v."""
    return 2 * w.prod() * x * x * w[::-1]


@pytest.mark.parametrize("decay", [0.0, 0.2])
def test_steps_of_sgd_with_momentum_and_weight_decay(decay: float) -> None:
    rate, velocity, w = 0.1 * np.array([0.3, 1.0]), np.zeros(2), START.ravel().astype(float)
    xs = [0.5, 1.0, -0.7]
    for x in xs:
        gradient = gradients(w, x)
        velocity = 0.9 * velocity - rate * gradient
        w = w - rate * decay * w + velocity
    found = stepped(compiled("sgd", 0.3, momentum=0.9, nesterov=False, weight_decay=decay or None), xs)
    np.testing.assert_allclose(found, w, rtol=1e-5)


def test_steps_of_adamw() -> None:
    rate, m, v, w = 0.1 * np.array([0.3, 1.0]), np.zeros(2), np.zeros(2), START.ravel().astype(float)
    xs = [0.5, 1.0, -0.7]
    for step, x in enumerate(xs, start=1):
        gradient = gradients(w, x)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        w = w - rate * 0.2 * w - rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-7)
    np.testing.assert_allclose(stepped(compiled("adamw", 0.3, weight_decay=0.2), xs), w, rtol=1e-4)


@pytest.mark.parametrize("name", [n if n == "adamw" else pytest.param(n, marks=pytest.mark.slow) for n in OPTIMIZERS])
def test_at_a_share_of_one_every_optimizer_is_the_one_without(name: str) -> None:
    options = {"weight_decay": 0.1, "clipnorm": 0.5, "accumulate": 2, "ema": 0.9}
    xs = [0.5, 1.0, -0.7, 0.2]
    plain, same, less = (stepped(compiled(name, share, **options), xs) for share in (None, 1.0, 0.1))
    np.testing.assert_allclose(same, plain, rtol=1e-6)
    assert abs(less[0] - START[0, 0]) < 0.5 * abs(plain[0] - START[0, 0])
    assert less[1] == pytest.approx(plain[1], rel=0.1)


# the engine


@pytest.mark.slow
def test_training_says_its_rates_and_goes_on_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options: dict[str, Any] = {"optimizer": {"name": "adamw", "layer_decay": 0.5}, "epochs": 2}
    start("whole", **options)
    assert any("3 blocks below it at 0.5 of the one above" in line for line in logged)
    calls = itertools.count(1)

    def dying(self: Steps, loss: Any) -> None:
        if next(calls) == 8:
            raise Killed
        after(self, loss)

    after = Steps.after
    with monkeypatch.context() as patch:
        patch.setattr(Steps, "after", dying)
        with pytest.raises(Killed):
            start("part", every=3, **options)
    go_on("part")
    assert result("part") == result("whole")
    start("alike", optimizer="adamw", epochs=2)
    assert result("alike")["weights"] != result("whole")["weights"]


@pytest.mark.parametrize("value", [0, 1.5])
def test_the_share_is_above_zero_and_at_most_one(value: float) -> None:
    with pytest.raises(UsageError, match=r"optimizer\.layer_decay: received"):
        configuration(optimizer={"name": "adam", "layer_decay": value})


ON_JAX = """
    import sys
    import keras
    sys.path[:0] = sys.argv[1:]
    import test_layer_rates as tests
    tests.test_steps_of_sgd_with_momentum_and_weight_decay(0.2)
    tests.test_steps_of_adamw()
    for name in tests.OPTIMIZERS:
        tests.test_at_a_share_of_one_every_optimizer_is_the_one_without(name)
    tests.test_blocks_are_the_stages_of_equal_resolution()
    tests.test_the_blocks_of_a_vision_transformer_are_those_it_numbers()
    print(keras.backend.backend(), "done")
"""


@pytest.mark.slow
def test_on_jax(run_python: Callable[..., Any], request: pytest.FixtureRequest) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed (the extra 'jax')")
    folders = [str(request.path.parent), str(request.config.rootpath / "tests" / "support")]
    done = run_python("-c", textwrap.dedent(ON_JAX), *folders, KERAS_BACKEND="jax")
    assert done.stdout.split()[-2:] == ["jax", "done"], done.stderr
