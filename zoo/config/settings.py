"""All settings of a training, each with its type, default and meaning.

The flags of `zoo train`, the keys of config.yaml, the table of `zoo info train` and the arguments of `zoo.train` are made from
these classes. The metadata of a field may give the `metavar` of its flag, and `flag=False` where it has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from annotated_types import Ge, Gt, Le, Lt

from zoo.config.devices import parts_of_cpu
from zoo.core.contracts import option
from zoo.core.options import OptionInfo, describe
from zoo.core.tasks import TaskKind
from zoo.core.thresholds import YOUDEN, ThresholdRule

Strategy = str | Mapping[str, Any]  # a name, or a mapping with `name` and options
Uncertain = Literal["ignore", "zero", "one", "half"]
Balance = Literal["none", "repeat-factor"]
Monitor = Literal["val_auroc", "val_auprc", "val_loss", "val_f1", "val_accuracy", "val_recall", "val_precision"]
Precision = Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"]
Jit = Literal["auto", "on", "off"]

MONITORS = {name: "min" if name == "val_loss" else "max" for name in get_args(Monitor)}
HALF_A_CLASS = (
    "classes exclude each other, so a multiclass label cannot be one half: use --uncertain ignore, zero or one."
)


@dataclass(frozen=True)
class Settings:
    """The plain settings of a run."""

    task: TaskKind = option("binary", "what to predict: normal or abnormal, every finding, or one class per image")
    image_size: Annotated[int, Gt(0)] | None = option(
        None, "height and width of the images in pixels", none="the dataset's or the model's own", metavar="PX"
    )
    weights: str | None = option(
        None,
        "initial weights: imagenet, none, a .keras or .weights.h5 file, or a run",
        none="imagenet where published; none on phantom",
        metavar="WEIGHTS",
    )
    freeze: bool = option(False, "train the head alone first, at ten times the learning rate, then the whole network")
    freeze_epochs: Annotated[int, Ge(0)] = option(
        1, "epochs of the head alone, before the others; as a flag or argument it implies freeze"
    )
    feature_views: Annotated[int, Ge(0)] = option(
        4,
        "augmented views of each image whose features a frozen backbone computes once; 0: new views in each epoch",
        flag=False,
    )
    freeze_norm: bool = option(False, "keep the batch normalization of loaded weights frozen in all phases")
    epochs: Annotated[int, Ge(0)] = option(10, "epochs of the whole network; 0 with freeze: train the head alone")
    batch_size: Annotated[int, Ge(1)] = option(32, "images per step")
    seed: Annotated[int, Ge(0), Lt(2**31)] = option(0, "seed of every random number generator")
    limit: Annotated[int, Ge(1)] | None = option(None, "use about this many images, as whole patients", none="all")
    where: str | None = option(
        None,
        "use only the images that match, such as \"view == 'PA' and age >= 18\"",
        none="all",
        metavar="CONDITION",
    )
    findings: tuple[str, ...] | None = option(
        None, "findings to use as labels or classes, separated by commas", none="all", metavar="NAMES"
    )
    uncertain: Uncertain = option(
        "ignore", "what an unknown label counts as in training: nothing, absent, present or one half"
    )
    balance: Balance = option("none", "show images of rare labels more often in training")
    balance_threshold: Annotated[float, Gt(0), Le(1)] | None = option(
        None, "share of images below which a label counts as rare", none="the labels' mean share", flag=False
    )
    monitor: Monitor = option("val_auroc", "validation metric that selects the best epoch", metavar="METRIC")
    patience: Annotated[int, Ge(1)] | None = option(
        None, "stop after this many epochs without improvement", none="never"
    )
    threshold: ThresholdRule = option(
        YOUDEN,
        "how decision thresholds are chosen on validation: youden, f1, sensitivity or specificity; or a fixed one such as 0.5",
        metavar="RULE",
    )
    precision: Precision = option(
        "float32", "numerical precision of the network; auto: the fastest measured for the model and device"
    )
    jit: Jit = option("auto", "compile with XLA; auto: where it helps on a GPU, never on a CPU")
    device: str = option("auto", "where to compute: auto, cpu, gpu or gpu:N", metavar="DEVICE")
    devices: str | int | None = option(
        None,
        "devices that share each batch: all, a number of GPUs, or cpu:N to try it on a CPU in N parts",
        none="one",
        metavar="DEVICES",
    )
    deterministic: bool = option(
        False, "use only deterministic operations on a GPU too, where they are slower; a CPU always does"
    )
    val_fraction: Annotated[float, Gt(0), Lt(1)] = option(
        0.1, "share of images for validation where the dataset has no list of them", flag=False
    )
    test_fraction: Annotated[float, Gt(0), Lt(1)] = option(
        0.2, "share of images for test where the dataset has no list of them", flag=False
    )
    drop_leaks: bool = option(False, "set aside training images that also occur in the test set, instead of stopping")
    recipe: str | None = option(None, "named configuration to start from (zoo list recipes)", metavar="NAME")

    @property
    def one_device(self) -> str:
        """The name of one of the chosen devices: auto, cpu, gpu or gpu:N."""
        return "cpu" if parts_of_cpu(self.devices) else self.device


@dataclass(frozen=True)
class Strategies:
    """The strategies of a run, each a name or a mapping with its `name` and options."""

    data: Strategy = option("phantom", "dataset; phantom makes synthetic chest X-rays (zoo list datasets)")
    model: Strategy = option("mobilenetv3", "network (zoo list models)")
    loss: Strategy | None = option(None, "loss (zoo list losses)", none="bce, or cce for multiclass")
    augment: Strategy = option("standard", "augmenter, or several as NAME+NAME (zoo list augmenters)")
    optimizer: Strategy = option("adam", "optimizer: adam, adamax, adamw or sgd")
    schedule: Strategy = option("cosine", "learning-rate schedule: cosine, constant or plateau")


@dataclass(frozen=True)
class Shortcuts:
    """Flags and arguments that set an option of a strategy, `sets`; config.yaml has them there."""

    root: str | None = option(None, "folder of the dataset's files", metavar="DIR", sets="data.root")
    lr: Annotated[float, Gt(0)] | None = option(
        None,
        "highest learning rate",
        none="2e-4 on loaded weights, else 1e-3; sgd: 10 times that",
        metavar="RATE",
        sets="optimizer.lr",
    )
    allow_outside: bool | None = option(
        None,
        "read images that a table names outside of the root; links below it are followed anyway",
        none="no",
        sets="data.allow_outside",
    )


def all_settings() -> list[OptionInfo]:
    """Every setting with its type, default and meaning, in the order of the command line."""
    task, *others = describe(Settings)
    return [task, *describe(Strategies), *describe(Shortcuts), *others]
