"""A tracker: one line of text for every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo import Info, Observer, Tracker


class Lines(Tracker):
    info = Info(
        name="lines", summary="a line for every epoch in a text file (lines=FILE), by default in the run's folder"
    )

    def build(self, target: str) -> Observer:
        return LinesOfRun(target)


class LinesOfRun(Observer):
    def __init__(self, target: str) -> None:
        self.target, self.file = target, Path()

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        self.file = Path(self.target) if self.target else folder / "lines.txt"
        if not rows:  # a new run; one that is resumed passes its earlier epochs
            self.file.write_text(f"{folder.name}: {config['model']['name']}\n")

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        with self.file.open("a") as file:
            file.write(f"epoch {row['epoch']}: loss {row['loss']:.4f}\n")
