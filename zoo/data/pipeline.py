"""The whole way from a configuration to films ready for training: read, limit, project, prepare, split, check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.config import RunConfig
from zoo.contracts import LabelCounts
from zoo.data.balance import Balance, repeat_factors
from zoo.data.records import METADATA, SPLITS, Records
from zoo.data.split import assign, check_leaks, join_groups, limit_films
from zoo.data.store import Store, prepare
from zoo.data.targets import Targets, make_targets
from zoo.data.where import filter_records
from zoo.errors import DataError, UsageError
from zoo.registry import Registry
from zoo.tasks import Task

Say = Callable[[str], None]


@dataclass(frozen=True)
class Films:
    """Films ready for a network.

    `table` has a row per film (image, patient, split and what else is known), `labels` `(N, outputs)` belong to it, and
    `rows` say where each film's pixels lie in `store.images`. `set_aside` lists the others with the reason; `filtered_out`
    counts those that the filter `where` left out before. Training labels are as the setting `uncertain` has them (.5
    among them for half), the others 1, 0 or NaN. `balance` says how often each training film is shown, where not once.
    """

    task: Task
    table: pd.DataFrame
    labels: np.ndarray
    rows: np.ndarray
    store: Store
    set_aside: pd.DataFrame
    notes: tuple[str, ...]
    official_split: bool
    filtered_out: int = 0
    balance: Balance | None = None

    def of(self, split: str) -> np.ndarray:
        """Row numbers (into `table` and `labels`) of one split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    def counts(self, split: str, balance: Balance | None = None) -> LabelCounts:
        """How often each label is 1 and 0 in one split; with a balance, of the training films, as often as an epoch shows them."""
        labels = self.labels[self.of(split)]
        shown = np.ones((len(labels), 1)) if balance is None else balance.factors[:, None]
        return LabelCounts(((labels == 1) * shown).sum(axis=0), ((labels == 0) * shown).sum(axis=0))


def read_records(config: RunConfig, registry: Registry) -> Records:
    """Read the configured dataset and apply `where` and `limit`, in this order."""
    root = None if config.root is None else Path(config.root)
    if root is not None and not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"--root {root} {what}. {registry.get('dataset', config.data.name).info.layout}".strip())
    records: Records = registry.get("dataset", config.data.name).read(root, config.data.options)
    records = with_writable_names(records)
    if config.settings.where is not None:
        records = filter_records(records, config.settings.where)
    if config.settings.limit is None:
        return records
    return records.take(limit_films(records.table, config.settings.limit, config.settings.seed))


def with_writable_names(records: Records) -> Records:
    """Set aside films whose file name is not Unicode: no table could name them again."""
    escaped = [name.encode("utf-8", "backslashreplace").decode() for name in records.table["image"]]
    good = records.table["image"].to_numpy() == np.array(escaped, dtype=object)
    if good.all():
        return records
    names = np.array(escaped, dtype=object)[~good]
    aside = pd.DataFrame({"image": names, "reason": "the file name is not Unicode (UTF-8)"})
    kept = records.take(np.flatnonzero(good))
    return replace(kept, set_aside=pd.concat([records.set_aside, aside], ignore_index=True))


def load_films(config: RunConfig, registry: Registry, say: Say) -> Films:
    """Everything before training. Lines a user should read go to `say`.

    Raises:
        UsageError, DataError: the data cannot serve this configuration; says why.
    """
    settings = config.settings
    records = read_records(config, registry)
    for note in records.notes:
        say(note)
    targets = make_targets(records, settings.task, findings=settings.findings, uncertain=settings.uncertain)
    store = prepare(records, int(settings.image_size or 0), name=config.data.name, say=say)
    films = _usable(records, targets, store)
    films = _split(films, records, targets, config, say)
    _tell(films, say)
    _tell_uncertain(films, targets, settings.uncertain, say)
    _check_batches(films, settings.batch_size)
    _check_classes(films, say)
    _check_validation(films, settings.monitor)
    return _balanced(films, config, say)


def _balanced(films: Films, config: RunConfig, say: Say) -> Films:
    settings = config.settings
    if settings.balance == "none":
        return films
    balance = repeat_factors(films.task, films.labels[films.of("train")], settings.balance_threshold)
    for line in balance.lines():
        say(line)
    return replace(films, balance=balance)


