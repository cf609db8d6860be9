"""The options of optimizers and learning-rate schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from zoo.core.contracts import NoOptions, option


@dataclass(frozen=True)
class OptimizerOptions:
    """Options of every optimizer."""

    lr: Annotated[float, Gt(0)] | None = option(
        None, "learning rate; none: 2e-4 on loaded weights, else 1e-3 (sgd: ×10)"
    )
    weight_decay: Annotated[float, Ge(0)] | None = option(None, "decoupled weight decay; none: 0, adamw: 0.004")
    clipnorm: Annotated[float, Gt(0)] | None = option(None, "largest norm of all gradients together; none: unlimited")
    accumulate: Annotated[int, Ge(1)] = option(1, "batches whose mean gradient makes one update")
    ema: Annotated[float, Ge(0), Lt(1)] = option(
        0.0, "momentum of averaged weights, used in validation and in the end, such as 0.999; 0: off"
    )
    layer_decay: Annotated[float, Gt(0), Le(1)] | None = option(
        None,
        "each block below the head trains at this share of the rate of the one above, such as 0.75; none: all alike",
    )


@dataclass(frozen=True)
class SgdOptions(OptimizerOptions):
    """Options of stochastic gradient descent."""

    momentum: Annotated[float, Ge(0), Lt(1)] = option(0.9, "momentum")
    nesterov: bool = option(True, "Nesterov momentum")


@dataclass(frozen=True)
class CosineOptions:
    """Options of cosine decay with linear warm-up (Loshchilov and Hutter, ICLR 2017)."""

    warmup: Annotated[float, Ge(0), Lt(1)] = option(0.05, "share of all steps in which the rate rises from 0")
    final: Annotated[float, Ge(0), Le(1)] = option(0.0, "last rate as a share of the highest")


@dataclass(frozen=True)
class PlateauOptions:
    """Options of reduction on a plateau of the monitored metric."""

    factor: Annotated[float, Gt(0), Lt(1)] = option(0.5, "the rate is multiplied by this")
    patience: Annotated[int, Ge(0)] = option(3, "epochs without a better value before a reduction")
    min_lr: Annotated[float, Ge(0)] = option(1e-6, "the rate never falls below this")


OPTIMIZERS: dict[str, type] = {
    "adam": OptimizerOptions,
    "adamax": OptimizerOptions,
    "adamw": OptimizerOptions,
    "sgd": SgdOptions,
}
SCHEDULES: dict[str, type] = {"constant": NoOptions, "cosine": CosineOptions, "plateau": PlateauOptions}


def default_lr(optimizer: str, pretrained: bool) -> float:
    """The learning rate where the user names none: smaller on loaded weights, larger for SGD, as is usual for each."""
    return (2e-4 if pretrained else 1e-3) * (10 if optimizer == "sgd" else 1)
