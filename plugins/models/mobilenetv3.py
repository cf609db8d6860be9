"""MobileNetV3 (Howard et al. 2019): the small default that trains on a laptop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Gt

from zoo import SYMMETRIC, BackboneModel, BackboneOptions, Model, ModelInfo, UsageError, hookimpl, option

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class MobileNetV3Options(BackboneOptions):
    """Options of `mobilenetv3`."""

    size: Literal["small", "large"] = option("small", "which of the two published networks")
    alpha: Annotated[float, Gt(0)] = option(1.0, "width: number of filters as a multiple of the published network's")
    minimalistic: bool = option(False, "no squeeze-excite, hard-swish or 5×5 filters, for accelerators that lack them")


class MobileNetV3(BackboneModel):
    """`keras.applications` MobileNetV3Small or MobileNetV3Large on pixels scaled to [-1, 1]."""

    Options = MobileNetV3Options
    scaling = SYMMETRIC
    info = ModelInfo(
        name="mobilenetv3",
        summary="MobileNetV3 small or large: fast, for CPU and first experiments",
        licence="Apache-2.0",
        paper="Howard et al. 2019, Searching for MobileNetV3, arXiv:1905.02244",
        parameters=939_697,
        min_image_size=32,
        pretrained=("imagenet",),
    )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        from zoo.nn.backbone import application

        published = (1.0,) if options.minimalistic else (0.75, 1.0)
        if weights == "imagenet" and options.alpha not in published:
            kind = "minimalistic " if options.minimalistic else ""
            raise UsageError(
                f"mobilenetv3 has no published imagenet weights for alpha {options.alpha:g}: the {kind}network has "
                f"them for alpha {' and '.join(f'{a:g}' for a in published)}. Set model.alpha to one of these or use "
                "--weights none."
            )
        name, shape = f"MobileNetV3{options.size.capitalize()}", (image_size, image_size, self.channels)
        return application(name, shape, weights, alpha=float(options.alpha), minimalistic=options.minimalistic)


@hookimpl
def zoo_models() -> list[Model]:
    return [MobileNetV3()]