def _tell(films: Films, say: Say) -> None:
    for note in films.notes:
        say(note)
    if len(films.set_aside):
        most = films.set_aside["reason"].value_counts().index[0]
        say(f"{len(films.set_aside):,} films set aside (most often: {most})")


def load_all(records: Records, targets: Targets, size: int, name: str, say: Say) -> Films:
    """All usable films of a dataset as one test split, for evaluating a trained network on it."""
    for note in records.notes:
        say(note)
    films = _usable(records, targets, prepare(records, size, name=name, say=say))
    films.table["split"] = "test"
    _tell(films, say)
    return films


def _usable(records: Records, targets: Targets, store: Store) -> Films:
    reasons = np.where(store.films["reason"] != "", store.films["reason"], targets.reasons).astype(object)
    keep = np.flatnonzero(reasons == "")
    first = ["image", "patient", *(c for c in ("split", *METADATA) if c in records.table)]
    columns = [*first, *(c for c in records.table if c not in (*first, "path", *records.labels))]
    dropped = np.flatnonzero(reasons != "")
    aside = pd.DataFrame({"image": records.table["image"].to_numpy()[dropped], "reason": reasons[dropped]})
    notes = []
    normalised = int((store.films["note"].to_numpy()[keep] != "").sum())
    if normalised:
        notes.append(
            f"{normalised:,} films were normalised (DICOM, 16-bit, colour or alpha channel); see films.csv in the store."
        )
    if not len(keep):
        raise DataError(
            f"none of the {len(records):,} films can be used; the first, {aside['image'][0]}: {aside['reason'][0]}."
        )
    return Films(
        task=targets.task,
        table=records.table.iloc[keep][columns].reset_index(drop=True),
        labels=targets.labels[keep],
        rows=keep,
        store=store,
        set_aside=pd.concat([records.set_aside[["image", "reason"]], aside], ignore_index=True).astype(object),
        notes=tuple(notes),
        official_split=records.official_split,
        filtered_out=records.filtered_out,
    )


def _split(films: Films, records: Records, targets: Targets, config: RunConfig, say: Say) -> Films:
    certain = ~targets.training_only[films.rows]
    published = films.table["split"].to_numpy() if "split" in films.table else None
    _check_published(films, records, certain)
    if published is None or not (published[certain] == "test").any():
        films = replace(films, official_split=False)  # whatever the lists say: the test films are drawn
    films.table["split"] = _drawn(films, certain, published, config)
    films = _with_training_labels(films, targets)
    digests = films.store.films["digest"].to_numpy()[films.rows]
    copies = check_leaks(films.table["split"].to_numpy(), films.table, digests)
    if copies.any():
        films = _without_copies(films, copies, config.settings.drop_leaks)
    sizes = {name: len(films.of(name)) for name in SPLITS}
    patients = {name: films.table.loc[films.table["split"] == name, "patient"].nunique() for name in SPLITS}
    for name, size in sizes.items():
        if not size:
            raise DataError(
                f"the {name} split is empty ({len(films.table):,} usable films in all): too few films or patients to "
                "split. Use more films (a larger --limit), or other val_fraction and test_fraction."
            )
    kind = "the published lists" if films.official_split else f"drawn by {_unit(records)}, seed {config.settings.seed}"
    shares = ", ".join(f"{sizes[n]:,} {n}" for n in SPLITS)
    of = f" of {sum(patients.values()):,} patients" if records.patients_known else ""
    say(f"Split: {shares} films{of} ({kind})")
    return films


def _drawn(films: Films, certain: np.ndarray, published: np.ndarray | None, config: RunConfig) -> np.ndarray:
    """The split of every film. Those whose label a policy answers have no say in it, so that all policies share one: they go
    where the lists or the other films of their patient are, and to training where there are none.
    """
    settings = config.settings
    digests = films.store.films["digest"].to_numpy()[films.rows]
    patients = films.table["patient"].to_numpy()
    split = np.full(len(patients), "train", dtype=object)
    split[certain] = assign(
        None if published is None else published[certain],
        join_groups(patients[certain], digests[certain]),
        films.labels[certain],
        seed=settings.seed,
        val_fraction=settings.val_fraction,
        test_fraction=settings.test_fraction,
    )
    if certain.all():
        return split
    groups = join_groups(patients, digests)
    pairs = list(zip(groups[certain], split[certain], strict=True))
    sides = {group: side for name in SPLITS for group, side in pairs if side == name}  # the latest, where there are two
    for i in np.flatnonzero(~certain):
        listed = None if published is None else published[i]
        split[i] = listed if listed in ("val", "test") else sides.get(groups[i], "train")
    return split


