"""Who may watch a training from outside: told of its start, of each epoch and of its end, and free to stop it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.config.resolve import RunConfig


class Pruned(Exception):
    """An observer gave the training up: neither a failure nor an interruption. The run is kept with the status "pruned"."""


class Observer:
    """Watches one training. The methods do nothing here: override what is wanted.

    They are called in the process that trains, where several hosts train only on the first, and the training waits for
    them. An error they raise ends the training as its own errors do; `Pruned` ends it without being one.
    """

    def on_start(self, run: Any, config: RunConfig, rows: Sequence[Mapping[str, Any]]) -> None:
        """The images and the network are ready.

        Args:
            run: the `zoo.runs.Run` that is trained.
            config: its resolved configuration.
            rows: the rows of metrics.csv that earlier processes finished, none for a new run. `on_epoch` may or may not have
                been called with the last of them: the process may have ended in between.
        """

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch is finished and saved; `row` is its row of metrics.csv. May raise `Pruned`."""

    def on_end(self, status: str) -> None:
        """This process is done with the run: "complete", "interrupted", "failed" or "pruned". A training that failed before
        its start comes here without `on_start`; a killed process does not come here."""
