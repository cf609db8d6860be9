"""Images or patients that a network was tested on after it had been trained or chosen on them."""

from __future__ import annotations

import pandas as pd


def leaks(images: pd.DataFrame, split: str) -> tuple[str, ...]:
    """Sentences on what the images of `split` share with earlier ones, none where they share nothing.

    Training refuses such a split; a run made elsewhere, or with a table edited since, is checked again here.

    Args:
        images: a run's table of images with image, patient, split and, where known, digest of the pixels.
        split: "test" (compared with training and validation images) or "val" (with training images).
    """
    here = images[images["split"] == split]
    earlier = images[images["split"].isin(("train", "val") if split == "test" else ("train",))]
    found = []
    for column, what in (
        ("patient", "belong to patients"),
        ("digest", "are, pixel for pixel, images"),
        ("image", "have the names of images"),
    ):
        if column not in images:
            continue
        shared = here[column].notna() & here[column].isin(set(earlier[column].dropna()))
        if shared.any():
            example = here.loc[shared, "image"].iloc[0]
            found.append(
                f"Leak: {shared.sum():,} of the {len(here):,} {split} images {what} that the network was trained or chosen "
                f"on (for example {example}): the result is too good."
            )
    return tuple(found)
