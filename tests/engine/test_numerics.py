"""A loss that is no number stops the run at its step; reduced precision stays near float32; what repeats, repeats."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from trainings import configuration, go_on, result, start

from zoo.core.contracts import Augmenter, Info
from zoo.core.registry import Registry, registry
from zoo.data.pipeline import load_images
from zoo.engine import steps
from zoo.engine.batch_norm import BatchStatistics
from zoo.engine.checkpoints import CheckpointFolder, read_checkpoint
from zoo.engine.predict import predict_logits
from zoo.engine.steps import DivergedTraining
from zoo.nn.fused_norm import fused_batch_norm
from zoo.runs.run import Run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path_factory.getbasetemp() / "numerics"))


def batch_of(epoch: int, step: int) -> list[str]:
    """The images of a step, both counted from 1, found without the engine."""
    images = load_images(configuration(), registry())
    rows = images.rows[images.of("train")]
    order = np.random.default_rng([0, epoch - 1]).permutation(rows)[(step - 1) * 8 : step * 8]
    name = dict(zip(images.rows.tolist(), images.table["image"], strict=True))
    return [name[row] for row in order.tolist()]


class Poisoned(Augmenter):
    """In the place of MixUp; from its call number `call` on every label is infinite."""

    info = Info(name="mixup", summary="poisoned")

    def __init__(self, call: int) -> None:
        self.call = call

    def build(self, size: int, options: Any) -> Callable[..., Any]:
        return self

    def __call__(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        # the second number of the random state counts the calls
        count = keras.ops.cast(seed.next()[1], "float32")
        return images, keras.ops.where(count < self.call - 1, labels, np.inf)


def poison(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    inner = Registry.get
    augmenter = Poisoned(call)
    monkeypatch.setattr(
        Registry, "get", lambda self, kind, n: augmenter if kind == "augmenter" else inner(self, kind, n)
    )


@pytest.mark.parametrize("on_cpu", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_loss_that_is_no_number_stops_at_its_step_and_names_it(on_cpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not on_cpu:  # the losses of many steps are read together there, and the step is found all the same
        inner = steps.Steps.__init__
        monkeypatch.setattr(steps.Steps, "__init__", lambda self, *a, **k: inner(self, *a, **{**k, "on_cpu": False}))
        monkeypatch.setattr(steps, "WATCHED_ON_ACCELERATOR", 4)
    taken: list[int] = []
    after = steps.Steps.after
    monkeypatch.setattr(steps.Steps, "after", lambda self, loss: (taken.append(1), after(self, loss))[1])
    with monkeypatch.context() as patch:
        poison(patch, 8)
        with pytest.raises(DivergedTraining) as error:
            start("wild", every=2, augment={"name": "mixup"})
    message = str(error.value)
    assert re.match(r"the training loss became (nan|-?inf) at step 3 of 5 in epoch 2 \(learning rate 0\.001; ", message)
    first = batch_of(2, 3)
    assert f"images of the step: {', '.join(first[:3])} and 5 more)" in message
    assert "The checkpoint of epoch 2, step 1 of 5 is kept, the best weights (epoch 1)" in message
    assert "Lower --lr" in message
    assert len(taken) <= (8 if on_cpu else 11)
    newest = read_checkpoint(CheckpointFolder(Path("runs/wild/checkpoints")).paths()[0])
    assert all(np.isfinite(array).all() for array in newest.arrays.values())
    assert Run(Path("runs/wild")).info()["status"] == "failed"
    go_on("wild")
    assert Run(Path("runs/wild")).info()["status"] == "complete"


def test_weights_that_are_no_numbers_are_never_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    after = steps.Steps.after

    def spoiled(self: steps.Steps, loss: Any) -> None:
        if self.state.step == 3:
            kernel = self.trainer.network.trainable_weights[0]
            kernel.assign(np.full(kernel.shape, np.nan))
        after(self, loss)

    monkeypatch.setattr(steps.Steps, "after", spoiled)
    with pytest.raises(
        DivergedTraining, match="a weight of the network became infinite or NaN at step 4 of 5 in epoch 1"
    ):
        start("wild", every=4)
    assert not Path("runs/wild").exists()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    start("first", epochs=1)
    start("second", epochs=1)
    assert result("first") == result("second")
    start("third", epochs=1, seed=1)
    assert result("third")["weights"] != result("first")["weights"]


@pytest.mark.slow
def test_deterministic_stands_in_the_configuration_and_allows_no_unseeded_operation(
    run_python: Callable[..., Any], tmp_path: Path
) -> None:
    code = """
