"""Records: one row per image of a dataset, and the source of the pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded only where used: `import zoo` and the processes that prepare images need neither
    import numpy as np
    import pandas as pd

SPLITS = ("train", "val", "test")
METADATA = ("view", "age", "sex", "follow_up")


class BadImage(Exception):
    """An image that cannot be read; the message is the reason in the table of images set aside."""


class ImageSource(ABC):
    """The source of pixels. Instances are small and picklable: they are sent to worker processes."""

    @abstractmethod
    def read(self, path: str) -> tuple[np.ndarray, str]:
        """Grayscale uint8 pixels `(H, W)` of one image, and a note on how they were normalised ("" if they were not).

        Raises:
            BadImage: the file is missing, truncated or not an image.
        """

    @abstractmethod
    def fingerprint(self, paths: Sequence[str]) -> str:
        """A short text that changes when any of these images changes (size and time of files, seed of generated ones)."""


def _no_boxes() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"image": [], "label": [], "x": [], "y": [], "width": [], "height": []})


def _none_set_aside() -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"image": [], "reason": []})


@dataclass(frozen=True)
class Records:
    """One row per image.

    `table` has the columns `image` (unique name), `path` (what `source` reads: a path relative to the root, or an index
    as text), `patient` (text), one float column per label (1, 0 or NaN for unknown) and, where known:
    `split` ("train", "val", "train_val" or "test", from the published lists), `view` ("PA", "AP", "LATERAL"),
    `age` (years), `sex` ("M", "F"), `follow_up` (number of the visit).

    `labels` are the findings. An image with none of them is normal; `normal` names that class ("No Finding"), and is None
    where the dataset has no such images. `no_pathology` are labels that a normal image may have ("Support Devices").
    `boxes` has image, label and x, y, width, height in fractions of the image.
    `set_aside` lists rows that cannot be used, with the reason. `notes` are lines for the user.
    `official_split`: `split` is the dataset's own. `patients_known` is False where the layout does not name patients, and
    every image counts as one. `filtered_out` counts the images that a filter (`zoo.data.where`) left out, `limited_out` those
    that a limit did.

    Raises:
        ValueError: a column is missing, an image is named twice, or a label is not 1, 0 or NaN.
    """

    table: pd.DataFrame
    labels: tuple[str, ...]
    source: ImageSource
    normal: str | None = None
    boxes: pd.DataFrame = field(default_factory=_no_boxes)
    set_aside: pd.DataFrame = field(default_factory=_none_set_aside)
    notes: tuple[str, ...] = ()
    official_split: bool = False
    patients_known: bool = True
    filtered_out: int = 0
    limited_out: int = 0
    no_pathology: tuple[str, ...] = ()

    @property
    def pathologies(self) -> tuple[str, ...]:
        """The labels that a normal image has none of."""
        return tuple(name for name in self.labels if name not in self.no_pathology) or self.labels

    def __post_init__(self) -> None:
        import numpy as np

        missing = [c for c in ("image", "path", "patient", *self.labels) if c not in self.table.columns]
        if missing:
            raise ValueError(f"records lack the columns {missing}")
        if not self.table["image"].is_unique:
            twice = self.table["image"][self.table["image"].duplicated()].iloc[0]
            raise ValueError(f"records name the image {twice!r} twice")
        values = self.table[list(self.labels)].to_numpy(dtype=float)
        if not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise ValueError("labels must be 1, 0 or NaN")

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> Records:
        """The records of some rows of the table, with their boxes."""
        table = self.table.iloc[rows].reset_index(drop=True)
        boxes = self.boxes[self.boxes["image"].isin(set(table["image"]))].reset_index(drop=True)
        return replace(self, table=table, boxes=boxes)
