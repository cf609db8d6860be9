"""Normal or abnormal: the settings shared by all rows of the published table of twelve models."""

from __future__ import annotations

from zoo import Info, Recipe, hookimpl


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [
        Recipe(
            info=Info(
                name="binary-table",
                summary="normal or abnormal at threshold 0.3, adamax: the base of a sweep over networks (docs/recipes.md)",
                tasks=("binary",),
            ),
            config={
                "task": "binary",
                "model": {"name": "resnet50"},
                "loss": {"name": "bce"},
                "augment": {"name": "standard"},
                "optimizer": {"name": "adamax"},
                "monitor": "val_accuracy",
                "threshold": {"rule": "fixed", "value": 0.3},
            },
        )
    ]