from pathlib import Path
import tensorflow as tf
tf.random.normal([1])  # allowed before
from zoo.config.resolve import resolve
from zoo.engine import devices
from zoo.core.registry import registry
assert "deterministic: true" in resolve([{"deterministic": True}], registry()).to_yaml()
devices.make_deterministic()
tf.keras.backend.clear_session()
tf.random.set_seed(None)
try:
    tf.random.normal([1])
except RuntimeError as error:
    print("refused" if "determinism" in str(error) else error)
"""
    done = run_python("-c", code, KERAS_BACKEND="tensorflow")
    assert done.stdout == "refused\n", done.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about TensorFlow's kernel")
def test_deterministic_trains_a_frozen_layer_without_the_kernel_that_has_no_deterministic_gradient() -> None:
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.BatchNormalization()
    network = keras.Model(inputs, layer(inputs))
    for trainable, training, fused in ((True, True, True), (False, True, False), (False, False, True)):
        layer.trainable = trainable
        with fused_batch_norm(network, deterministic=True):
            function = tf.function(lambda x, training=training: network(x, training=training))
            graph = function.get_concrete_function(tf.TensorSpec((2, 4, 4, 3))).graph
        assert ("FusedBatchNormV3" in {operation.type for operation in graph.get_operations()}) is fused


@pytest.mark.slow
def test_deterministic_on_jax_sets_the_flag_that_xla_reads(run_python: Callable[..., Any]) -> None:
    pytest.importorskip("jax")
    code = """
import os
from zoo.engine import devices
with devices.session("cpu", "float32", 0, deterministic=True):
    import jax
    print(os.environ["XLA_FLAGS"], float(jax.numpy.ones(3).sum()))
"""
    flags = "--xla_cpu_multi_thread_eigen=false"
    done = run_python("-c", code, KERAS_BACKEND="jax", XLA_FLAGS=flags)
    assert done.stdout == f"{flags} --xla_gpu_deterministic_ops=true 3.0\n", done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("tiny-cnn", 32), ("mobilenetv3", 64), ("efficientnet-lite0", 64)])
def test_bfloat16_equals_float32_within_bounds(name: str, size: int) -> None:
    """A network trained in float32 answers the same in bfloat16, whose numbers have 8 bits: its logits are off by at most 10%
    of their spread (root mean square), its probabilities by .01 on average and .25 at most; and the loss of a
    training step is off by at most 2%. Measured on tiny-cnn, MobileNetV3 and EfficientNet-Lite0: 1%, 8% and 5%; .19 at most."""
    images = load_images(
        configuration(task="multilabel", data={"name": "phantom", "patients": 120}, image_size=size), registry()
    )
    rows, labels = images.rows[images.of("train")], images.labels[images.of("train")].astype(np.float32)
    pixels = np.asarray(images.store.images)[..., None]
    networks = []
    before = keras.config.dtype_policy()
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        try:
            keras.utils.set_random_seed(0)
            model = registry().get("model", name)
            networks.append(model.build(images.task, size, None, model.Options()))
        finally:
            keras.config.set_dtype_policy(before)
    single, half = networks
    losses = [loss_of_a_step(network, pixels[rows[:32]], labels[:32]) for network in networks]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    single.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    single.fit(pixels[rows], labels, batch_size=16, epochs=4, verbose=0)
    for _ in range(2):
        BatchStatistics(single).update(pixels[..., 0], rows, 16)
    half.set_weights(single.get_weights())
    expected, found = (predict_logits(network, pixels[..., 0], images.rows, 32) for network in networks)
    assert expected.std() > 0.1
    assert np.sqrt(np.mean((found - expected) ** 2)) <= 0.1 * expected.std()
    error = np.abs(expit(found) - expit(expected))
    assert error.mean() <= 0.01
    assert error.max() <= 0.25


def loss_of_a_step(network: Any, pixels: np.ndarray, labels: np.ndarray) -> float:
    """The binary cross-entropy in training mode, where batch normalisation uses the batch, and without an update."""
    logits = np.asarray(network(pixels, training=True), np.float64)
    return float((np.logaddexp(0, logits) - labels * logits).mean())
