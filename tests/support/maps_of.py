"""Small networks and images to make heat maps of."""

from __future__ import annotations

import keras
import numpy as np

from zoo.core.registry import registry
from zoo.core.tasks import Task

TASK = Task("multilabel", ("Mass", "Nodule", "Effusion"))


def build(name: str, size: int | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = registry().get("model", name)
    options = model.Options(width=8, depth=1) if name == "tiny-cnn" else model.Options()
    return model.build(TASK, size or max(64, model.info.min_image_size), None, options)


def make_images(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)
