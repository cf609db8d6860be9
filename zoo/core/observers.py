"""Observers: what follows a training from outside, such as a tracking server, and may stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class Pruned(Exception):
    """An observer stopped the training. Neither a failure nor an interruption: the run is kept with the status "pruned"."""


class Observer:
    """Follows one training. All methods do nothing by default: override those you need.

    The training calls them in its own process (with several hosts, on the first one only) and waits for them. An error
    raised here ends the training like an error of its own; `Pruned` ends it without failing it.
    """

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Called when images and network are ready.

        Args:
            folder: the run's folder; its name is the run's name.
            config: the resolved configuration, as in `folder / "config.yaml"`.
            rows: rows of metrics.csv from earlier processes; empty for a new run. The last ones may not have been reported
                before, if that process was killed.
        """

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """Called after each epoch, once it is saved. `row` is its row of metrics.csv. May raise `Pruned`."""

    def on_end(self, status: str) -> None:
        """Called when this process is done with the run: "complete", "interrupted", "failed" or "pruned".

        A training that fails early calls this without `on_start`; a killed process does not call it.
        """
