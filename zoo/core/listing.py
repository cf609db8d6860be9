"""Everything the tables of a dataset list, with their faults as data instead of errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.core.records import Records

if TYPE_CHECKING:
    import pandas as pd

# kinds of faults
LISTED_TWICE = "row twice"
BOTH_LISTS = "in both lists"
NOT_IN_TABLE = "listed, not in the table"
NOT_IN_LISTS = "in no list"
NORMAL_AND_FINDING = "normal and a finding"
NO_FILE = "no image file"
NO_ROW = "image file without a row"
NO_USE = "row set aside"


class Faults:
    """Collects faults of tables. A reader without a collector raises instead."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str]] = []

    def add(self, kind: str, images: Iterable[str], detail: str = "") -> None:
        """Add one fault for each of these images."""
        self._rows += [(kind, image, detail) for image in images]

    def table(self) -> pd.DataFrame:
        """One row per fault: kind, image, detail."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=["kind", "image", "detail"], dtype=object)


def _no_faults() -> pd.DataFrame:
    return Faults().table()


@dataclass(frozen=True)
class Listing:
    """Records of everything the tables list; `path` is "" where there is no file.

    `faults` has a row per fault: kind, image, detail. Of an image listed twice the first row counts; one in both lists is a
    test image; one that is normal and has a finding has the finding.
    """

    records: Records
    faults: pd.DataFrame = field(default_factory=_no_faults)

    @property
    def present(self) -> pd.Series:
        """Which images have a file; Boolean `(N,)`."""
        return self.records.table["path"] != ""


def listing_of(records: Records) -> Listing:
    """The listing of plain records: every row set aside is a fault."""
    faults = Faults()
    for image, reason in zip(records.set_aside["image"], records.set_aside["reason"], strict=True):
        faults.add(NO_USE, [str(image)], str(reason))
    return Listing(records, faults.table())
