"""Conformance checks of augmenters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo.core.contracts import Augmenter
from zoo.testing.suite import EXAMPLE_TASKS, Checks, Result, carried_out, check_info, demand, numpy

if TYPE_CHECKING:
    import numpy as np

SIZE = 32


def check_augmenter(augmenter: Augmenter) -> None:
    """Check an augmenter: shapes, range, dtype, unknown labels, reproducibility, compiled use, and no part in inference.

    Raises:
        AssertionError: the augmenter fails a check; the message says which and why.
    """
    demand(augmenter_results(augmenter))


def augmenter_results(augmenter: Augmenter) -> Iterator[Result]:
    """The result of every check, one by one."""
    return carried_out(augmenter, _Subject(augmenter).checks())


class _Subject:
    """One augmenter on a batch of eight noisy images, some of whose labels are unknown."""

    def __init__(self, augmenter: Augmenter) -> None:
        import numpy as np

        self.augmenter, self.name = augmenter, augmenter.info.name
        self.effect = augmenter.effect(augmenter.Options())
        generator = np.random.default_rng(0)
        self.images = generator.integers(0, 256, (8, SIZE, SIZE, 1)).astype("float32")
        self.labels = generator.integers(0, 2, (8, 3)).astype("float32")
        self.labels[1, 0] = self.labels[4, 2] = np.nan

    def checks(self) -> Checks:
        return {
            "info": lambda: check_info(self.augmenter),
            "range": lambda: _check_batch(self.name, self.run(7), self.images, self.labels),
            "seed": self.seed,
            "single image": self.single_image,
            "image by image": self.image_by_image,
            "compiled": self.compiled,
            "inference": self.inference,
        }

    @cached_property
    def augment(self) -> Any:
        return self.augmenter.build(SIZE, self.augmenter.Options())

    def run(self, seed: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
        import keras

        changed = self.augment(
            keras.ops.convert_to_tensor(self.images[:count]),
            keras.ops.convert_to_tensor(self.labels[:count]),
            keras.random.SeedGenerator(seed),
        )
        return numpy(changed[0]), numpy(changed[1])

    def seed(self) -> None:
        import numpy as np

        for one, other, what in zip(self.run(7), self.run(7), ("images", "labels"), strict=True):
            same = np.array_equal(one, other, equal_nan=True)
            assert same, f"{self.name}: the same seed gives other {what}; every draw must pass the `seed` it is given"
        if getattr(self.effect, "random", True):
            return
        again = self.run(8)
        same = all(np.array_equal(one, other, equal_nan=True) for one, other in zip(self.run(7), again, strict=True))
        assert same, f"{self.name}: info.random is false, but another seed gives another batch"

    def single_image(self) -> None:
        _check_batch(f"{self.name} (a batch of one)", self.run(7, 1), self.images[:1], self.labels[:1])

    def image_by_image(self) -> None:
        """What `info.per_image` promises: no image changes with its neighbours, and no label at all."""
        import numpy as np

        if not getattr(self.effect, "per_image", False):
            return
        before = self.run(7)[0]
        self.images[-1] = 255 - self.images[-1]
        pixels, kept = self.run(7)
        self.images[-1] = 255 - self.images[-1]
        alone = np.allclose(before[:-1], pixels[:-1], atol=0.5) and np.array_equal(kept, self.labels, equal_nan=True)
        assert alone, (
            f"{self.name}: info.per_image is true, but images or labels depend on the other images of the batch"
        )

    def compiled(self) -> None:
        """Once as a graph with batches of unknown size, once under XLA, which training on a GPU uses."""
        import keras

        augment = self.augment

        class Wrapper(keras.Model):
            def __init__(self) -> None:
                super().__init__()
                self.augment, self.seed = augment, keras.random.SeedGenerator(7)

            def call(self, inputs: Any) -> Any:
                return self.augment(*inputs, self.seed)

        modes = {"compiled": False, "compiled with XLA": True}
        if not getattr(augment, "supports_jit", True):  # a Keras layer may say so of itself
            del modes["compiled with XLA"]
        for mode, jit in modes.items():
            wrapper = Wrapper()
            wrapper.compile(jit_compile=jit)
            try:
                batch = wrapper.predict((self.images, self.labels), batch_size=8 if jit else 5, verbose=0)
            except Exception as error:
                message = f"{self.name}: fails {mode}: {type(error).__name__}: {str(error)[:500]}"
                raise AssertionError(message) from error
            _check_batch(f"{self.name} ({mode})", tuple(batch), self.images, self.labels)

    def inference(self) -> None:
        """In the engine's own training class: validation and test images go to the network as they are."""
        import keras
        import numpy as np

        from zoo.engine.training import Trainer

        pixels = keras.Input((SIZE, SIZE, 1))
        network = keras.Model(pixels, keras.layers.Flatten()(pixels))
        trainer = Trainer(network, EXAMPLE_TASKS["multilabel"], lambda labels, logits: logits, self.augment, 7)
        seen = trainer({"image": self.images, "label": self.labels}, training=False)
        kept = np.array_equal(numpy(seen["logits"]).reshape(self.images.shape), self.images)
        assert kept, f"{self.name}: images change outside training"
        kept = np.array_equal(numpy(seen["labels"]), self.labels, equal_nan=True)
        assert kept, f"{self.name}: labels change outside training"


def _check_batch(where: str, got: tuple[np.ndarray, ...], images: np.ndarray, labels: np.ndarray) -> None:
    import numpy as np

    for value, given, what in zip(got, (images, labels), ("images", "labels"), strict=True):
        assert value.shape == given.shape, f"{where}: {what} of shape {given.shape} come back as {value.shape}"
        assert value.dtype == np.float32, f"{where}: {what} come back as {value.dtype}, not float32"
    low, high = float(got[0].min()), float(got[0].max())  # NaN fails the comparison too
    assert 0 <= low <= high <= 255, f"{where}: pixels leave [0, 255]: {low:g} to {high:g}"
    assert np.isnan(got[1][np.isnan(labels)]).all(), f"{where}: an unknown label (NaN) came back as known"
    known = got[1][~np.isnan(got[1])]
    assert ((known >= 0) & (known <= 1)).all(), f"{where}: labels leave [0, 1]"


__all__ = ["augmenter_results", "check_augmenter"]
