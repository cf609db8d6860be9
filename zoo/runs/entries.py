"""Finished runs with their saved results, as many are read at once: by names, paths and patterns."""

from __future__ import annotations

import dataclasses
import glob
import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.core.errors import DataError, UsageError
from zoo.core.tasks import Task
from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.comparison import WITHOUT_THRESHOLD
from zoo.evaluation.interval import Interval
from zoo.evaluation.notes import DOUBTS, Note
from zoo.runs.checks import check_files
from zoo.runs.current import current_evaluation
from zoo.runs.leaks import Leak, LeakFinder
from zoo.runs.results import stored_rule
from zoo.runs.run import Run


@dataclass(frozen=True)
class Entry:
    """A finished run's saved result: one metric on one split, over all labels and for each, and other metrics (`also`) over all.

    `protocol` is "published" or "drawn", the origin of the split. The digests identify the images and their labels. `thresholds`
    follow `rule`. `stale` if the saved results were of other predictions or thresholds than the run's and were computed again.
    `leaks` and `doubts` (notes of `DOUBTS`) put the value in doubt.
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
    patients_known: bool
    value: Interval
    per_label: dict[str, Interval]
    also: dict[str, Interval]
    images_digest: str
    labels_digest: str
    thresholds: dict[str, float]
    rule: ThresholdRule
    stale: bool
    leaks: tuple[Leak, ...]
    doubts: tuple[Note, ...]

    @property
    def at_thresholds(self) -> bool:
        """Whether a metric depends on thresholds."""
        return not {self.metric, *self.also} <= set(WITHOUT_THRESHOLD) and not self.task.exclusive

    @property
    def key(self) -> tuple[Any, ...]:
        """Equal for runs that may be ranked in one table."""
        rule = str(self.rule) if self.at_thresholds else ""
        return (self.task, self.split, self.protocol, self.images_digest, self.labels_digest, rule)


@dataclass(frozen=True)
class Found:
    """Finished runs; the names of runs without a result, with their status; and of unreadable runs, with the reason. `required` are
    the real paths of the runs that were named."""

    entries: tuple[Entry, ...]
    unfinished: dict[str, str]
    damaged: dict[str, str]
    required: frozenset[str] = frozenset()


def read(
    references: Sequence[str],
    runs_dir: Path,
    split: str,
    metric: str,
    *,
    also: Sequence[str] = (),
    rule: ThresholdRule | None = None,
    accept_changed: bool = False,
) -> Found:
    """Read the runs that a user means: names, paths or patterns; all runs of the folder where nothing is given.

    `also` are metrics to read beside the one that ranks. For `rule` and `accept_changed` see `zoo.runs.current.current_evaluation`.

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
    finder = LeakFinder()
    for real, path in {os.path.realpath(path): path for path in paths}.items():
        try:
            entry = read_entry(path, split, metric, finder, also=also, rule=rule, accept_changed=accept_changed)
        except DataError as error:
            if real in strict:
                raise
            damaged[os.path.basename(real)] = str(error)
        else:
            if isinstance(entry, Entry):
                entries.append(entry)
            else:
                unfinished[os.path.basename(real)] = entry
    return Found(_with_distinct_names(entries), unfinished, damaged, frozenset(strict))


def _is_pattern(reference: str) -> bool:
    return any(sign in reference for sign in "*?[") and not os.path.exists(reference)


def _runs_in(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        names = []
    return [path for name in names if _is_run(path := folder / name)]


def _is_run(folder: Path) -> bool:
    """Whether a folder is a run, a broken one included."""
    return folder.is_dir() and any(os.path.lexists(folder / name) for name in ("config.yaml", "run.json"))


def _matching(pattern: str, runs_dir: Path) -> list[Path]:
    for each in (pattern, os.path.join(runs_dir, pattern)):
        runs = [Path(path) for path in sorted(glob.glob(each)) if _is_run(Path(path))]
        if runs:
            return runs
    there = len(_runs_in(runs_dir))
    raise UsageError(f"no run matches '{pattern}'. {there} run(s) lie in {runs_dir}; --runs-dir names another folder.")


def _with_distinct_names(entries: list[Entry]) -> tuple[Entry, ...]:
    """Runs of one name in different folders are shown by their paths."""
    count = Counter(entry.name for entry in entries)
    return tuple(dataclasses.replace(e, name=str(e.path)) if count[e.name] > 1 else e for e in entries)


def read_entry(
    path: Path,
    split: str,
    metric: str,
    finder: LeakFinder,
    *,
    also: Sequence[str] = (),
    rule: ThresholdRule | None = None,
    accept_changed: bool = False,
) -> Entry | str:
    """One run's current result, or its status where it has none on the split: "running", "failed".

    Raises:
        DataError: a file of it is damaged or was changed.
    """
    run = Run(path)
    try:
        check_files(path)
        info = run.info()
        status = str(info.get("status"))
        if status != "complete":
            return status
        if not (path / f"evaluation-{split}.json").exists():
            return f"no results on {split} images"
        data = run.data()
        found, saved = current_evaluation(run, split, rule, accept_changed=accept_changed)
        return Entry(
            name=run.name,
            path=path,
            task=found.task,
            model=str(info.get("model", "")),
            image_size=int(info.get("image_size") or 0),
            seed=found.seed,
            seconds=float(info.get("seconds", math.nan)),
            dataset=str(data.get("dataset", "")),
            protocol=str(data["split"]),
            split=split,
            metric=metric,
            images=found.images,
            patients=found.patients,
            patients_known=found.patients_known,
            value=found.averages["macro"][metric],
            per_label={label: values[metric] for label, values in found.per_label.items()},
            also={name: found.averages["macro"][name] for name in also},
            images_digest=found.images_digest,
            labels_digest=found.labels_digest,
            thresholds=found.thresholds,
            rule=rule or found.rule or stored_rule(run),
            stale=not saved and rule is None,
            leaks=finder.find(path / "images.csv", split),
            doubts=tuple(note for note in found.notes if note.kind in DOUBTS),
        )
    except Exception as error:  # whatever a damaged run makes a reader raise must not end the others
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"the run {path} cannot be read: {what}") from error
