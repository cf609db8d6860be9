"""All that a report reads of a run, in one place: its results and its saved files, each absent where the run lacks it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.documents import read_json
from zoo.core.errors import DataError, ZooError
from zoo.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd

    from zoo.evaluation.predictions import Predictions
    from zoo.runs.results import Results


@dataclass(frozen=True, eq=False)
class Material:
    """A run, what was measured on it, and its files.

    `history` is metrics.csv, `images` is images.csv, `set_aside` the images left out with their reasons, `explanations` the
    index of `zoo explain`. `config` is config.yaml as written. With `pictures` off the report holds no image.
    """

    run: Run
    results: Results
    predictions: Predictions
    info: dict[str, Any]
    data: dict[str, Any]
    config: str
    settings: dict[str, Any]
    history: pd.DataFrame | None
    images: pd.DataFrame | None
    set_aside: pd.DataFrame | None
    explanations: dict[str, Any] | None
    pictures: bool = True

    @classmethod
    def of(cls, run: Run, results: Results, pictures: bool = True) -> Material:
        """Read the run's files.

        Raises:
            ZooError: run.json, config.yaml or the predictions of the split cannot be read, or are not those of the results.
        """
        predictions = run.predictions(results.split, accept_changed=True)  # as the results were, which say so
        if predictions.digest != results.evaluation.predictions_digest:
            raise ZooError(f"the predictions of {run.name} changed while its report was made: start again.")
        return cls(
            run=run,
            results=results,
            predictions=predictions,
            info=run.info(),
            data=run.known_data(),
            config=(run.path / "config.yaml").read_text(encoding="utf-8"),
            settings=run.config(),
            history=_table(run.path / "metrics.csv"),
            images=_images(run),
            set_aside=_table(run.path / "set_aside.csv"),
            explanations=_json(run.path / "explanations" / "index.json"),
            pictures=pictures,
        )


def _json(path: Path) -> dict[str, Any] | None:
    """An object of JSON; None where there is no such file."""
    try:
        found = read_json(path)
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no object: it was damaged. Restore it from a copy.")
    return found


def _table(path: Path) -> pd.DataFrame | None:
    """A table; None where there is no such file, or no row in it."""
    from zoo.evaluation.predictions import read_table

    table = read_table(path, []) if path.exists() and path.stat().st_size > 1 else None
    return table if table is not None and len(table) else None


def _images(run: Run) -> pd.DataFrame | None:
    try:
        return run.images()
    except ZooError:
        return None
