"""Whether saved predictions are those that their run was finished with, of the images that its table lists."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from zoo.core.errors import DataError
from zoo.core.text import count_of, listed
from zoo.evaluation.notes import CHANGED, UNCHECKED, Note
from zoo.evaluation.predictions import Predictions

COLUMNS = ("image", "patient", "split", "digest")  # of the table of images: what is read here


def checked(
    predictions: Predictions,
    split: str,
    images: pd.DataFrame | None,
    recorded: str | None,
    run: str,
    accept_changed: bool,
) -> Predictions:
    """The predictions with the digests of their pixels from the table of images, so that identical images are seen.

    Args:
        predictions: as they were read.
        split: "val" or "test".
        images: the run's table with the columns in `COLUMNS`, digest where it is known; None where it is gone.
        recorded: the digest that the run keeps of its predictions; None if it was made before runs kept one.
        run: its name, for messages.
        accept_changed: whether predictions that were changed are returned, with a note, instead of refused.

    Raises:
        DataError: they are not those recorded, or not of the images that the table lists for the split.
    """
    here = predictions.table.set_index("image")
    expected = here if images is None else images[images["split"] == split].drop_duplicates("image").set_index("image")
    counts, example = _differences(here["patient"], expected["patient"])
    same = predictions.digest == recorded
    notes = () if recorded else (Note(UNCHECKED, (split,)),)
    if any(counts) or not (same or recorded is None):
        if not accept_changed:
            raise DataError(_message(counts, example, split, run, same))
        notes = (Note(CHANGED, (split,), counts),)
    table = predictions.table
    if "digest" in expected:
        table = table.assign(digest=table["image"].map(expected["digest"]))
    return replace(predictions, table=table, notes=notes)


def _differences(found: pd.Series, expected: pd.Series) -> tuple[tuple[int, int, int], str]:
    """How many images are missing, foreign, and under another patient, of patients by image; and an example."""
    found, expected = found.fillna(""), expected.fillna("")
    missing, foreign = expected.index.difference(found.index), found.index.difference(expected.index)
    both = found.index.intersection(expected.index)
    moved = both[found[both].to_numpy() != expected[both].to_numpy()]
    example = next((str(each[0]) for each in (foreign, moved, missing) if len(each)), "")
    return (len(missing), len(foreign), len(moved)), example


def _message(counts: tuple[int, ...], example: str, split: str, run: str, same: bool) -> str:
    whats = (f"of the {split} split without a prediction", "not in images.csv", "under another patient there")
    parts = [f"{count_of(count, 'image')} {what}" for count, what in zip(counts, whats, strict=True) if count]
    what = (
        f"{listed(parts)}, such as '{example}'" if parts else "its images are the same, but not their labels or logits"
    )
    file = "images.csv" if same else f"predictions/{split}.csv"
    return (
        f"{file} of the run {run} was changed since the run was finished: {what}. Restore the file, or give "
        "--accept-changed to zoo evaluate, compare or report, which then mark every result."
    )
