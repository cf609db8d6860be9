"""TensorBoard: curves of every epoch, written without TensorFlow."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.contracts import Info, Tracker
from zoo.core.errors import UsageError
from zoo.core.hookspecs import hookimpl
from zoo.core.observers import Observer

if TYPE_CHECKING:
    from zoo.config.resolve import RunConfig
    from zoo.runs.run import Run


class TensorBoard(Tracker):
    """Writes event files: into the run's folder, or into a folder with the run's name in another place."""

    info = Info(
        name="tensorboard",
        summary="TensorBoard: event files in the run's folder, or in another (tensorboard=DIR)",
        licence="MIT (tensorboardX)",
    )

    def build(self, target: str) -> Observer:
        try:
            import tensorboardX  # noqa: F401  # whether it is there
        except ImportError as error:
            raise UsageError(
                f"--track tensorboard needs tensorboardX ({error}): pip install 'cxr-zoo[track]'."
            ) from error
        return TensorBoardRun(target)


class TensorBoardRun(Observer):
    """The event files of one run. A resumed run writes all its epochs anew, so that none stands there twice."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.writer: Any = None

    def on_start(self, run: Run, config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> None:
        from tensorboardX import SummaryWriter

        folder = Path(self.target).expanduser() / run.name if self.target else run.path / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.path / "config.yaml", folder / "config.yaml")
        self.writer = SummaryWriter(str(folder))
        self.writer.add_text("config", f"```yaml\n{config.to_yaml()}```")
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
