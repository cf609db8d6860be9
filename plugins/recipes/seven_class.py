"""One of seven classes: images of NIH ChestX-ray14 with exactly one of six findings, or with none."""

from __future__ import annotations

from typing import Any

from zoo import Info, Recipe, hookimpl

CLASSES = ("Atelectasis", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax", "No Finding")
FINE_TUNED: dict[str, Any] = {
    "weights": "imagenet",
    "augment": {"name": "standard"},
    "optimizer": {"name": "adam", "lr": 1e-4},
}
# what is trained -> (summary, configuration on top of what all share)
SET_UPS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": (
        "dense layers on the pixels, a baseline for every network",
        {"model": {"name": "dense-baseline"}, "image_size": 64, "augment": {"name": "none"}},
    ),
    "cnn": (
        "a small convolutional network with average pooling and dropout",
        {"model": {"name": "cnn-baseline"}, "image_size": 128, "augment": {"name": "standard"}},
    ),
    "features": (
        "a new head on the frozen features of efficientnetb6",
        {
            "model": {"name": "efficientnetb6", "dropout": 0.3},
            "weights": "imagenet",
            "augment": {"name": "none"},
            "optimizer": {"name": "adam", "lr": 1e-4},
            "freeze": True,
            "freeze_epochs": 20,
            "epochs": 0,
        },
    ),
    "efficientnetb6": ("efficientnetb6, all layers trainable", {"model": {"name": "efficientnetb6"}, **FINE_TUNED}),
    "efficientnetb7": ("efficientnetb7, all layers trainable", {"model": {"name": "efficientnetb7"}, **FINE_TUNED}),
}


def _recipe(name: str) -> Recipe:
    summary, config = SET_UPS[name]
    return Recipe(
        info=Info(name=f"seven-class-{name}", summary=f"seven classes: {summary}", tasks=("multiclass",)),
        config={
            "task": "multiclass",
            "data": {"name": "nih"},
            "findings": list(CLASSES),
            "loss": {"name": "cce"},
            "epochs": 10,
            **config,
        },
    )


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [_recipe(name) for name in SET_UPS]
