"""Many runs side by side: read from their saved evaluations, kept apart where they cannot be compared, ranked.

A ranking shows the values and intervals that the runs stored, so thousands of runs take seconds; the paired differences
to the best one need the predictions and are made for the first few only.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.tasks import Task
from zoo.core.text import listed
from zoo.evaluation.comparison import Comparison, compare, corrected, differences, measure
from zoo.evaluation.interval import UNDEFINED, Interval
from zoo.evaluation.serialise import to_csv, to_plain
from zoo.runs.run import Run

CHOSEN = ("recipe", "loss", "augment", "optimizer", "schedule", "epochs", "batch_size")  # of a run's configuration


@dataclass(frozen=True)
class Entry:
    """A finished run's saved result: one metric on one split, over all labels and for each.

    `protocol` is "published" or "drawn", the origin of the split. The digests identify the images and their labels.
    """

    name: str
    path: Path
    task: Task
    model: str
    image_size: int
    seed: int
    seconds: float
    dataset: str
    protocol: str
    split: str
    metric: str
    images: int
    patients: int
    value: Interval
    per_label: dict[str, Interval]
    images_digest: str
    labels_digest: str

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for runs that may be ranked in one table."""
        return (self.task, self.split, self.protocol, self.images_digest, self.labels_digest)


@dataclass(frozen=True)
class Found:
    """Finished runs; the names of runs without a result, with their status; and of unreadable runs, with the reason."""

    entries: tuple[Entry, ...]
    unfinished: dict[str, str]
    damaged: dict[str, str]


