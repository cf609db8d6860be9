"""Films or patients that a network was tested on after it had been trained or chosen on them."""

from __future__ import annotations

import pandas as pd


def leaks(films: pd.DataFrame, split: str) -> tuple[str, ...]:
    """Sentences on what the films of `split` share with earlier ones, none where they share nothing.

    Training refuses such a split; a run made elsewhere, or with a table edited since, is checked again here.

    Args:
        films: a run's table of films with image, patient, split and, where known, digest of the pixels.
        split: "test" (compared with training and validation films) or "val" (with training films).
    """
    here = films[films["split"] == split]
    earlier = films[films["split"].isin(("train", "val") if split == "test" else ("train",))]
    found = []
    for column, what in (
        ("patient", "belong to patients"),
        ("digest", "are, pixel for pixel, films"),
        ("image", "have the names of films"),
    ):
        if column not in films:
            continue
        shared = here[column].notna() & here[column].isin(set(earlier[column].dropna()))
        if shared.any():
            example = here.loc[shared, "image"].iloc[0]
            found.append(
                f"Leak: {shared.sum():,} of the {len(here):,} {split} films {what} that the network was trained or chosen "
                f"on (for example {example}): the result is too good."
            )
    return tuple(found)
