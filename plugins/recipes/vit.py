"""A Vision Transformer fine-tuned with a lower rate for each earlier block."""

from __future__ import annotations

from zoo import Info, Recipe, hookimpl


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [
        Recipe(
            info=Info(
                name="vit-layer-decay",
                summary="vit-small from --weights: AdamW, lower rates for earlier blocks, drop-path",
                tasks=("binary", "multilabel"),
                paper="Bao et al. 2022, BEiT, arXiv:2106.08254 (layer-wise rates); Touvron et al. 2021, DeiT, arXiv:2012.12877",
            ),
            config={
                "model": {"name": "vit-small", "drop_path": 0.1},
                "augment": {"name": "standard"},
                "optimizer": {"name": "adamw", "lr": 5e-4, "weight_decay": 0.05, "layer_decay": 0.65, "clipnorm": 1.0},
                "schedule": {"name": "cosine", "warmup": 0.1},
                "epochs": 20,
            },
        )
    ]
