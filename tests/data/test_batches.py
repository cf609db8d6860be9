"""Batches: every image once per epoch, an order that follows from seed and epoch alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.batches import TrainingBatches, inference_batches
from zoo.engine.feed import training_feed


def batches(rows: int = 50, batch_size: int = 8, seed: int = 0) -> TrainingBatches:
    images = np.arange(rows * 2, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8)
    labels = np.arange(rows * 2, dtype=np.float32)[:, None]
    return TrainingBatches(images, labels, np.arange(rows) * 2, batch_size, seed)


@given(rows=st.integers(1, 60), batch_size=st.integers(1, 20), epoch=st.integers(0, 5))
def test_an_epoch_shows_full_batches_without_repeating_an_image(rows: int, batch_size: int, epoch: int) -> None:
    b = batches(rows, batch_size)
    order = b.order(epoch)
    assert order.shape == (rows // batch_size, batch_size)
    assert len(np.unique(order)) == order.size
    assert set(order.ravel()) <= set(b.rows)


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    assert (batches().order(3) == batches().order(3)).all()
    assert (batches().order(3) != batches().order(4)).any()
    assert (batches().order(3) != batches(seed=1).order(3)).any()


def test_the_images_left_out_are_others_each_epoch() -> None:
    b = batches(rows=10, batch_size=4)
    left_out = {frozenset(set(b.rows) - set(b.order(e).ravel())) for e in range(6)}
    assert len(left_out) > 1


def test_images_and_labels_stay_together() -> None:
    b = batches()
    images, labels = b.gather(np.array([6, 0, 98]))
    assert images.shape == (3, 4, 4, 1)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images[:, 0, 0, 0], labels[:, 0])


def test_any_step_can_be_asked_for_in_any_order() -> None:
    b = batches()
    for step in (3 * b.steps, 0, 2 * b.steps + 1):
        expected = b.gather(b.order(step // b.steps)[step % b.steps])
        for found, wanted in zip(b.batch(step), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_the_feed_brings_exactly_the_steps_of_its_epochs_in_order() -> None:
    b = batches()
    fed = [np.asarray(batch["label"]) for (batch,) in training_feed(b, b.steps, 3 * b.steps)]
    assert len(fed) == 2 * b.steps
    for step, labels in enumerate(fed, b.steps):
        np.testing.assert_array_equal(labels, b.batch(step)[1])


@given(rows=st.integers(1, 40), batch_size=st.integers(1, 16))
def test_inference_keeps_the_order_and_fills_the_last_batch(rows: int, batch_size: int) -> None:
    index = inference_batches(np.arange(rows) + 100, batch_size)
    assert index.shape[1] == batch_size
    np.testing.assert_array_equal(index.ravel()[:rows], np.arange(rows) + 100)
    assert (index.ravel()[rows:] == 99 + rows).all()
