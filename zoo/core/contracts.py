"""The abstract strategies. A plugin subclasses one of them and gives it an `info` record and a `build` (or `read`) method.

Nothing here imports Keras, NumPy or pandas, so that `zoo list` reads every `info` record without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.core.origins import Origin

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.core.listing import Listing
    from zoo.core.observers import Observer
    from zoo.core.records import Records
    from zoo.core.tasks import Task

ALL_TASKS = ("binary", "multilabel", "multiclass")

# (labels, logits) -> loss, all of shape (N, outputs)
LossFunction = Callable[[Any, Any], Any]
# (images, labels, seed) -> (images, labels)
AugmentFunction = Callable[[Any, Any, Any], tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Info:
    """The record of a strategy, readable without Keras.

    Attributes:
        name: what users type; lower case, without spaces.
        summary: one line for `zoo list`.
        tasks: the task kinds it supports.
        licence: of the code and of published weights.
        paper: author, year, title and link.
        exempt: checks of `zoo.testing` that the strategy cannot pass, each with the reason.
    """

    name: str
    summary: str
    tasks: tuple[str, ...] = ALL_TASKS
    licence: str = ""
    paper: str = ""
    exempt: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Info):
    """The record of a model.

    Attributes:
        parameters: number of weights with one output, at `image_size` and with default options.
        image_size: height and width in pixels where neither user nor dataset gives a size.
        min_image_size: smallest height and width in pixels.
        pretrained: published weights that `--weights` accepts by name, such as "imagenet".
        trained: `build` returns a trained network, of which a run may train nothing or the head alone.
    """

    parameters: int
    image_size: int = 224
    min_image_size: int = 32
    pretrained: tuple[str, ...] = ()
    trained: bool = False


@dataclass(frozen=True, kw_only=True)
class Download:
    """Where a published dataset can be downloaded.

    Attributes:
        name: what `zoo data download` takes.
        kaggle: handle on Kaggle, owner/dataset.
        bytes: approximate size of the archive.
        page: where it is published otherwise.
        files: what to download from `page` by hand.
    """

    name: str
    kaggle: str
    bytes: int
    page: str
    files: str


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(Info):
    """The record of a dataset.

    Attributes:
        needs_root: it reads files below `--root`.
        layout: the files it expects there.
        image_size: height and width in pixels of its images, where they differ from the model's own; None: the model's.
        default_weights: default of `--weights` with this dataset; "" leaves it to the model.
        downloads: what `zoo data download` can fetch.
    """

    needs_root: bool = True
    layout: str = ""
    image_size: int | None = None
    default_weights: str = ""
    downloads: tuple[Download, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AugmenterInfo(Info):
    """The record of an augmenter. With it `--freeze` can compute the output of a frozen backbone once for each image.

    Attributes:
        per_image: every image is changed independently of its batch, and labels stay as they are.
        random: the result depends on the seed.

    The defaults are safe for any augmenter: no output of the backbone is cached.
    """

    per_image: bool = False
    random: bool = True


@dataclass(frozen=True)
class NoOptions:
    """Options of a strategy that has none."""


def option(default: Any, help: str, *, none: str = "", **metadata: Any) -> Any:
    """Declare an option of a strategy: a field of a frozen dataclass, which `zoo info` prints and `--set` sets.

    Args:
        default: an immutable value of the field's type.
        help: what the option does, in a few words.
        none: what a default of None stands for, such as "the model's own size".
        metadata: more metadata of the field, for programs that read options.

    Raises:
        TypeError: the default is mutable.
    """
    if isinstance(default, (list, dict, set)):
        raise TypeError("an option's default must be immutable: options are frozen")
    return field(default=default, metadata={"help": help, "none": none, **metadata})


class Strategy(ABC):
    """Anything that can be chosen by name.

    Attributes:
        info: the record.
        Options: a frozen dataclass of `option(...)` fields.
        origin: the plugin that it comes from, set by the registry.
    """

    kind: ClassVar[str]
    info: Info
    origin: Origin | None = None
    Options: ClassVar[type] = NoOptions


class Model(Strategy):
    """A network from grayscale pixels to logits.

    `blocks` tells `optimizer.layer_decay` how the backbone is divided: a regular expression with one group, the number of the
    block, searched for in the paths of weights, such as r"\\bblock(\\d+)_". Without it, blocks are stages of equal resolution.
    """

    kind = "model"
    info: ModelInfo
    blocks: ClassVar[str] = ""

    @abstractmethod
    def build(self, task: Task, image_size: int, weights: str | None, options: Any) -> keras.Model:
        """Build the network.

        Args:
            task: gives the number of outputs.
            image_size: height and width of the input in pixels.
            weights: a name from `info.pretrained`, or None for a random start.
            options: an instance of `Options`.

        Returns:
            A model from `(N, image_size, image_size, 1)` pixels in [0, 255], uint8 or float, to float32 logits
            `(N, task.outputs)`. Pixel scaling and channel repetition happen inside, so a saved model takes raw pixels.
            `--freeze` freezes a layer named `backbone`, and `--weights PATH` loads into it.
        """

    def sources(self, options: Any) -> tuple[Path, ...]:
        """The files that `build` reads, except published weights. A run is not resumed if one of them has changed."""
        return ()


class Loss(Strategy):
    """An elementwise loss on logits. Masks, sample weights and the reduction belong to the engine."""

    kind = "loss"

    @abstractmethod
    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        """Build the function `(labels, logits) -> loss`, each `(N, outputs)`, in `keras.ops`.

        Args:
            task: the task, of a kind in `info.tasks`.
            counts: label counts of the training images; None if unknown.
            options: an instance of `Options`.

        Returns:
            A function that never sees an unknown label: the engine replaces NaN by 0 and masks the result. It sums over the
            classes of a multiclass task, and takes the mean over known labels otherwise.

        Raises:
            UsageError: the loss needs label counts, and `counts` is None.
        """


class Augmenter(Strategy):
    """A random change of a training batch, images and labels together. It runs on the device, in training only.

    An `AugmenterInfo` as `info` can declare that every image is changed independently; a plain `Info` does not.
    """

    kind = "augmenter"

    def effect(self, options: Any) -> Info:
        """The record with these options: override it where they decide `per_image` or `random`."""
        return self.info

    @abstractmethod
    def build(self, image_size: int, options: Any) -> AugmentFunction:
        """Build the function `(images, labels, seed) -> (images, labels)`, in `keras.ops` and `keras.random`.

        `images` is float32 `(N, H, W, 1)` in [0, 255] and must come back so; `labels` is float32 `(N, outputs)` with NaN
        for unknown. Every random draw passes `seed`, a `keras.random.SeedGenerator` that the engine owns, saves and
        restores. A `keras.layers.Layer` with this call signature may be returned instead of a function.
        """


class Dataset(Strategy):
    """A reader of one published layout."""

    kind = "dataset"
    info: DatasetInfo

    @abstractmethod
    def read(self, root: Path | None, options: Any) -> Records:
        """Read the layout under `root` into records; `root` is None for a dataset that needs none.

        Raises:
            DataError: the layout is not there or lacks what it needs; the message names file and column.
        """

    def destination(self, member: str) -> str | None:
        """The path below the root where a file of the published archives belongs; None if `read` does not need it."""
        return member

    def survey(self, root: Path | None, options: Any) -> Listing:
        """Read everything the tables of the layout list, for `zoo data explore` and `zoo data audit`.

        By default these are the records, with a fault for every row set aside. Override it to list images without a file too,
        and to report faults at which `read` raises.

        Raises:
            DataError: as `read`.
        """
        from zoo.core.listing import listing_of

        return listing_of(self.read(root, options))


class Tracker(Strategy):
    """Reports a training to another place, such as a tracking server. It does not change the training."""

    kind = "tracker"

    @abstractmethod
    def build(self, target: str) -> Observer:
        """Build the observer of one training, without connecting anywhere before its `on_start`.

        Args:
            target: the text after the name, as in `--track mlflow=http://host:5000`; "" if there is none.

        Raises:
            UsageError: a required library is not installed; says how to install it.
        """


@dataclass(frozen=True)
class LabelCounts:
    """Number of training images with and without each label, unknown labels left out; float arrays `(outputs,)`."""

    positive: np.ndarray
    negative: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """A named configuration: `config` has the form of config.yaml; settings it leaves out keep their defaults."""

    kind: ClassVar[str] = "recipe"

    info: Info
    config: Mapping[str, Any]
