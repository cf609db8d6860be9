"""TensorBoard: curves of every epoch, written without TensorFlow."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import Info, Observer, Tracker, UsageError, hookimpl


class TensorBoard(Tracker):
    """Writes event files: into the run's folder, or into a folder with the run's name in another place."""

    info = Info(
        name="tensorboard",
        summary="TensorBoard: event files in the run's folder, or in another (tensorboard=DIR)",
        licence="MIT (tensorboardX)",
    )

    def build(self, target: str) -> Observer:
        try:
            import tensorboardX  # noqa: F401  # is it installed?
        except ImportError as error:
            raise UsageError(
                f"--track tensorboard needs tensorboardX ({error}): pip install 'cxr-zoo[track]'."
            ) from error
        return TensorBoardRun(target)


class TensorBoardRun(Observer):
    """The event files of one run. A resumed run writes all epochs again, so that none occurs twice."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.writer: Any = None

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter

        name = folder.resolve().name
        board = Path(os.path.expanduser(self.target)) / name if self.target else folder / "tensorboard"
        for old in board.glob("events.out.tfevents.*"):
            old.unlink()
        board.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "config.yaml", board / "config.yaml")
        self.writer = SummaryWriter(str(board))
        self.writer.add_text("config", f"```yaml\n{(folder / 'config.yaml').read_text(encoding='utf-8')}```")
        for row in rows:
            self.on_epoch(row)

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name != "epoch" and isinstance(value, (int, float)) and math.isfinite(value):
                group = "validation" if name.startswith("val_") else "training"
                self.writer.add_scalar(f"{group}/{name.removeprefix('val_')}", value, int(row["epoch"]))
        self.writer.flush()

    def on_end(self, status: str) -> None:
        if self.writer is not None:
            self.writer.close()


@hookimpl
def zoo_trackers() -> list[Tracker]:
    return [TensorBoard()]
