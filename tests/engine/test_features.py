"""Features of a frozen backbone: the head learns what it would learn from the images, only sooner."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from loglines import log_lines

from zoo.core.contracts import Augmenter, AugmenterInfo, Info
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.data.batches import TrainingBatches
from zoo.engine import features
from zoo.engine.features import FeatureCache, NotSeparable, backbone_in_inference, cached_features, split_network
from zoo.engine.feed import training_feed
from zoo.engine.predict import predict_logits
from zoo.engine.training import Trainer

TASK = Task("multilabel", ("a", "b"))
SIZE, IMAGES = 16, 26
NONE = registry().get("augmenter", "none")
TRAIN = np.array([k for k in range(IMAGES) if k % 5])  # 20 images, not the first rows
VALIDATION = np.arange(0, IMAGES, 5)


def bce(labels: Any, logits: Any) -> Any:
    return ops.binary_crossentropy(labels, logits, from_logits=True)


def batches(size: int = 8) -> TrainingBatches:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, SIZE, SIZE)).astype(np.uint8)
    labels = rng.integers(0, 2, (IMAGES, 2)).astype(np.float32)
    labels[4, 1] = np.nan
    return TrainingBatches(images, labels, TRAIN, size, 5)


class Noise(Augmenter):
    """Changes each image on its own, by chance."""

    info = AugmenterInfo(name="noise", summary="", per_image=True)

    def build(self, image_size: int, options: Any) -> Any:
        return lambda images, labels, seed: (
            ops.clip(images + 60 * keras.random.normal(ops.shape(images), seed=seed), 0, 255),
            labels,
        )


def small_network(
    pooling: str = "GlobalAveragePooling2D", dropout: float = 0.0, inside: Sequence[Any] = ()
) -> keras.Model:
    """Of the shape that BackboneModel gives, with statistics as if it had been trained; `inside` are layers of the backbone."""
    inputs, inner = keras.Input((SIZE, SIZE, 1)), keras.Input((SIZE, SIZE, 1))
    maps = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, strides=2)(inner))
    for layer in inside:
        maps = layer(maps)
    backbone = keras.Model(inner, keras.layers.ReLU()(maps), name="backbone")
    backbone.layers[2].moving_mean.assign(np.linspace(-0.2, 0.2, 6))
    x = backbone(keras.layers.Rescaling(1 / 127.5, -1)(inputs))
    x = getattr(keras.layers, pooling)(dtype="float32")(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    return keras.Model(inputs, keras.layers.Dense(2, dtype="float32", name="logits")(x))


def trainer(augmenter: Augmenter = NONE, **options: Any) -> Trainer:
    """A trainer whose backbone is frozen."""
    keras.utils.set_random_seed(1)
    network = small_network(**options)
    network.get_layer("backbone").trainable = False
    made = Trainer(network, TASK, bce, augmenter.build(SIZE, augmenter.Options()), 3)
    made.compile(optimizer=keras.optimizers.Adam(0.05), jit_compile=False)
    return made


def cached(made: Trainer, info: Info = NONE.info, **options: Any) -> tuple[FeatureCache | None, list[str]]:
    options = {"views": 3, "epochs": 10, **options}
    with log_lines() as said:
        return cached_features(made, info, batches(), VALIDATION, **options), said


def trained(made: Trainer, feed: Any, epochs: int) -> list[float]:
    steps = batches().steps
    return list(made.fit(feed, epochs=epochs, steps_per_epoch=steps, shuffle=False, verbose=0).history["loss"])


@pytest.mark.parametrize("options", [{}, {"dropout": 0.5, "pooling": "GlobalMaxPooling2D"}])
def test_the_head_learns_the_same_as_from_the_images(options: dict[str, Any]) -> None:
    slow, fast = trainer(**options), trainer(**options)
    losses = trained(slow, training_feed(batches(), 0, 3 * batches().steps), 3)
    cache, _ = cached(fast)
    assert cache is not None
    before = np.array(fast.network.get_layer("logits").kernel)
    with cache.feeding(fast):
        found = trained(fast, cache.feed(0, 3 * batches().steps), 3)
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    for a, b in zip(slow.network.weights, fast.network.weights, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-4, atol=1e-5)
    assert not np.allclose(before, np.array(fast.network.get_layer("logits").kernel), atol=1e-2)
    expected = predict_logits(slow.network, batches().images, VALIDATION, 8)
    np.testing.assert_allclose(cache.validation_logits(), expected, rtol=1e-3, atol=1e-4)


def test_a_frozen_backbone_is_without_its_dropout_whether_its_features_are_kept_or_not() -> None:
    """Those of EfficientNet are dropped at random in training; and a plugin's layer may do anything there."""
    slow, fast = (trainer(inside=(keras.layers.Dropout(0.5), Shift())) for _ in range(2))
    with backbone_in_inference(slow.network) as backbones:
        losses = trained(slow, training_feed(batches(), 0, 3 * batches().steps), 3)
    assert backbones == 1
    cache, _ = cached(fast)
    assert cache is not None
    with cache.feeding(fast):
        np.testing.assert_allclose(trained(fast, cache.feed(0, 3 * batches().steps), 3), losses, rtol=1e-4)
    images = batches().images[:4, ..., None].astype(np.float32)
    plain, noisy = (np.array(slow.network(images, training=training)) for training in (False, True))
    assert not np.allclose(plain, noisy)  # once it learns again, it has its noise again


