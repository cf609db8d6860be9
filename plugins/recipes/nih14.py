"""The fourteen findings of NIH ChestX-ray14 with a custom head: AdamW, cosine decay, clipped gradients, early stopping."""

from __future__ import annotations

from zoo import Info, Recipe, hookimpl

NETWORKS = ("densenet121", "resnet50v2")


def _recipe(model: str) -> Recipe:
    return Recipe(
        info=Info(
            name=f"{model}-nih14",
            summary=f"14 findings with {model} and a dense head; --loss focal for the other published loss",
            tasks=("multilabel",),
            paper="Wang et al. 2017, ChestX-ray8; Rajpurkar et al. 2017, CheXNet, arXiv:1711.05225 (densenet121)",
        ),
        config={
            "task": "multilabel",
            "data": {"name": "nih"},
            "model": {"name": model, "hidden": 512, "dropout": 0.3},
            "loss": {"name": "weighted-bce"},
            "augment": {"name": "standard"},
            "optimizer": {"name": "adamw", "clipnorm": 1.0},
            "schedule": {"name": "cosine", "final": 1e-3},
            "patience": 5,
            "epochs": 20,
        },
    )


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [_recipe(model) for model in NETWORKS]
