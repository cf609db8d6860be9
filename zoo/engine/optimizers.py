"""Builds the optimizer with its learning-rate schedule; Keras is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.config.optimizers import SgdOptions
from zoo.core.errors import UsageError
from zoo.engine.averaging import Averaging
from zoo.engine.layer_rates import LayerRates, ShareOf

if TYPE_CHECKING:
    import keras

CLASSES = {"adam": "Adam", "adamax": "Adamax", "adamw": "AdamW", "sgd": "SGD"}


def build_optimizer(
    name: str,
    options: Any,
    schedule: str,
    schedule_options: Any,
    steps: int,
    precision: str,
    scale: float = 1.0,
    share_of: ShareOf | None = None,
) -> keras.optimizers.Optimizer:
    """Build the optimizer with its schedule over `steps` batches, the rate times `scale`.

    `share_of` gives the share of the rate at which each variable trains, see `zoo.engine.layer_rates`.

    With `accumulate` of k every k batches make one update, by the mean of their gradients: clipping, weight decay, moments,
    the schedule and averaged weights count updates, as those of k times larger batches do. Batches are counted across
    epochs; at most k - 1 at the end of the `steps` make no update. With unknown labels the mean of the batches' means is not
    quite the mean over all known labels.

    Under mixed_float16 the loss is scaled too, so that small gradients do not vanish; a batch with an infinite gradient is
    left out.

    Raises:
        UsageError: `accumulate` is larger than `steps`: there would be no update.
    """
    import keras

    updates = steps // options.accumulate
    if not updates:
        raise UsageError(
            f"optimizer.accumulate {options.accumulate} is larger than the {steps:,} batches to train on, so the weights would "
            f"never change. Use {steps:,} or less, or a smaller --batch-size."
        )
    arguments = {"learning_rate": _rate(options, schedule, schedule_options, updates, scale), **_arguments(options)}
    made: type = getattr(keras.optimizers, CLASSES[name])
    if options.ema:
        made = type(f"Averaged{made.__name__}", (Averaging, made), {})
    if share_of is not None:
        made = type(f"Layerwise{made.__name__}", (LayerRates, made), {})
        arguments["share_of"] = share_of
    optimizer = made(**arguments)
    if precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _arguments(options: Any) -> dict[str, Any]:
    """The arguments of Keras' optimizer that the options give, without the learning rate."""
    arguments: dict[str, Any] = {"global_clipnorm": options.clipnorm}
    if options.weight_decay is not None:
        arguments["weight_decay"] = options.weight_decay
    if isinstance(options, SgdOptions):
        arguments |= {"momentum": options.momentum, "nesterov": options.nesterov and options.momentum > 0}
    if options.accumulate > 1:
        arguments["gradient_accumulation_steps"] = options.accumulate
    if options.ema:
        arguments |= {"use_ema": True, "ema_momentum": options.ema}
    return arguments


def _rate(options: Any, schedule: str, schedule_options: Any, updates: int, scale: float) -> Any:
    """The learning rate, a number or a schedule over `updates` updates."""
    import keras

    highest = options.lr * scale
    if schedule != "cosine":
        return highest
    warmup = round(schedule_options.warmup * updates)
    cosine = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else highest,
        decay_steps=max(updates - warmup, 1),
        alpha=schedule_options.final,
        warmup_target=highest if warmup else None,
        warmup_steps=warmup,
    )
    return cosine if options.accumulate == 1 else _counting_updates(cosine, options.accumulate)


def _counting_updates(schedule: Any, every: int) -> Any:
    """A schedule over updates for Keras, which counts batches."""
    import keras

    class CountingUpdates(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step: Any) -> Any:
            return schedule(keras.ops.floor_divide(step, every))

        def get_config(self) -> dict[str, Any]:
            return {"schedule": schedule.get_config(), "every": every}

    return CountingUpdates()
