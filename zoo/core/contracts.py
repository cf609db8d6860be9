"""The abstract strategies. A plugin subclasses one of these, gives it an `info` record and one `build` (or `read`).

Nothing here imports Keras, NumPy or pandas: `zoo list` reads every `info` record without them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

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
    """What a strategy says of itself; readable without Keras.

    `name` is what the user types, `summary` one line, `tasks` the task kinds it serves, `licence` and `paper` where it
    comes from. `exempt` names checks of `zoo.testing` that the strategy cannot pass, each with the reason.
    """

    name: str
    summary: str
    tasks: tuple[str, ...] = ALL_TASKS
    licence: str = ""
    paper: str = ""
    exempt: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class ModelInfo(Info):
    """A model's record: `parameters` counts all weights with one output at `image_size` pixels and default options.

    `trained` says that `build` gives a network that has learned already: a run of it may train nothing, or its head alone.
    """

    parameters: int
    image_size: int = 224
    min_image_size: int = 32
    pretrained: tuple[str, ...] = ()  # published weights that `weights=` accepts by name, such as "imagenet"
    trained: bool = False


@dataclass(frozen=True, kw_only=True)
class Download:
    """Where a published dataset is fetched: `name` is what `zoo data download` takes.

    `kaggle` is its handle there (owner/dataset), `bytes` the size of its archive, about. `page` is where it is published
    otherwise, `files` what to fetch there by hand.
    """

    name: str
    kaggle: str
    bytes: int
    page: str
    files: str


@dataclass(frozen=True, kw_only=True)
class DatasetInfo(Info):
    """A dataset's record: whether it reads a `root` on disk and the layout it expects there.

    `downloads` are what can be fetched of it. `default_weights` is what `--weights` means for this dataset when the user says
    nothing; empty leaves it to the model.
    """

    needs_root: bool = True
    layout: str = ""
    image_size: int | None = None  # the size the images are made for, where it differs from the model's own
    default_weights: str = ""
    downloads: tuple[Download, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AugmenterInfo(Info):
    """An augmenter's record: what `--freeze` must know to compute a frozen backbone's output once and for all.

    `per_image` says that every image changes on its own, whatever else is in its batch, and that labels stay as they are;
    `random` that chance has a part in it. The defaults are safe for any augmenter: nothing is kept.
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
    """Anything that can be chosen by name. `Options` is a frozen dataclass of `option(...)` fields."""

    kind: ClassVar[str]
    info: Info
    Options: ClassVar[type] = NoOptions


class Model(Strategy):
    """A network from grayscale pixels to logits.

    `blocks` is for `optimizer.layer_decay`: a pattern with one group, the block's number, searched for in the paths of the
    backbone's weights, as r"\\bblock(\\d+)_". Without one the blocks are the stages of equal resolution.
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
            A layer named `backbone`, where there is one, is what `--freeze` freezes and `--weights PATH` fills.
        """

    def sources(self, options: Any) -> tuple[Path, ...]:
        """The files that `build` reads, published weights apart: a run is not resumed where one of them has changed."""
        return ()


class Loss(Strategy):
    """An elementwise loss on logits. Masks, sample weights and the reduction belong to the engine."""

    kind = "loss"

    @abstractmethod
    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        """Build the function `(labels, logits) -> loss`, each `(N, outputs)`, in `keras.ops`.

        Args:
            task: the task; a loss may refuse kinds not in `info.tasks`.
            counts: label counts of the training images; None where unknown.
            options: an instance of `Options`.

        Returns:
            A function that never sees an unknown label: the engine replaces NaN by 0 before and masks the result.
            For a multiclass task the engine sums over the classes, else it takes the mean over known labels.
        """


class Augmenter(Strategy):
    """A random change of a training batch, images and labels together. It runs on the device, in training only.

    With an `AugmenterInfo` as its `info` it can say that it changes every image on its own; a plain `Info` says no.
    """

    kind = "augmenter"

    def effect(self, options: Any) -> Info:
        """The record that holds with these options, where they decide `per_image` or `random`; else `info`."""
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
        """Read all that the layout's tables say, for `zoo data explore` and `zoo data audit`.

        A reader that overrides this names images without a file too, and notes faults that `read` refuses; this one reads
        the records, and notes what they set aside.
        """
        from zoo.core.listing import listing_of

        return listing_of(self.read(root, options))


class Tracker(Strategy):
    """Another place that is told how a training goes, such as a tracking server. It changes nothing of the training."""

    kind = "tracker"

    @abstractmethod
    def build(self, target: str) -> Observer:
        """Build the observer of one training. Nothing is connected to before its `on_start`.

        Args:
            target: what the user wrote behind the name, as in `--track mlflow=http://host:5000`; "" where nothing was.

        Raises:
            UsageError: a library that it needs is not installed; says how to install it.
        """


@dataclass(frozen=True)
class LabelCounts:
    """How often each label is 1 and 0 among the training images, unknown ones left out; float arrays `(outputs,)`."""

    positive: np.ndarray
    negative: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """A named configuration. `config` has the shape of a run's config.yaml and may leave out what it does not fix."""

    kind: ClassVar[str] = "recipe"

    info: Info
    config: Mapping[str, Any]
