"""The plain settings of a run, each with its type, default and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from zoo.config.devices import parts_of_cpu
from zoo.core.contracts import option
from zoo.core.tasks import TaskKind
from zoo.core.thresholds import ThresholdRule

MONITORS = {
    "val_auroc": "max",
    "val_auprc": "max",
    "val_loss": "min",
    "val_f1": "max",
    "val_accuracy": "max",
    "val_recall": "max",
    "val_precision": "max",
}
HALF_A_CLASS = (
    "classes exclude each other, so a multiclass label cannot be one half: use --uncertain ignore, zero or one."
)


@dataclass(frozen=True)
class Settings:
    """The plain settings of a run, each with its default."""

    task: TaskKind = option("binary", "binary, multilabel or multiclass")
    image_size: Annotated[int, Gt(0)] | None = option(None, "pixels; none: the dataset's, else the model's own")
    weights: str | None = option(
        None, "imagenet, none, a .keras or .weights.h5 file, or a run; none: imagenet where published"
    )
    freeze: bool = option(False, "train the head alone first, at ten times the rate, then all")
    freeze_epochs: Annotated[int, Ge(0)] = option(1, "epochs of the frozen phase, on top of --epochs")
    feature_views: Annotated[int, Ge(0)] = option(
        4,
        "augmented views of each image that a frozen backbone computes once and the head sees in turn; 0: anew in each epoch",
    )
    freeze_norm: bool = option(False, "keep the batch normalisation of loaded weights as it is, in all phases")
    epochs: Annotated[int, Ge(0)] = option(10, "epochs of the whole network; 0 with freeze: the head alone is trained")
    batch_size: Annotated[int, Ge(1)] = option(32, "images per step")
    seed: Annotated[int, Ge(0), Lt(2**31)] = option(0, "of every random choice")
    limit: Annotated[int, Ge(1)] | None = option(None, "use about this many images, whole patients")
    where: str | None = option(None, "keep the images that satisfy this, such as view == 'PA' and age >= 18; none: all")
    findings: tuple[str, ...] | None = option(
        None, "keep these findings as labels or classes, in this order; none: all"
    )
    uncertain: Literal["ignore", "zero", "one", "half"] = option(
        "ignore", "what an unknown label counts as in training: nothing, absent, present or one half"
    )
    balance: Literal["none", "repeat-factor"] = option("none", "show the images of rare labels more often in training")
    balance_threshold: Annotated[float, Gt(0), Le(1)] | None = option(
        None, "share of images below which a label counts as rare; none: the mean share of the labels"
    )
    monitor: Literal["val_auroc", "val_auprc", "val_loss", "val_f1", "val_accuracy", "val_recall", "val_precision"] = (
        option("val_auroc", "what picks the best epoch")
    )
    patience: Annotated[int, Ge(1)] | None = option(
        None, "stop after so many epochs without a better value; none: never"
    )
    threshold: ThresholdRule = option(
        ThresholdRule("fixed", 0.5), "rule for the decision threshold, chosen on validation"
    )
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = option(
        "float32", "of the network's arithmetic; auto: what was measured to be faster for the model on such a device"
    )
    jit: Literal["auto", "on", "off"] = option("auto", "compile with XLA; auto: on GPU where it helps, never on CPU")
    device: str = option("auto", "auto, cpu, gpu or gpu:N")
    devices: str | int | None = option(
        None, "several at once: all, a number of GPUs, or cpu:N, a CPU in N parts; none: one, as device says"
    )
    deterministic: bool = option(False, "only operations that repeat to the last digit, on a GPU too; slower there")
    val_fraction: Annotated[float, Gt(0), Lt(1)] = option(
        0.1, "share of images for validation where the lists name none"
    )
    test_fraction: Annotated[float, Gt(0), Lt(1)] = option(0.2, "share of images for test where the lists name none")
    drop_leaks: bool = option(False, "set aside training images that also stand in test, instead of refusing the split")
    recipe: str | None = option(None, "the recipe the settings started from")

    @property
    def one_device(self) -> str:
        """What one device of those chosen is called: auto, cpu, gpu or gpu:N."""
        return "cpu" if parts_of_cpu(self.devices) else self.device