def test_features_are_the_pooled_output_of_the_backbone() -> None:
    made = trainer()
    cache, said = cached(made)
    assert cache is not None
    pixels = batches().images[TRAIN][..., None].astype(np.float32) / 127.5 - 1
    maps = made.network.get_layer("backbone").predict(pixels, verbose=0)
    np.testing.assert_allclose(cache.views[0], maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)
    assert cache.views.shape == (1, 20, 6)
    assert said[0].startswith("Frozen backbone: computed once for 26 images (one view each, ")


def test_batches_hold_the_images_and_labels_of_the_training_in_its_order() -> None:
    cache, _ = cached(trainer(Noise()), Noise.info)
    assert cache is not None
    for step in (0, 1, 2, 5):
        rows = batches().order(step // 2)[step % 2]
        features, labels = cache.batch(step)
        np.testing.assert_array_equal(labels, batches().labels[rows])
        views = cache.views[(step // 2) % 3]
        np.testing.assert_array_equal(features, views[np.searchsorted(TRAIN, rows)])


def test_augmented_views_differ_and_are_used_in_turn_and_repeat_with_the_seed() -> None:
    first, again = (cached(trainer(Noise()), Noise.info)[0] for _ in range(2))
    plain, _ = cached(trainer())
    assert first is not None
    assert again is not None
    assert plain is not None
    assert first.views.shape == (3, 20, 6)
    np.testing.assert_array_equal(first.views, again.views)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert not np.allclose(first.views[a], first.views[b], atol=1e-3)
    np.testing.assert_allclose(first.validation, plain.validation, rtol=1e-5, atol=1e-6)


def test_views_are_of_the_augmented_images() -> None:
    made = trainer()
    made.augment = lambda images, labels, seed: (255.0 - images, labels)
    cache, said = cached(made, AugmenterInfo(name="inverted", summary="", per_image=True), views=2)
    assert cache is not None
    pixels = (255 - batches().images[TRAIN][..., None]).astype(np.float32) / 127.5 - 1
    maps = made.network.get_layer("backbone").predict(pixels, verbose=0)
    np.testing.assert_allclose(cache.views, np.stack([maps.mean(axis=(1, 2))] * 2), rtol=1e-4, atol=1e-5)
    assert "2 views each" in said[0]


def test_an_augmentation_without_chance_is_applied_once_and_to_training_images_alone() -> None:
    made = trainer()
    plain, _ = cached(made)
    made.augment = lambda images, labels, seed: (255.0 - images, labels)
    cache, said = cached(made, AugmenterInfo(name="inverted", summary="", per_image=True, random=False))
    assert cache is not None
    assert plain is not None
    assert "one view each" in said[0]
    pixels = (255 - batches().images[TRAIN][..., None]).astype(np.float32) / 127.5 - 1
    maps = made.network.get_layer("backbone").predict(pixels, verbose=0)
    np.testing.assert_allclose(cache.views, maps.mean(axis=(1, 2))[None], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cache.validation, plain.validation, rtol=1e-5, atol=1e-6)


def test_the_flag_of_the_built_in_augmenters_is_true() -> None:
    """One image of the batch replaced: the others, and all labels, come out as before."""
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 1)).astype(np.float32)
    labels = np.array([[0, 1], [1, np.nan], [0, 0], [1, 1]], np.float32)
    for entry in registry().entries("augmenter"):
        augment = entry.strategy.build(SIZE, entry.strategy.Options())
        seen = []
        for last in (images[3], 255 - images[3]):
            images = np.concatenate([images[:3], last[None]])
            out = augment(ops.convert_to_tensor(images), ops.convert_to_tensor(labels), keras.random.SeedGenerator(1))
            seen.append([np.array(each) for each in out])
        alone = np.allclose(seen[0][0][:3], seen[1][0][:3], atol=1e-3) and np.array_equal(
            seen[0][1], labels, equal_nan=True
        )
        assert getattr(entry.strategy.info, "per_image", False) <= alone, entry.name


@pytest.mark.parametrize(
    ("info", "options", "told"),
    [
        (registry().get("augmenter", "mixup").info, {}, "augmentation mixup reaches beyond single images"),
        (Info(name="foreign", summary=""), {}, "augmentation foreign reaches beyond single images"),
        (NONE.info, {"views": 0}, ""),
        (NONE.info, {"epochs": 1}, ""),
        (Noise.info, {"epochs": 3}, ""),
    ],
)
def test_where_nothing_is_kept(info: Info, options: dict[str, Any], told: str) -> None:
    cache, said = cached(trainer(), info, **options)
    assert cache is None
    assert told in " ".join(said)


def test_features_beyond_the_limit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "LIMIT", 4 * 6 * 65)
    cache, said = cached(trainer(Noise()), Noise.info)
    assert cache is None
    assert "of memory" in said[0]
    assert cached(trainer(Noise()), Noise.info, views=2)[0] is not None


