"""Several devices on one host: they compute what one device computes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from trainings import configuration

from zoo.config.settings import Settings
from zoo.core.errors import UsageError
from zoo.engine import devices
from zoo.engine.replicas import device_context

SUPPORT = Path(__file__).parents[1] / "support"  # what the tests share, for the processes they start

STEPS = """
import json, sys
from zoo.engine import devices
devices.split_cpu("cpu:2")
import keras
import numpy as np
from zoo.config.settings import Settings
from zoo.core.contracts import NoOptions
from zoo.engine.averaging import averaged
from zoo.engine.feed import step_feed
from zoo.nn.fused_norm import fused_batch_norm
from zoo.config.optimizers import OPTIMIZERS
from zoo.engine.optimizers import build_optimizer
from zoo.engine.replicas import device_context
from zoo.engine.training import Trainer
from zoo.core.tasks import Task

STEPS = 6
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (STEPS, 8, 8, 8, 1), dtype=np.uint8)
labels = rng.integers(0, 2, (STEPS, 8, 3)).astype(np.float32)
labels[:, :4][rng.random((STEPS, 4, 3)) < 0.8] = np.nan  # the first device knows far less than the second

def bce(known, logits):
    return keras.ops.binary_crossentropy(known, logits, from_logits=True)

def build(norm):
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3)(x)  # of raw pixels: means far from zero
    x = keras.layers.BatchNormalization()(x) if norm else keras.layers.Rescaling(0.01)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.1), dtype="float32")(x))

def train(count, name, options, norm, precision):
    settings = Settings(devices=f"cpu:{count}", batch_size=8, precision=precision)
    with device_context(settings) as context:
        assert context.replicas == count and context.on_cpu
        network = build(norm)
        trainer = Trainer(network, Task("multilabel", ("a", "b", "c")), bce, lambda images, labels, seed: (images, labels), 0)
        context.share_loss(trainer)
        chosen = OPTIMIZERS[name](lr=0.05, **options)
        optimizer = build_optimizer(name, chosen, "constant", NoOptions(), STEPS, precision)
        with context.adapted(network), fused_batch_norm(network):
            trainer.compile(optimizer=optimizer, jit_compile=context.jit("auto"))
            optimizer.build(trainer.trainable_variables)
            context.sum_gradients(optimizer)
            feed = step_feed(lambda k: (images[k], labels[k]), "image", range(STEPS))
            done = trainer.fit(feed, epochs=STEPS, steps_per_epoch=1, shuffle=False, verbose=0)
            with averaged(trainer) as average:
                assert average == ("ema" in options)
                weights = [keras.ops.convert_to_numpy(w) for w in network.weights]
        assert not any("_moments" in vars(layer) or "call" in vars(layer) for layer in network._flatten_layers())
    return np.array(done.history["loss"]), weights

CASES = {
    "clipped and decayed": ("adamw", {"clipnorm": 0.05, "weight_decay": 0.1}, True, "float32"),
    "accumulated and averaged": ("sgd", {"accumulate": 2, "ema": 0.9, "clipnorm": 0.05}, True, "float32"),
    "without batch normalisation": ("adam", {}, False, "float32"),
    "half precision": ("adam", {}, True, "mixed_float16"),
}
found = {}
for case in sys.argv[1:]:
    (one, first), (two, second) = (train(count, *CASES[case]) for count in (1, 2))
    found[case] = {
        "loss": float(np.abs(one - two).max()),
        "moved": float(np.ptp(one)),
        "weights": max(float((np.abs(a - b) / (1 + np.abs(a))).max()) for a, b in zip(first, second)),
    }
print(json.dumps(found))
"""

FAST = ["accumulated and averaged"]
ALL = [*FAST, "clipped and decayed", "without batch normalisation", "half precision"]


@pytest.mark.parametrize(
    ("backend", "cases"),
    [
        ("tensorflow", FAST),
        pytest.param("tensorflow", ALL, marks=pytest.mark.slow),
        pytest.param("jax", ALL, marks=pytest.mark.slow),
    ],
)
def test_two_devices_compute_what_one_does(backend: str, cases: list[str], run_python: Callable[..., Any]) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (the extra '{backend}')")
    done = run_python("-c", STEPS, *cases, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert list(found) == cases
    for case, difference in found.items():
        half = case == "half precision"  # sums of rounded numbers in another order
        assert difference["moved"] > 0.01
        assert difference["loss"] < (5e-3 if half else 1e-5), case
        assert difference["weights"] < (0.2 if half else 5e-5), case


DRAWS = """
from zoo.engine import devices
devices.split_cpu("cpu:2")
import keras
import numpy as np
from zoo.config.settings import Settings
from zoo.engine.replicas import device_context

class Draws(keras.Model):
    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(7)
        self.dropout = keras.layers.Dropout(0.5, seed=1)
    def call(self, images):
        noise = keras.random.uniform(keras.ops.shape(images), seed=self.seed)
        return keras.ops.concatenate([noise, self.dropout(images, training=True)], axis=1)

def draw(count):
    with device_context(Settings(devices=f"cpu:{count}", batch_size=8)) as context:
        model = Draws()
        context.separate_seeds(model)
        return model.predict(np.ones((16, 40), np.float32), batch_size=8, verbose=0)

one, two, again = draw(1), draw(2), draw(2)
assert (two == again).all()
for part in (slice(0, 40), slice(40, 80)):
    assert (two[:4, part] != two[4:8, part]).any()  # the two devices in one step
    assert (two[:4, part] != two[8:12, part]).any()  # one device in two steps
    assert (two[4:8, part] != two[8:12, part]).any()  # one draws in its next step what the other drew before it: no
