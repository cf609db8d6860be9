"""From a configuration to images ready for training: read, limit, project, prepare, split, check."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.config.run_config import RunConfig
from zoo.core.calls import call
from zoo.core.contracts import LabelCounts
from zoo.core.errors import DataError, UsageError
from zoo.core.records import METADATA, SPLITS, Records
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.core.text import is_unicode, printable
from zoo.data.balance import Balance, repeat_factors
from zoo.data.split import assign, check_leaks, join_groups, limit_images
from zoo.data.store import Store, prepare
from zoo.data.targets import Targets, make_targets
from zoo.data.where import filter_records

logger = logging.getLogger(__name__)

NOT_UNICODE = "the file name is not Unicode (UTF-8)"


@dataclass(frozen=True)
class ImageSet:
    """Images ready for a network.

    `table` has a row per image (image, patient, split and metadata), with `labels` `(N, outputs)` and `rows`, the rows of its
    pixels in `store.images`. `set_aside` lists the other images with the reason; `filtered_out` counts those that the filter
    `where` removed before, `limited_out` those that `limit` did. Training labels follow the setting `uncertain` (.5 for half),
    the others are 1, 0 or NaN. Where patients are not known, `table` has
    what stands for them in a split, `kept_table` none. `certain` counts the training labels that are known, where that setting
    fills in others.
    `balance` says how often each training image is shown, if not once.
    """

    task: Task
    table: pd.DataFrame
    labels: np.ndarray
    rows: np.ndarray
    store: Store
    set_aside: pd.DataFrame
    notes: tuple[str, ...]
    official_split: bool
    patients_known: bool = True
    filtered_out: int = 0
    limited_out: int = 0
    certain: LabelCounts | None = None
    balance: Balance | None = None

    def of(self, split: str) -> np.ndarray:
        """Row numbers (into `table` and `labels`) of one split."""
        return np.flatnonzero(self.table["split"].to_numpy() == split)

    @property
    def kept_table(self) -> pd.DataFrame:
        """`table` as runs keep it: the patient is blank where it is not known."""
        return self.table if self.patients_known else self.table.assign(patient="")

    def count_labels(self, split: str, balance: Balance | None = None) -> LabelCounts:
        """How often each label is 1 and 0 in one split; with `balance`, training images count as often as an epoch shows them."""
        labels = self.labels[self.of(split)]
        shown = np.ones((len(labels), 1)) if balance is None else balance.factors[:, None]
        return LabelCounts(((labels == 1) * shown).sum(axis=0), ((labels == 0) * shown).sum(axis=0))


def read_records(config: RunConfig, registry: Registry) -> Records:
    """Read the configured dataset and apply `where` and `limit`, in this order."""
    root = None if config.root is None else Path(config.root)
    if root is not None and not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"--root {root} {what}.", registry.get("dataset", config.data.name).info.layout)
    records: Records = call(registry.get("dataset", config.data.name).read, root, config.data.options)
    records = with_writable_names(records)
    if config.settings.where is not None:
        records = filter_records(records, config.settings.where)
    if config.settings.limit is None:
        return records
    kept = records.take(limit_images(records.table, config.settings.limit, config.settings.seed))
    return replace(kept, limited_out=len(records) - len(kept))


def with_writable_names(records: Records) -> Records:
    """Set aside images whose file name is not Unicode: no table could name them.

    Raises:
        DataError: the name of a finding is not Unicode.
    """
    for label in records.labels:
        if not is_unicode(label):
            raise DataError(f"the name of the finding '{label}' is not Unicode (UTF-8): rename its folder or column.")
    names = records.table["image"].to_numpy()
    good = np.array([is_unicode(name) for name in names], dtype=bool)
    if good.all():
        return records
    aside = pd.DataFrame({"image": [printable(name) for name in names[~good]], "reason": NOT_UNICODE})
    kept = records.take(np.flatnonzero(good))
    return replace(kept, set_aside=pd.concat([records.set_aside, aside], ignore_index=True))


def load_images(config: RunConfig, registry: Registry) -> ImageSet:
    """Read, project, prepare, split and check the images of a configuration: everything before training.

    Raises:
        UsageError, DataError: the data do not fit this configuration; the message gives the reason.
    """
    settings = config.settings
    records = read_records(config, registry)
    for note in records.notes:
        logger.info(note)
    targets = make_targets(records, settings.task, findings=settings.findings, uncertain=settings.uncertain)
    store = prepare(records, int(settings.image_size or 0), name=config.data.name)
    images = _usable(records, targets, store)
    images = _split(images, records, targets, config)
    _log_notes(images)
    images = _with_certain(images, targets, settings.uncertain)
    _check_batches(images, settings.batch_size)
    _check_classes(images)
    _check_validation(images, settings.monitor)
    return _balanced(images, config)


def _balanced(images: ImageSet, config: RunConfig) -> ImageSet:
    settings = config.settings
    if settings.balance == "none":
        return images
    balance = repeat_factors(images.task, images.labels[images.of("train")], settings.balance_threshold)
    for line in balance.lines():
        logger.info(line)
    return replace(images, balance=balance)


def _log_notes(images: ImageSet) -> None:
    for note in images.notes:
        logger.info(note)
    if len(images.set_aside):
        most = images.set_aside["reason"].value_counts().index[0]
        logger.warning(f"{len(images.set_aside):,} images set aside (most often: {most})")


def load_all(records: Records, targets: Targets, size: int, name: str) -> ImageSet:
    """All usable images of a dataset as one test split, for evaluating a trained network on it."""
    for note in records.notes:
        logger.info(note)
    images = _usable(records, targets, prepare(records, size, name=name))
    images.table["split"] = "test"
    _log_notes(images)
    return images


def _usable(records: Records, targets: Targets, store: Store) -> ImageSet:
    reasons = np.where(store.table["reason"] != "", store.table["reason"], targets.reasons).astype(object)
    keep = np.flatnonzero(reasons == "")
    first = ["image", "patient", *(c for c in ("split", *METADATA) if c in records.table)]
    columns = [*first, *(c for c in records.table if c not in (*first, "path", *records.labels))]
    dropped = np.flatnonzero(reasons != "")
    aside = pd.DataFrame({"image": records.table["image"].to_numpy()[dropped], "reason": reasons[dropped]})
    notes = []
    normalised = int((store.table["note"].to_numpy()[keep] != "").sum())
    if normalised:
        notes.append(
            f"{normalised:,} images were normalised (DICOM, 16-bit, colour or alpha channel); see images.csv in the store."
        )
    if not len(keep):
        raise DataError(
            f"none of the {len(records):,} images can be used; the first, {aside['image'][0]}: {aside['reason'][0]}."
        )
    return ImageSet(
        task=targets.task,
        table=records.table.iloc[keep][columns].reset_index(drop=True),
        labels=targets.labels[keep],
        rows=keep,
        store=store,
        set_aside=pd.concat([records.set_aside[["image", "reason"]], aside], ignore_index=True).astype(object),
        notes=tuple(notes),
        official_split=records.official_split,
        patients_known=records.patients_known,
        filtered_out=records.filtered_out,
        limited_out=records.limited_out,
    )


def _split(images: ImageSet, records: Records, targets: Targets, config: RunConfig) -> ImageSet:
    certain = ~targets.training_only[images.rows]
    published = images.table["split"].to_numpy() if "split" in images.table else None
    _check_published(images, records, certain)
    if published is None or not (published[certain] == "test").any():
        images = replace(images, official_split=False)  # whatever the lists say: the test images are drawn
    images.table["split"] = _drawn(images, certain, published, config)
    images = _with_training_labels(images, targets)
    digests = images.store.table["digest"].to_numpy()[images.rows]
    copies = check_leaks(images.table["split"].to_numpy(), images.table, digests)
    if copies.any():
        images = _without_copies(images, copies, config.settings.drop_leaks)
    sizes = {name: len(images.of(name)) for name in SPLITS}
    patients = {name: images.table.loc[images.table["split"] == name, "patient"].nunique() for name in SPLITS}
    for name, size in sizes.items():
        if not size:
            raise DataError(
                f"the {name} split is empty ({len(images.table):,} usable images in all): too few images or patients to "
                "split. Use more images (a larger --limit), or other val_fraction and test_fraction."
            )
    kind = "the published lists" if images.official_split else f"drawn by {_unit(records)}, seed {config.settings.seed}"
    shares = ", ".join(f"{sizes[n]:,} {n}" for n in SPLITS)
    of = f" of {sum(patients.values()):,} patients" if records.patients_known else ""
    logger.info(f"Split: {shares} images{of} ({kind})")
    return images


def _drawn(images: ImageSet, certain: np.ndarray, published: np.ndarray | None, config: RunConfig) -> np.ndarray:
    """The split of every image. Images whose label a policy fills in do not influence it, so that all policies share one split:
    they follow the lists or the other images of their patient, else they go to training.
    """
    settings = config.settings
    digests = images.store.table["digest"].to_numpy()[images.rows]
    patients = images.table["patient"].to_numpy()
    split = np.full(len(patients), "train", dtype=object)
    split[certain] = assign(
        None if published is None else published[certain],
        join_groups(patients[certain], digests[certain]),
        images.labels[certain],
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


def _check_published(images: ImageSet, records: Records, certain: np.ndarray) -> None:
    """A published split of which no image can be used must not be replaced silently by a drawn one."""
    for name in ("val", "test"):
        listed = int((records.table["split"] == name).sum()) if "split" in records.table else 0
        if listed and not (images.table["split"][certain] == name).any():
            reasons = images.set_aside["reason"].value_counts()
            raise DataError(
                f"none of the {listed:,} published {name} images can be used; most often: {reasons.index[0]}."
            )


def _unit(records: Records) -> str:
    return "patient" if records.patients_known else "image, since the patients are not known"


def _without_copies(images: ImageSet, copies: np.ndarray, drop: bool) -> ImageSet:
    count, example = int(copies.sum()), images.table["image"][int(np.flatnonzero(copies)[0])]
    if not drop:
        raise DataError(
            f"{count:,} training or validation image(s) are in a later split too, pixel for pixel, for example {example}: results "
            "on such a split would be too good. Use --drop-leaks to set aside the earlier copies, or correct the lists."
        )
    return _without(images, copies, "identical image in a later split")


def _without(images: ImageSet, which: np.ndarray, reason: str) -> ImageSet:
    """The images without those of a mask, which are set aside."""
    keep = np.flatnonzero(~which)
    aside = pd.DataFrame({"image": images.table["image"][which], "reason": reason})
    return replace(
        images,
        table=images.table.iloc[keep].reset_index(drop=True),
        labels=images.labels[keep],
        rows=images.rows[keep],
        set_aside=pd.concat([images.set_aside, aside], ignore_index=True),
    )


def _with_training_labels(images: ImageSet, targets: Targets) -> ImageSet:
    """Fill in uncertain labels by the policy, in training only: no guess may be measured in validation or test."""
    training = images.table["split"].to_numpy() == "train"
    labels = np.where(training[:, None], targets.training[images.rows], images.labels)
    unknown = targets.training_only[images.rows] & ~training
    images = replace(images, labels=labels)
    return (
        _without(images, unknown, "label unknown: the setting uncertain replaces it in training only")
        if unknown.any()
        else images
    )


def _with_certain(images: ImageSet, targets: Targets, policy: str) -> ImageSet:
    """The images with the number of training labels that are known; says how many the policy fills in."""
    if policy == "ignore":
        return images
    rows = images.rows[images.of("train")]
    answered = np.isnan(targets.labels[rows]) & ~np.isnan(targets.training[rows])
    value = {"zero": "0", "one": "1", "half": "1/2"}[policy]
    logger.info(
        f"Uncertain labels: {int(answered.sum()):,} of {answered.size:,} training labels, on {int(answered.any(axis=1).sum()):,} "
        f"images, count as {value}; in validation and test they stay unknown"
    )
    known = targets.labels[rows]
    return replace(images, certain=LabelCounts((known == 1).sum(axis=0), (known == 0).sum(axis=0)))


def _check_batches(images: ImageSet, batch_size: int) -> None:
    training = len(images.of("train"))
    if batch_size > training:
        raise UsageError(
            f"batch size {batch_size} is larger than the {training:,} training images: use --batch-size {training} or less."
        )


def _check_validation(images: ImageSet, monitor: str) -> None:
    """Refuse to pick the best epoch by a metric that the validation images leave undefined."""
    validation = images.count_labels("val")
    if monitor not in ("val_loss", "val_accuracy") and not (validation.positive * validation.negative).any():
        raise DataError(
            f"{monitor} is undefined: the {len(images.of('val')):,} validation images are all of one class. Use more images, a "
            "larger --set val_fraction=0.2, or --monitor val_loss."
        )


def _check_classes(images: ImageSet) -> None:
    """Refuse what cannot be learned; warn of labels that cannot."""
    counts = images.count_labels("train")
    labels = np.array(images.task.labels)
    if images.task.kind == "binary":
        if not counts.positive[0] or not counts.negative[0]:
            only = "normal" if not counts.positive[0] else "abnormal"
            raise DataError(
                f"all {len(images.of('train')):,} training images are {only}: there is nothing to learn. Use more images "
                "(a larger --limit), or correct the split."
            )
        return
    never = labels[counts.positive == 0]
    if len(never) == len(labels):
        raise DataError(f"no training image has any of the labels {', '.join(labels)}: there is nothing to learn.")
    if len(never) and images.task.exclusive:
        raise DataError(f"no training image is of the class {', '.join(never)}: use more images, or correct the split.")
    if len(never):
        logger.warning(f"never positive in training, so not learned: {', '.join(never)}")
