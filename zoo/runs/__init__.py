"""Runs at rest: the folder one training left behind, its results, and several runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.runs.run import Run

__all__ = ["Run"]


def __getattr__(name: str) -> Any:
    """`Run`, imported when it is asked for."""
    if name == "Run":
        from zoo.runs.run import Run

        return Run
    raise AttributeError(f"module 'zoo.runs' has no attribute {name!r}")