print("different")
"""


@pytest.mark.slow
def test_each_device_draws_for_itself_and_the_same_again(run_python: Callable[..., Any]) -> None:
    done = run_python("-c", DRAWS)
    assert done.stdout.splitlines()[-1:] == ["different"], done.stderr


ENGINE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from zoo.engine import devices
devices.split_cpu("cpu:2")
from pathlib import Path
import numpy as np
from trainings import Killed, go_on, result, start
from loglines import log_lines
from zoo.engine.steps import Steps
from zoo.core.errors import UsageError
from zoo.runs.run import Run

def rows(name):
    return np.array([[float(row[k]) for k in ("loss", "val_loss", "val_auroc")] for row in result(name)["rows"]])

def killed(name, **changes):
    inner, left = Steps.after, iter(range(1, 100))
    def dying(self, loss):
        inner(self, loss)
        if next(left) == 9:
            raise Killed
    Steps.after = dying
    try:
        start(name, every=2, **changes)
    except Killed:
        Steps.after = inner

def refused(name, **options):
    try:
        go_on(name, **options)
    except UsageError as error:
        return str(error)

found = {}
for name in sys.argv[2:]:
    if name == "frozen":
        start("base", augment="none")
        plain = {"weights": "runs/base", "freeze": True, "freeze_epochs": 2, "epochs": 1, "augment": "none",
                 "model": {"name": "tiny-cnn", "width": 4, "depth": 1, "dropout": 0.0}}
        start("one", **plain)
        with log_lines() as said:
            start("two", devices="cpu:2", **plain)
        assert any("computed once for" in line for line in said)
        found[name] = float(np.abs(rows("one") - rows("two")).max())
    elif name == "agree":  # dropout and mixup included
        start("one")
        start("two", devices="cpu:2")
        found[name] = float(np.abs(rows("one") - rows("two")).max())
    else:
        start("whole", devices="cpu:2")
        info = Run(Path("runs/whole")).info()
        killed("killed", devices="cpu:2")
        found["refused"] = refused("killed", devices="1")
        go_on("killed")
        killed("fewer", devices="cpu:2")
        go_on("fewer", devices="cpu:1", allow_changed=True)
        found |= {"equal": result("killed") == result("whole"), "device": info["device"], "devices": info["devices"]}
        found["fewer"] = Run(Path("runs/fewer")).info()["device"]
print(json.dumps(found))
"""


def engine(run_python: Callable[..., Any], backend: str, *names: str) -> dict[str, Any]:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (the extra '{backend}')")
    done = run_python("-c", ENGINE, str(SUPPORT), *names, KERAS_BACKEND=backend, ZOO_CACHE="cache")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_a_run_on_two_devices_is_resumed_exactly_and_other_devices_must_be_allowed(
    run_python: Callable[..., Any],
) -> None:
    found = engine(run_python, "tensorflow", "resume")
    assert found["equal"]
    assert (found["device"], found["devices"]) == ("2 × CPU (tensorflow)", 2)
    assert "the device changed from 2 × CPU (tensorflow) to CPU (tensorflow)" in found["refused"]
    assert "--allow-changed" in found["refused"]
    assert found["fewer"] == "CPU (tensorflow)"


@pytest.mark.slow
def test_kept_features_are_those_of_one_device(run_python: Callable[..., Any]) -> None:
    assert engine(run_python, "tensorflow", "frozen")["frozen"] < 1e-5


@pytest.mark.slow
def test_on_jax_whole_runs_agree_random_augmentation_included(run_python: Callable[..., Any]) -> None:
    assert engine(run_python, "jax", "agree")["agree"] < 1e-5


@pytest.mark.parametrize("wrong", ["gpu:2", "0", "two", "cpu:0", "-1", "cpu"])
def test_unknown_devices_show_the_valid_ones(wrong: str) -> None:
    with pytest.raises(UsageError, match=r"Valid: all, a number of GPUs such as 2, cpu:N"):
        configuration(devices=wrong)


def test_one_device_or_several_must_be_chosen() -> None:
    with pytest.raises(UsageError, match="--device cpu names one device, --devices 2 several"):
        configuration(device="cpu", devices=2)


def test_gpus_that_are_not_there_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_tensorflow_gpus", list)
    with pytest.raises(UsageError, match=r"--devices 2: tensorflow sees no GPU here\. Use --devices all, or cpu:2"):
        devices.several(2)
    assert devices.several("all") == (["cpu:0"], "CPU (tensorflow)")
    monkeypatch.setattr(devices, "_tensorflow_gpus", lambda: ["First", "Second"])
    assert devices.several("all") == (["gpu:0", "gpu:1"], "First (tensorflow)")
    assert devices.several("1") == (["gpu:0"], "First (tensorflow)")
    with pytest.raises(UsageError, match=r"--devices 3: tensorflow sees 2 GPU"):
        devices.several("3")


def test_a_cpu_cannot_be_divided_once_it_is_in_use() -> None:
    devices.several("cpu:1")
    with pytest.raises(UsageError, match=r"--devices cpu:3: tensorflow has begun with 1 CPU device"):
        devices.several("cpu:3")


def test_a_batch_that_cannot_be_divided_says_which_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "several", lambda wanted: (["cpu:0", "cpu:1", "cpu:2"], "CPU (tensorflow)"))
    wanted = device_context(Settings(devices="cpu:3", batch_size=32))
    with pytest.raises(UsageError, match=r"32 images cannot be divided equally among 3 devices.*use 30 or 33"), wanted:
        pass


def test_one_device_named_as_several_is_the_plain_one() -> None:
    with device_context(Settings(devices="cpu:1")) as context:
        assert (context.line, context.replicas, context.strategy) == ("CPU (tensorflow)", 1, None)
        assert context.jit("auto") is False
