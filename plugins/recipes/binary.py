"""Normal or abnormal: a recipe for each of several networks."""

from __future__ import annotations

from zoo import Info, Recipe, hookimpl

NETWORKS = {
    "mobilenetv3": "small and fast, a good start",
    "inceptionresnetv2": "large, slow on CPU",
    "densenet121": "the network most often published on chest X-rays",
}


def _recipe(model: str, remark: str) -> Recipe:
    return Recipe(
        info=Info(
            name=f"{model}-binary",
            summary=f"normal or abnormal with {model}: {remark}",
            tasks=("binary",),
        ),
        config={
            "task": "binary",
            "model": {"name": model},
            "loss": {"name": "weighted-bce"},
            "augment": {"name": "standard"},
            "optimizer": {"name": "adam"},
            "schedule": {"name": "cosine"},
            "threshold": {"rule": "youden"},
        },
    )


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [_recipe(model, remark) for model, remark in NETWORKS.items()]
