"""The exploration of a dataset: from its tables, and its images if they are there, to summary tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.core.listing import Listing
from zoo.core.records import METADATA, SPLITS
from zoo.core.tasks import TaskKind
from zoo.data.listed_images import prepare_listed
from zoo.data.split import assign, join_groups
from zoo.data.targets import make_targets
from zoo.evaluation.serialise import to_plain
from zoo.explore.association import associations, one_image_per_patient
from zoo.explore.pixels import SAMPLE, Intensities, measure

EXAMPLES = 4  # images shown of each finding


@dataclass(frozen=True)
class Exploration:
    """The results. `table` has a row per image: that of the records, with split (train, val, test or ""), digest and reason.

    `labels`: per finding and for images without one, the images in all and in each split. `together`: images that have both of two
    findings. `people`: age, sex, view and follow-up in each split. `tests`: see `associations`, on `tested` images. `missing`:
    empty cells per column. `problems`: images that are missing, unreadable or faulty, with the reason. `copies`: images that are
    equal pixel for pixel. `examples`: rows of `table` by finding; `thumbnails` their pixels.
    """

    name: str
    names: tuple[str, ...]
    normal: str | None
    table: pd.DataFrame
    labels: pd.DataFrame
    together: pd.DataFrame
    people: pd.DataFrame
    tests: pd.DataFrame
    tested: int
    missing: pd.DataFrame
    problems: pd.DataFrame
    copies: pd.DataFrame
    intensities: Intensities | None
    examples: dict[str, np.ndarray]
    thumbnails: dict[int, np.ndarray]
    size: int | None  # pixels of the prepared images, None where none were looked at
    seed: int
    task: str
    official_split: bool
    patients_known: bool
    notes: tuple[str, ...]

    def summary(self) -> dict[str, Any]:
        """Counts and statistics as plain values for JSON, NaN as None."""
        reasons = self.problems["kind"].value_counts()
        return {
            "dataset": self.name,
            "images": len(self.table),
            "images_looked_at": int((self.table["digest"] != "").sum()),
            "patients": int(self.table["patient"].nunique()) if self.patients_known else None,
            "split": {name: int((self.table["split"] == name).sum()) for name in SPLITS},
            "official_split": self.official_split,
            "seed": self.seed,
            "task": self.task,
            "labels": to_plain(self.labels.to_dict("records")),
            "together": {str(a): {str(b): int(n) for b, n in row.items()} for a, row in self.together.iterrows()},
            "people": to_plain(self.people.to_dict("records")),
            "association_images": self.tested,
            "associations": to_plain(self.tests.to_dict("records")),
            "missing_values": to_plain(self.missing.to_dict("records")),
            "problems": {str(kind): int(count) for kind, count in reasons.items()},
            "identical_images": len(self.copies),
            "intensities": None
            if self.intensities is None
            else to_plain(self.intensities.table(self.table[list(self.names)]).to_dict("records")),
            "notes": list(self.notes),
        }


def explore(
    name: str,
    listing: Listing,
    *,
    task: TaskKind,
    size: int,
    seed: int,
    look: bool = True,
    sample: int = SAMPLE,
) -> Exploration:
    """Explore a dataset.

    Args:
        name: of the dataset, in the page and the store's folder.
        listing: what its tables say.
        task: for which a split is drawn if the dataset has none.
        size: pixels that images are prepared at.
        seed: of the split, and of the images drawn for tests, gray values and examples.
        look: whether to read the images that are there.
        sample: images whose gray values are read.

    Raises:
        DataError: the task cannot be served, or there is nothing to split.
    """
    records = listing.records
    found = prepare_listed(listing, size, name, look=look)
    table = records.table.reset_index(drop=True)
    table = table.assign(digest=found.digests, reason=np.where(listing.present, found.reasons, "no image file"))
    bad = table[found.reasons != ""]
    unreadable = pd.DataFrame({"kind": "unreadable", "image": bad["image"], "detail": bad["reason"]})
    problems = pd.concat([listing.faults, unreadable], ignore_index=True) if len(bad) else listing.faults
    table["split"] = _splits(table, listing, task, seed, some=bool(listing.present.any()))
    names = list(records.labels)
    free = one_image_per_patient(table["patient"].to_numpy(), seed)
    intensities, examples, thumbnails = None, {}, {}
    if found.looked:
        intensities = measure(records.source, table["path"].tolist(), found, seed, sample)
        examples = _examples(table.iloc[found.readable], names, records.normal, seed)
        thumbnails = {int(row): np.asarray(found[row]) for rows in examples.values() for row in rows}
    return Exploration(
        name=name,
        names=tuple(names),
        normal=records.normal,
        table=table,
        labels=count_labels(table, names, records.normal, records.pathologies),
        together=together(table[names]),
        people=people(table),
        tests=associations(table[free], names),
        tested=int(free.sum()),
        missing=missing_values(table, names),
        problems=problems.reset_index(drop=True),
        copies=copies(table),
        intensities=intensities,
        examples=examples,
        thumbnails=thumbnails,
        size=size if found.looked else None,
        seed=seed,
        task=task,
        official_split=records.official_split,
        patients_known=records.patients_known,
        notes=records.notes,
    )


def _splits(table: pd.DataFrame, listing: Listing, task: TaskKind, seed: int, some: bool) -> np.ndarray:
    """The split that `zoo train` would use, "" for unusable images; of all rows if there are no images at all."""
    targets = make_targets(listing.records, task)
    usable = targets.usable & ((table["reason"] == "").to_numpy() | (not some))
    if "split" in table:
        usable &= table["split"].notna().to_numpy()
    rows = np.flatnonzero(usable)
    digests = table["digest"].where(table["digest"] != "", "no digest " + table["image"]).to_numpy()[rows]
    groups = join_groups(table["patient"].to_numpy()[rows], digests)
    published = table["split"].to_numpy()[rows] if "split" in table else None
    split = np.full(len(table), "", dtype=object)
    split[rows] = assign(published, groups, targets.labels[rows], seed=seed)
    return split


def count_labels(
    table: pd.DataFrame, names: list[str], normal: str | None, pathologies: Sequence[str] | None = None
) -> pd.DataFrame:
    """Per finding, and for images without any: images with it, images where it is known, their share, patients; then by split.

    With `pathologies` images without any of these are normal, whatever else they have.
    """
    values = table[names]
    columns = {name: values[name] for name in names}
    if normal is not None:
        sick = values if pathologies is None else table[list(pathologies)]
        none = (sick == 0).all(axis=1).astype(float)
        columns[normal] = none.mask(sick.isna().any(axis=1) & ~(sick == 1).any(axis=1))
    rows = []
    for name, column in columns.items():
        row: dict[str, Any] = {"label": name, **_count(column), "patients": table.loc[column == 1, "patient"].nunique()}
        for split in SPLITS:
            row |= {f"{split}_{k}": v for k, v in _count(column[table["split"] == split]).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _count(column: pd.Series) -> dict[str, Any]:
    known = int(column.notna().sum())
    images = int((column == 1).sum())
    return {"images": images, "known": known, "share": images / known if known else float("nan")}


def together(values: pd.DataFrame) -> pd.DataFrame:
    """How many images have both of two findings; on the diagonal those that have the one."""
    present = (values == 1).to_numpy(dtype=np.int64)
    return pd.DataFrame(present.T @ present, index=values.columns, columns=values.columns)


def people(table: pd.DataFrame) -> pd.DataFrame:
    """Per split: images, patients, median age and its quartiles, shares of women and of each view, median follow-up."""
    rows = []
    for split in ("", *SPLITS):
        own = table if split == "" else table[table["split"] == split]
        if own.empty:
            continue
        row: dict[str, Any] = {"split": split or "all", "images": len(own), "patients": own["patient"].nunique()}
        if "age" in own:
            row |= dict(zip(("age_median", "age_q25", "age_q75"), own["age"].quantile([0.5, 0.25, 0.75]), strict=True))
        if "sex" in own:
            row["female"] = float((own["sex"].dropna() == "F").mean())
        if "view" in own:
            shares = own["view"].value_counts(normalize=True).sort_index()
            row |= {f"view_{view}": float(share) for view, share in shares.items()}
        if "follow_up" in own:
            row["follow_up_median"] = float(own["follow_up"].median())
        rows.append(row)
    return pd.DataFrame(rows)


def missing_values(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Per column of the records that the dataset has: empty cells and their share; for labels those that are unknown."""
    columns = [c for c in ("patient", *METADATA) if c in table] + names
    counts = [int(table[c].isna().sum()) for c in columns]
    return pd.DataFrame({"column": columns, "missing": counts, "share": [n / len(table) for n in counts]})


def copies(table: pd.DataFrame) -> pd.DataFrame:
    """Images that are equal pixel for pixel, one row per image: group, image, patient, split."""
    twice = table[(table["digest"] != "") & table["digest"].duplicated(keep=False)]
    group = pd.factorize(twice["digest"])[0] + 1
    found = twice[["image", "patient", "split"]].copy()
    found.insert(0, "group", group)
    return found.sort_values("group", kind="stable").reset_index(drop=True)


def _examples(table: pd.DataFrame, names: list[str], normal: str | None, seed: int) -> dict[str, np.ndarray]:
    """Rows of a few images of each finding, of different patients, drawn with the seed."""
    shuffled = table.iloc[np.random.default_rng(seed).permutation(len(table))]
    values = shuffled[names]
    groups = {name: values[name] == 1 for name in names}
    if normal is not None:
        groups[normal] = (values == 0).all(axis=1)
    return {
        name: shuffled[chosen].drop_duplicates("patient").index.to_numpy()[:EXAMPLES]
        for name, chosen in groups.items()
        if chosen.any()
    }
