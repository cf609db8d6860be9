"""PneumoniaMNIST from scratch: 28×28 paediatric images, normal or pneumonia."""

from __future__ import annotations

from zoo import Info, Recipe, hookimpl


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [
        Recipe(
            info=Info(
                name="pneumoniamnist",
                summary="tiny-cnn from scratch on the 28×28 images of PneumoniaMNIST, minutes on CPU",
                tasks=("binary",),
                paper="Yang et al., MedMNIST v2, Scientific Data 2023",
            ),
            config={
                "task": "binary",
                "data": {"name": "medmnist"},
                "model": {"name": "tiny-cnn"},
                "loss": {"name": "bce"},
                "augment": {"name": "standard"},
                "optimizer": {"name": "adamw", "lr": 3e-3},
                "schedule": {"name": "cosine"},
                "image_size": 28,
                "epochs": 10,
                "batch_size": 64,
                "drop_leaks": True,  # the published training images hold eight of the validation images
            },
        )
    ]
