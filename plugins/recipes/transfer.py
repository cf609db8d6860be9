"""Transfer learning: the head first on a frozen base, then everything but the batch normalisation."""

from __future__ import annotations

from typing import Any

from zoo import Info, Recipe, hookimpl

PAPER = "Keras guide to transfer learning: pretrained batch normalisation stays in inference mode"
SCHEDULE: dict[str, Any] = {
    # the ImageNet statistics of early layers do not survive noise on smooth images
    "augment": {"name": "standard", "noise": 0.0},
    "optimizer": {"name": "adam", "lr": 2e-4},
    "schedule": {"name": "cosine"},
    "freeze": True,
    "freeze_norm": True,
}


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [
        Recipe(
            info=Info(
                name="efficientnet-lite0-transfer",
                summary="fine-tune efficientnet-lite0 from --weights: head first, then all but batch normalisation",
                tasks=("binary", "multilabel"),
                paper=PAPER,
            ),
            config={**SCHEDULE, "model": {"name": "efficientnet-lite0"}, "freeze_epochs": 1, "epochs": 4},
        ),
        Recipe(
            info=Info(
                name="densenet121-transfer",
                summary="densenet121 from imagenet: average pooling, dense head on a frozen base, then fine-tuning",
                tasks=("binary", "multilabel", "multiclass"),
                paper=PAPER,
            ),
            config={
                **SCHEDULE,
                "model": {"name": "densenet121", "hidden": 256, "dropout": 0.3},
                "freeze_epochs": 3,
                "epochs": 5,
            },
        ),
    ]
