"""Conformance checks of trackers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.core.contracts import Tracker
from zoo.testing.suite import Checks, Result, carried_out, check_info, demand

ROW = {"phase": "all", "loss": 0.5, "lr": 1e-3, "val_loss": float("nan"), "val_auroc": 0.7, "seconds": 1.0}


def check_tracker(tracker: Tracker, target: str = "") -> None:
    """Check that a tracker follows a training to its end, one that fails before its start, and one that is resumed.

    Args:
        tracker: the tracker.
        target: what `--track NAME=TARGET` would give it.

    Raises:
        AssertionError: the tracker fails a check; the message says which and why.
    """
    demand(tracker_results(tracker, target))


def tracker_results(tracker: Tracker, target: str = "") -> Iterator[Result]:
    """The result of every check, one by one."""
    return carried_out(tracker, _Subject(tracker, target).checks())


class _Subject:
    """One tracker on runs in an empty folder."""

    def __init__(self, tracker: Tracker, target: str) -> None:
        self.tracker, self.name, self.target = tracker, tracker.info.name, target

    def checks(self) -> Checks:
        return {
            "info": lambda: check_info(self.tracker),
            "observer": self.observer,
            "before the start": self.before_the_start,
            "a training": self.training,
            "resumed": self.resumed,
        }

    def observer(self) -> None:
        from zoo.core.observers import Observer

        built = self.tracker.build(self.target)
        assert isinstance(built, Observer), f"{self.name}: build gives {built!r}, not a zoo.Observer"

    def before_the_start(self) -> None:
        """A training may fail before `on_start`."""
        self.tracker.build(self.target).on_end("failed")

    def training(self) -> None:
        with _run() as (folder, config):
            observer = self.tracker.build(self.target)
            observer.on_start(folder, config, ())
            observer.on_epoch({"epoch": 1, **ROW})
            observer.on_end("failed")

    def resumed(self) -> None:
        """Another process continues and passes the earlier epochs to `on_start`."""
        with _run() as (folder, config):
            rows: list[dict[str, Any]] = []
            for epoch in (1, 2):
                observer = self.tracker.build(self.target)
                observer.on_start(folder, config, tuple(rows))
                rows.append({"epoch": epoch, **ROW})
                observer.on_epoch(rows[-1])
                observer.on_end("interrupted")


@contextmanager
def _run() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and configuration of a run that has just started."""
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.runs.run import Run

    with tempfile.TemporaryDirectory() as folder:
        config = resolve([{"model": "mobilenetv3"}], registry())
        run = Run.create(Path(folder), "checked", config.model.name, config.settings.task)
        (run.path / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        run.write_json("run.json", {"status": "running"})
        yield run.path, config.to_dict()


__all__ = ["check_tracker", "tracker_results"]