@dataclass(frozen=True)
class Board:
    """Comparable runs, best first; `comparisons` are each of the next runs minus the best one, as far as was asked."""

    entries: tuple[Entry, ...]
    comparisons: tuple[Comparison, ...]
    replicates: int
    level: float
    seed: int

    def comparison(self, rank: int) -> Comparison | None:
        """Of the run at a rank, counted from 0, with the best; None for the best itself and where none was made."""
        return self.comparisons[rank - 1] if 0 < rank <= len(self.comparisons) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None: `runs`, each with what its configuration chose and its comparison."""
        runs = [
            {"rank": rank + 1, **to_plain(entry), **_chosen(entry.path), "comparison": to_plain(self.comparison(rank))}
            for rank, entry in enumerate(self.entries)
        ]
        return {"replicates": self.replicates, "level": self.level, "seed": self.seed, "runs": runs}


def boards_csv(boards: Sequence[Board]) -> str:
    """One row per run with everything: rank within its group, what the run is, its metric, and the difference to the best;
    then the metric and its interval for each label. Undefined and not computed are empty cells.
    """
    return to_csv(
        _cells(number, board, rank) for number, board in enumerate(boards, 1) for rank in range(len(board.entries))
    )


def _cells(group: int, board: Board, rank: int) -> dict[str, Any]:
    entry, compared = board.entries[rank], board.comparison(rank)
    cells: dict[str, Any] = {"group": group, "rank": rank + 1, **vars(entry), **_chosen(entry.path)}
    labels = cells.pop("per_label")
    cells |= {"task": entry.task.kind, "labels": "|".join(entry.task.labels)}
    cells["compared_with"] = compared.second if compared else None
    cells["difference"] = compared.overall.difference if compared else UNDEFINED
    cells |= {name: getattr(compared.overall, name) if compared else None for name in ("p", "p_holm", "p_delong")}
    return cells | ({f"label:{label}": found for label, found in labels.items()} if len(labels) > 1 else {})


def read(references: Sequence[str], runs_dir: Path, split: str, metric: str) -> Found:
    """Read the runs that a user means: names, paths or patterns; all runs of the folder where nothing is given.

    Raises:
        UsageError: a name or pattern fits no run.
        DataError: a run given by name cannot be read.
    """
    named = [each for each in references if not _is_pattern(each)]
    paths = [Run.find(each, runs_dir).path for each in named]
    strict = {os.path.realpath(path) for path in paths}
    if not references:
        paths = _runs_in(runs_dir)
    for pattern in references:
        if _is_pattern(pattern):
            paths += _matching(pattern, runs_dir)
    entries: list[Entry] = []
    unfinished: dict[str, str] = {}
    damaged: dict[str, str] = {}
    for real, path in {os.path.realpath(path): path for path in paths}.items():
        try:
            entry = read_entry(path, split, metric)
        except DataError as error:
            if real in strict:
                raise
            damaged[os.path.basename(real)] = str(error)
        else:
            if isinstance(entry, Entry):
                entries.append(entry)
            else:
                unfinished[os.path.basename(real)] = entry
    return Found(_with_distinct_names(entries), unfinished, damaged)


def _is_pattern(reference: str) -> bool:
    return any(sign in reference for sign in "*?[") and not os.path.exists(reference)


def _runs_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    return [path for name in names if os.path.isfile((path := folder / name) / "config.yaml")]


def _matching(pattern: str, runs_dir: Path) -> list[Path]:
    for each in (pattern, os.path.join(runs_dir, pattern)):
        runs = [Path(path) for path in sorted(glob.glob(each)) if os.path.isfile(os.path.join(path, "config.yaml"))]
        if runs:
            return runs
    there = len(_runs_in(runs_dir))
    raise UsageError(f"no run matches '{pattern}'. {there} run(s) lie in {runs_dir}; --runs-dir names another folder.")


def _with_distinct_names(entries: list[Entry]) -> tuple[Entry, ...]:
    """Runs of one name in different folders are shown by their paths."""
    count = Counter(entry.name for entry in entries)
    return tuple(dataclasses.replace(e, name=str(e.path)) if count[e.name] > 1 else e for e in entries)


def read_entry(path: Path, split: str, metric: str) -> Entry | str:
    """One run's saved result, or its status where it has none on the split: "running", "failed".

    Raises:
        DataError: a file of it is damaged.
    """
    file = os.path.join(path, f"evaluation-{split}.json")
    try:
        info = _json(os.path.join(path, "run.json"))
        status = str(info.get("status"))
        if status != "complete":
            return status
        if not os.path.exists(file):
            return f"no results on {split} images"
        data, found = _json(os.path.join(path, "data.json")), _json(file)
        task = Task(found["task"]["kind"], tuple(found["task"]["labels"]))
        return Entry(
            name=os.path.basename(os.path.realpath(path)),
            path=path,
            task=task,
            model=str(info.get("model", "")),
            image_size=int(info.get("image_size") or 0),
            seed=int(found["seed"]),
            seconds=float(info.get("seconds", math.nan)),
            dataset=str(data.get("dataset", "")),
            protocol=str(data["split"]),
            split=split,
            metric=metric,
            images=int(found["images"]),
            patients=int(found["patients"]),
            value=Interval.from_dict(found["averages"]["macro"][metric]),
            per_label={label: Interval.from_dict(found["per_label"][label][metric]) for label in task.labels},
            images_digest=str(found["images_digest"]),
            labels_digest=str(found["labels_digest"]),
        )
    except (OSError, ValueError, TypeError, KeyError, ZooError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the run {path} cannot be read: {what}") from error


def _json(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        return dict(json.loads(file.read()))


def _chosen(path: Path) -> dict[str, Any]:
    """What a run's configuration chose; empty values where it cannot be read."""
    import yaml

    try:
        # the C loader is ten times as fast; PyYAML may have been built without it
        config = yaml.load((path / "config.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        config = config if isinstance(config, dict) else {}
    except (OSError, ValueError, yaml.YAMLError):
        config = {}
    values = {name: config.get(name) for name in CHOSEN}
    return {name: value.get("name") if isinstance(value, dict) else value for name, value in values.items()}


def comparable(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The runs in groups that may be ranked in one table, the largest group first."""
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.key, []).append(entry)
    return sorted(groups.values(), key=len, reverse=True)


def incomparable(groups: Sequence[Sequence[Entry]]) -> UsageError:
    """The error that runs of several groups are not ranked in one table: which runs differ from most in what, what to do."""
    reference = groups[0][0]
    parts = [_against(group, reference) for group in groups[1:4]]
    if len(groups) > 4:
        parts.append(f"and {len(groups) - 4} more groups that differ")
    total = sum(len(group) for group in groups)
    together = f"{listed([e.name for e in groups[0]], 3)} belong together, but " if len(groups[0]) > 1 else ""
    return UsageError(
        f"these {total:,} runs cannot be ranked in one table: {together}{'; '.join(parts)}. "
        "Rank each group on its own with --group, or name only runs that belong together."
    )


def _against(group: Sequence[Entry], reference: Entry) -> str:
    first = group[0]
    found = []
    if first.protocol != reference.protocol:
        found.append(f"{first.name} has a {first.protocol} split, {reference.name} a {reference.protocol} one")
    try:
        a, b = (Run(each.path).predictions(each.split) for each in (first, reference))
        found = differences(first.name, a, reference.name, b) + found
    except ZooError:  # the predictions are gone: the digests still show what differs
        if first.task != reference.task:
            found.append(f"{first.name} predicts {first.task}, {reference.name} {reference.task}")
        if first.images_digest != reference.images_digest:
            found.append(f"{first.name} was measured on other images ({first.images:,}, not {reference.images:,})")
        elif first.labels_digest != reference.labels_digest:
            found.append(f"{first.name} has other labels of the same images")
    alike = f" (likewise {listed([e.name for e in group[1:]], 3)})" if len(group) > 1 else ""
    return f"{', and '.join(found)}{alike}"


def rank(
    entries: Sequence[Entry], *, top: int = 10, replicates: int = 1000, level: float = 0.95, seed: int = 0
) -> Board:
    """Sort comparable runs by their metric, higher first and undefined last, and compare the first `top` with the best.

    Raises:
        ZooError: the predictions of one of the first runs cannot be read.
    """
    if len({entry.key for entry in entries}) != 1:
        raise ValueError("these runs do not belong into one table: see `comparable`")
    ranked = sorted(entries, key=lambda e: (math.isnan(e.value.value), -e.value.value, e.name))

    def measured(entry: Entry) -> Any:
        run = Run(entry.path)
        thresholds = run.info().get("thresholds")
        images = run.predictions(entry.split)
        return measure(entry.name, images, entry.metric, thresholds, replicates=replicates, seed=seed)

    comparisons: list[Comparison] = []
    if len(ranked) > 1 and top > 1:
        best = measured(ranked[0])
        comparisons = [compare(measured(entry), best, level=level) for entry in ranked[1:top]]
    return Board(tuple(ranked), corrected(comparisons), replicates, level, seed)
