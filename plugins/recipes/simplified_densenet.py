"""The simplified DenseNet of chest X-ray notebooks, in its two published versions."""

from __future__ import annotations

from typing import Any

from zoo import Info, Recipe, hookimpl

SMOOTHING = 0.01
# version -> (what is different, loss)
VERSIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "v1": ("cross-entropy", {"name": "bce", "label_smoothing": SMOOTHING}),
    "v2": ("focal loss", {"name": "binary-focal", "gamma": 2.0, "alpha": 0.25, "label_smoothing": SMOOTHING}),
}


def _recipe(version: str) -> Recipe:
    what, loss = VERSIONS[version]
    return Recipe(
        info=Info(
            name=f"simplified-densenet-{version}",
            summary=f"63 layers without bottleneck from scratch, {what}, learning rate halved when validation F1 stops improving",
            tasks=("binary", "multilabel"),
        ),
        config={
            "model": {"name": "simplified-densenet"},
            "weights": "none",
            "loss": loss,
            # brightness, contrast, shift and Gaussian noise; nothing is turned or resized
            "augment": {"name": "standard", "rotation": 0.0, "zoom": 0.0},
            "optimizer": {"name": "adam", "lr": 1e-4},
            "schedule": {"name": "plateau", "factor": 0.5, "patience": 3, "min_lr": 1e-6},
            "monitor": "val_f1",
            "batch_size": 32,
            "epochs": 20,
        },
    )


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [_recipe(version) for version in VERSIONS]
