"""A dataset: a table of images with one finding, and the images beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo import DataError, Dataset, DatasetInfo, Records

COLUMNS = ("image", "patient", "finding")


class TinyTable(Dataset):
    info = DatasetInfo(
        name="tiny-table",
        summary="images.csv and a folder of images",
        layout="ROOT/images.csv with the columns image, patient and finding (1, 0 or empty for unknown), and ROOT/images/",
    )

    def read(self, root: Path | None, options: Any) -> Records:
        import pandas as pd

        from zoo import FileSource

        assert root is not None  # info.needs_root
        file = root / "images.csv"
        if not file.is_file():
            raise DataError(f"{file} does not exist. Layout:", self.info.layout)
        table = pd.read_csv(file, dtype={"image": str, "patient": str, "finding": float})
        if missing := [name for name in COLUMNS if name not in table]:
            raise DataError(f"{file} lacks {', '.join(missing)}. Layout:", self.info.layout)
        table["path"] = "images/" + table["image"]
        return Records(table, ("finding",), FileSource(str(root)), normal="normal")