def test_an_interruption_ends_the_work() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(trainer(), after_batch=interrupt)


def graph(kind: str) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    inner = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(4, 3, padding="same")(inner)
    backbone = keras.Model(inner, maps, name="backbone" if kind != "nameless" else "trunk")
    x = inputs
    if kind == "random":
        x = keras.layers.Dropout(0.5)(x)
    if kind == "foreign":
        x = Shift()(x)
    if kind == "learns":
        x = keras.layers.Dense(1)(x)
    if kind == "normalises":
        x = keras.layers.BatchNormalization(scale=False, center=False)(x)
    x = backbone(x)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    if kind == "branches":
        pooled = keras.layers.Concatenate()([pooled, keras.layers.GlobalMaxPooling2D()(x)])
    if kind == "side":
        pooled = keras.layers.Concatenate()([pooled, keras.layers.Flatten()(inputs)])
    if kind == "wide":
        pooled = keras.layers.Flatten()(keras.layers.Conv2D(3, 1)(x))
    return keras.Model(inputs, keras.layers.Dense(2)(pooled))


class Shift(keras.layers.Layer):
    """A stranger's layer that does something else in training."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return inputs + 1.0 if training else inputs


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("random", "random in training"),
        ("foreign", "something else in training"),
        ("learns", "something learns before"),
        ("normalises", "batch normalisation learns before"),
        ("side", "sees more than the backbone"),
        ("nameless", "does not have one output"),
    ],
)
def test_networks_whose_frozen_part_cannot_be_kept(kind: str, why: str) -> None:
    network = graph(kind)
    if kind != "nameless":
        network.get_layer("backbone").trainable = False
    with pytest.raises(NotSeparable, match=why):
        split_network(network)


def test_a_network_that_is_no_graph() -> None:
    class Own(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(NotSeparable, match="not a graph"):
        split_network(Own())


@pytest.mark.parametrize(("kind", "shape"), [("plain", (4,)), ("branches", (8, 8, 4)), ("wide", (8, 8, 4))])
def test_a_network_is_cut_where_the_features_are_smallest(kind: str, shape: tuple[int, ...]) -> None:
    network = graph(kind)
    network.get_layer("backbone").trainable = False
    config, images = network.get_config(), np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype(np.float32)
    parts = split_network(network)
    assert parts.trunk.output_shape[1:] == shape
    np.testing.assert_allclose(
        np.array(parts.head(parts.trunk(images))), np.array(network(images)), rtol=1e-5, atol=1e-6
    )
    assert network.get_config() == config  # what is saved does not change
    assert {id(v) for v in parts.head.trainable_variables} == {id(v) for v in network.trainable_variables}


@pytest.fixture
def half_precision() -> Iterator[None]:
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def test_features_of_a_half_precision_backbone_are_float32(half_precision: None) -> None:
    made = trainer()
    cache, _ = cached(made)
    assert cache is not None
    assert cache.views.dtype == np.float32
    expected = predict_logits(made.network, batches().images, VALIDATION, 8)
    np.testing.assert_allclose(cache.validation_logits(), expected, rtol=0.02, atol=0.02)


def test_training_goes_on_from_images_afterwards() -> None:
    made = trainer()
    cache, _ = cached(made)
    assert cache is not None
    with cache.feeding(made):
        trained(made, cache.feed(0, 4), 2)
    made.network.get_layer("backbone").trainable = True
    made.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    before = np.array(made.network.get_layer("backbone").trainable_variables[0])
    trained(made, training_feed(batches(), 4, 8), 2)
    assert not np.array_equal(before, np.array(made.network.get_layer("backbone").trainable_variables[0]))


ON_JAX = """
    import keras, numpy as np
    from zoo.core.contracts import AugmenterInfo
    from zoo.data.batches import TrainingBatches
    from zoo.engine.features import cached_features
    from zoo.engine.feed import training_feed
    from zoo.engine.predict import predict_logits
    from zoo.engine.training import Trainer
    from zoo.core.registry import registry
    from zoo.core.tasks import Task
    task = Task("binary", ("a",))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 8, 8)).astype(np.uint8)
    batches = TrainingBatches(images, rng.integers(0, 2, (20, 1)).astype(np.float32), np.arange(16), 8, 0)
    def noise(images, labels, seed):
        return images + 60 * keras.random.normal(keras.ops.shape(images), seed=seed), labels
    def make(augment, info):
        keras.utils.set_random_seed(0)
        inputs, inner = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inner))
        x = keras.layers.GlobalMaxPooling2D()(keras.Model(inner, x, name="backbone")(inputs))
        network = keras.Model(inputs, keras.layers.Dense(1)(x))
        network.get_layer("backbone").trainable = False
        trainer = Trainer(network, task, lambda y, z: keras.ops.binary_crossentropy(y, z, from_logits=True), augment, 0)
        trainer.compile(optimizer=keras.optimizers.Adam(0.05))
        caching = dict(views=2, epochs=9)
        return trainer, cached_features(trainer, info, batches, np.arange(16, 20), **caching)
    none = registry().get("augmenter", "none")
    as_they_are = none.build(8, none.Options()), none.info
    random = noise, AugmenterInfo(name="noise", summary="", per_image=True)
    (slow, _), (fast, cache), (_, varied) = make(*as_they_are), make(*as_they_are), make(*random)
    keywords = dict(epochs=3, steps_per_epoch=2, shuffle=False, verbose=0)
    slow.fit(training_feed(batches, 0, 6), **keywords)
    with cache.feeding(fast):
        fast.fit(cache.feed(0, 6), **keywords)
    same = all(np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(slow.network.get_weights(), fast.network.get_weights()))
    logits = predict_logits(slow.network, images, np.arange(16, 20), 8)
    print(keras.backend.backend(), same, np.allclose(cache.validation_logits(), logits, atol=1e-4),
          np.allclose(varied.views[0], varied.views[1], atol=1e-3))
"""


@pytest.mark.slow
def test_on_jax_too(run_python: Callable[..., Any]) -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed (the extra 'jax')")
    done = run_python("-c", textwrap.dedent(ON_JAX), KERAS_BACKEND="jax")
    assert done.stdout.split() == ["jax", "True", "True", "False"], done.stderr


def test_an_augmenter_s_record_is_safe_by_default() -> None:
    info = AugmenterInfo(name="x", summary="")
    assert (info.per_image, info.random) == (False, True)
