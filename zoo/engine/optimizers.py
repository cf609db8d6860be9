"""Optimizers and learning-rate schedules: their options here, Keras only when one is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le, Lt

from zoo.contracts import NoOptions, option

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class OptimizerOptions:
    """Options of every optimizer."""

    lr: Annotated[float, Gt(0)] | None = option(
        None, "learning rate; none: 2e-4 on loaded weights, else 1e-3 (sgd: ×10)"
    )
    weight_decay: Annotated[float, Ge(0)] | None = option(None, "decoupled weight decay; none: 0, adamw: 0.004")
    clipnorm: Annotated[float, Gt(0)] | None = option(None, "largest norm of all gradients together; none: unlimited")


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


def build_optimizer(
    name: str, options: Any, schedule: str, schedule_options: Any, steps: int, precision: str, scale: float = 1.0
) -> keras.optimizers.Optimizer:
    """Build the optimizer with its schedule over `steps` steps, the rate times `scale`.

    Under mixed_float16 it also scales the loss, so that small gradients do not vanish.
    """
    import keras

    highest = options.lr * scale
    rate: Any = highest
    if schedule == "cosine":
        warmup = round(schedule_options.warmup * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else highest,
            decay_steps=max(steps - warmup, 1),
            alpha=schedule_options.final,
            warmup_target=highest if warmup else None,
            warmup_steps=warmup,
        )
    arguments: dict[str, Any] = {"learning_rate": rate, "global_clipnorm": options.clipnorm}
    if options.weight_decay is not None:
        arguments["weight_decay"] = options.weight_decay
    if isinstance(options, SgdOptions):
        arguments |= {"momentum": options.momentum, "nesterov": options.nesterov and options.momentum > 0}
    classes = {"adam": "Adam", "adamax": "Adamax", "adamw": "AdamW", "sgd": "SGD"}
    optimizer = getattr(keras.optimizers, classes[name])(**arguments)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