def _check_published(films: Films, records: Records, certain: np.ndarray) -> None:
    """A published split of which no film can be used must not be replaced by a drawn one in silence."""
    for name in ("val", "test"):
        listed = int((records.table["split"] == name).sum()) if "split" in records.table else 0
        if listed and not (films.table["split"][certain] == name).any():
            reasons = films.set_aside["reason"].value_counts()
            raise DataError(
                f"none of the {listed:,} published {name} films can be used; most often: {reasons.index[0]}."
            )


def _unit(records: Records) -> str:
    return "patient" if records.patients_known else "film, since the patients are not known"


def _without_copies(films: Films, copies: np.ndarray, drop: bool) -> Films:
    count, example = int(copies.sum()), films.table["image"][int(np.flatnonzero(copies)[0])]
    if not drop:
        raise DataError(
            f"{count:,} training or validation film(s) stand pixel for pixel in a later split too, for example {example}: results "
            "on such a split would be too good. Use --drop-leaks to set aside the earlier copies, or correct the lists."
        )
    return _without(films, copies, "identical film in a later split")


def _without(films: Films, which: np.ndarray, reason: str) -> Films:
    """The films with some of them, a bool per film, set aside."""
    keep = np.flatnonzero(~which)
    aside = pd.DataFrame({"image": films.table["image"][which], "reason": reason})
    return replace(
        films,
        table=films.table.iloc[keep].reset_index(drop=True),
        labels=films.labels[keep],
        rows=films.rows[keep],
        set_aside=pd.concat([films.set_aside, aside], ignore_index=True),
    )


def _with_training_labels(films: Films, targets: Targets) -> Films:
    """Labels made for training by the policy on uncertain ones; validation and test know them not, so that no guess is measured."""
    training = films.table["split"].to_numpy() == "train"
    labels = np.where(training[:, None], targets.training[films.rows], films.labels)
    unknown = targets.training_only[films.rows] & ~training
    films = replace(films, labels=labels)
    return (
        _without(films, unknown, "label unknown, which the setting uncertain answers in training alone")
        if unknown.any()
        else films
    )


def _tell_uncertain(films: Films, targets: Targets, policy: str, say: Say) -> None:
    if policy == "ignore":
        return
    rows = films.rows[films.of("train")]
    answered = np.isnan(targets.labels[rows]) & ~np.isnan(targets.training[rows])
    value = {"zero": "0", "one": "1", "half": "1/2"}[policy]
    say(
        f"Uncertain labels: {int(answered.sum()):,} of {answered.size:,} training labels, on {int(answered.any(axis=1).sum()):,} "
        f"films, count as {value}; in validation and test they stay unknown"
    )


def _check_batches(films: Films, batch_size: int) -> None:
    training = len(films.of("train"))
    if batch_size > training:
        raise UsageError(
            f"batch size {batch_size} is larger than the {training:,} training films: use --batch-size {training} or less."
        )


def _check_validation(films: Films, monitor: str) -> None:
    """Refuse to pick the best epoch by a metric that the validation films leave undefined."""
    validation = films.counts("val")
    if monitor not in ("val_loss", "val_accuracy") and not (validation.positive * validation.negative).any():
        raise DataError(
            f"{monitor} is undefined: the {len(films.of('val')):,} validation films are all of one class. Use more films, a "
            "larger --set val_fraction=0.2, or --monitor val_loss."
        )


def _check_classes(films: Films, say: Say) -> None:
    """Refuse what cannot be learned; say what can be learned only in part."""
    counts = films.counts("train")
    labels = np.array(films.task.labels)
    if films.task.kind == "binary":
        if not counts.positive[0] or not counts.negative[0]:
            only = "normal" if not counts.positive[0] else "abnormal"
            raise DataError(
                f"all {len(films.of('train')):,} training films are {only}: there is nothing to tell apart. Use more films "
                "(a larger --limit), or correct the split."
            )
        return
    never = labels[counts.positive == 0]
    if len(never) == len(labels):
        raise DataError(f"no training film has any of the labels {', '.join(labels)}: there is nothing to learn.")
    if len(never) and films.task.exclusive:
        raise DataError(f"no training film is of the class {', '.join(never)}: use more films, or correct the split.")
    if len(never):
        say(f"Note: never positive in training, so not learned: {', '.join(never)}")
