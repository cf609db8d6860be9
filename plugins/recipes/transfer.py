"""Transfer learning on a few thousand films: head first, then everything but the batch normalisation."""

from __future__ import annotations

from zoo.contracts import Info, Recipe
from zoo.hookspecs import hookimpl


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [
        Recipe(
            info=Info(
                name="efficientnet-lite0-transfer",
                summary="fine-tune efficientnet-lite0 from --weights: head first, then all but batch normalisation",
                tasks=("binary", "multilabel"),
                paper="Keras guide to transfer learning: pretrained batch normalisation stays in inference mode",
            ),
            config={
                "model": {"name": "efficientnet-lite0"},
                # the ImageNet statistics of early layers do not survive noise on smooth films
                "augment": {"name": "standard", "noise": 0.0},
                "optimizer": {"name": "adam", "lr": 2e-4},
                "schedule": {"name": "cosine"},
                "freeze": True,
                "freeze_epochs": 1,
                "freeze_norm": True,
                "epochs": 4,
            },
        )
    ]
