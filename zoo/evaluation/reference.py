"""Other reference labels: the same predictions measured against labels from elsewhere, such as those of an expert panel.

Labels mined from reports are wrong often enough to hide what a classifier can do, and to flatter one that has learnt their
errors (Oakden-Rayner 2020, Academic Radiology 27(1)).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.core.errors import DataError
from zoo.core.tables import column_key, read_table
from zoo.core.tasks import Task
from zoo.evaluation.agreement import cohen_kappa
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.interval import Interval
from zoo.evaluation.like_for_like import common_labels, headline_over
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

IMAGE_COLUMNS = ("image", "Image ID", "Image Index", "image_id", "image_index", "filename", "file", "path")
YES_NO = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0"), np.nan),
}
_ABNORMAL = "abnormal"
_NORMAL = ("nofinding", "normal", "negative", "healthy")
NO_FINDINGS = (
    *("patient", "patientid", "subject", "subjectid", "age", "patientage", "sex", "gender", "patientgender"),
    *("view", "viewposition", "followup", "split", "setid"),
)
FAIR = 0.4  # kappa; Landis & Koch 1977 call what is not above it at most fair


@dataclass(frozen=True)
class ReferenceComparison(Serialisable):
    """The same predictions against the run's own labels and against other reference labels.

    Both evaluations rest on the same images, and label by label on those where both references have a value.
    `own_mean` and `other_mean` are the headline AUROC over the `labels` where it is defined against either reference.
    `agreement[label]` has kappa (Cohen 1960; NaN where chance alone agrees fully), agree (the share of images with the same
    value), own_positive, other_positive and both (images positive), and images. `absent` are labels that the other
    reference does not have, `without` counts the run's images that are not in it, `left_out` its images whose classes are
    not exactly one (multiclass).
    """

    source: str
    images: int
    patients: int
    own: Evaluation
    other: Evaluation
    labels: tuple[str, ...]
    own_mean: Interval
    other_mean: Interval
    agreement: dict[str, dict[str, float]]
    absent: tuple[str, ...] = ()
    without: int = 0
    left_out: int = 0

    @property
    def kappas(self) -> dict[str, float]:
        """Cohen's kappa of each label where it is defined."""
        found = {label: agreement["kappa"] for label, agreement in self.agreement.items()}
        return {label: kappa for label, kappa in found.items() if not np.isnan(kappa)}


def read_reference(path: Path, task: Task) -> pd.DataFrame:
    """Read reference labels: a CSV with an image column and label columns of yes/no, 1/0 or true/false.

    Column names match labels without regard to case, spaces, underscores and hyphens. Blank and -1 are unknown. For the
    binary label "Abnormal" without such a column, an image is abnormal with any finding, and normal with every one of them known
    to be absent. For a multiclass task a class that means normal ("No Finding") holds where "Abnormal" is no or, without
    that column, where every other class is known to be absent.

    Returns:
        image (text) and a float column per label of the task that the file has: 1, 0 or NaN.

    Raises:
        DataError: the file cannot be read, has no image column or none of the labels, names an image twice, or holds a
            value that is not valid (names the column and the line).
    """
    raw = read_table(path, "reference labels")[0]
    image = _image_column(raw, path)
    columns = _columns(raw, image, path)
    found = {
        label: _values(raw[columns[column_key(label)]], path) for label in task.labels if column_key(label) in columns
    }
    if task.kind == "binary" and not found and column_key(task.labels[0]) == _ABNORMAL:
        found = _any_finding(raw, columns, task.labels[0], path)
    if task.exclusive and found:
        found = _with_normal(raw, columns, task, found, path)
    if not found:
        raise DataError(
            f"{path} has none of the labels {', '.join(task.labels)}. Its columns: {', '.join(map(str, raw.columns))}."
        )
    return pd.DataFrame({"image": raw[image], **{label: found[label] for label in task.labels if label in found}})


def compare_reference(
    path: Path,
    predictions: Predictions,
    thresholds: Mapping[str, float],
    *,
    split: str = "test",
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ReferenceComparison:
    """Measure the images that both references know, against each of them.

    Args:
        path: see `read_reference`. Images are matched by name; if no name fits, by the name without folder and extension.
        predictions: the run's images with its own labels.
        thresholds: a probability per label, as for `evaluate`.
        split: the name of these images.
        replicates: resamples of the patients; both evaluations share them.
        level: of the intervals, in (0, 1).
        seed: of the resampling.

    Raises:
        DataError: as `read_reference`, or the two have no image with a known label in common.
    """
    path, task = Path(path), predictions.task
    predictions.check(f"{split} predictions")
    table = read_reference(path, task)
    row = match_images(predictions.table["image"].astype(str), table["image"], path)
    there = row >= 0
    other = np.full((len(predictions), task.outputs), np.nan)
    for k, label in enumerate(task.labels):
        if label in table:
            other[there, k] = table[label].to_numpy()[row[there]]
    left_out = 0
    if task.exclusive:
        # a missing class column means that nothing is known of it: the others must name the one class
        one = (np.nan_to_num(other) > 0.5).sum(axis=1) == 1
        left_out = int((there & ~one).sum())
        other = np.where(one[:, None], np.nan_to_num(other), np.nan)
    both = ~np.isnan(predictions.labels) & ~np.isnan(other)
    keep = both.any(axis=1)
    if not keep.any():
        raise DataError(f"{path} and the {split} images have no image with a known label in common.")
    chosen = predictions.where(keep)
    logits, known = chosen.logits, both[keep]
    sides = [
        Predictions(task, chosen.table, np.where(known, labels, np.nan), logits)
        for labels in (chosen.labels, other[keep])
    ]
    evaluations = [
        evaluate(each, thresholds, split=split, replicates=replicates, level=level, seed=seed) for each in sides
    ]
    labels, _ = common_labels(evaluations[0], evaluations[1], "auroc")
    means = [headline_over(labels, *each) for each in zip(evaluations, sides, strict=True)]
    return ReferenceComparison(
        source=path.name,
        images=int(keep.sum()),
        patients=patient_codes(chosen.table["patient"])[1],
        own=evaluations[0],
        other=evaluations[1],
        labels=labels,
        own_mean=means[0],
        other_mean=means[1],
        agreement={
            label: _agreement(chosen.labels[known[:, k], k] > 0.5, other[keep][known[:, k], k] > 0.5)
            for k, label in enumerate(task.labels)
        },
        absent=tuple(label for label in task.labels if label not in table),
        without=int((~there).sum()),
        left_out=left_out,
    )


def _image_column(raw: pd.DataFrame, path: Path) -> str:
    accepted = list(dict.fromkeys(map(column_key, IMAGE_COLUMNS)))
    found = sorted((c for c in raw.columns if column_key(c) in accepted), key=lambda c: accepted.index(column_key(c)))
    if not found:
        raise DataError(
            f"{path} has no column that names the images. Accepted: {', '.join(IMAGE_COLUMNS)}. Its columns: "
            f"{', '.join(map(str, raw.columns))}."
        )
    images = raw[found[0]]
    for wrong, what in ((images == "", "names no image"), (images.duplicated(), "names an image a second time")):
        if wrong.any():
            line = int(wrong.to_numpy().argmax()) + 2
            raise DataError(f"{path}, line {line}: the column '{found[0]}' {what} ('{images.iloc[line - 2]}').")
    return str(found[0])


def _columns(raw: pd.DataFrame, image: str, path: Path) -> dict[str, str]:
    """The columns by their key, without the image column; refuses two that differ in spelling alone."""
    columns: dict[str, str] = {}
    for name in raw.columns:
        other = columns.setdefault(column_key(name), str(name))
        if other != name:
            raise DataError(f"{path}: the columns '{other}' and '{name}' have the same name but for its spelling.")
    columns.pop(column_key(image))
    return columns


def _values(cells: pd.Series, path: Path) -> np.ndarray:
    lowered = cells.str.lower()
    strange = (~lowered.isin(list(YES_NO))).to_numpy()
    if strange.any():
        line = int(strange.argmax()) + 2
        raise DataError(
            f"{path}, line {line}: the column '{cells.name}' has the value '{cells.iloc[line - 2]}'; valid are yes, no, 1, "
            "0, true, false, and blank or -1 for unknown."
        )
    return lowered.map(YES_NO).to_numpy(dtype=np.float64)


def _any_finding(raw: pd.DataFrame, columns: Mapping[str, str], label: str, path: Path) -> dict[str, np.ndarray]:
    """Abnormal from the columns that hold yes or no: any finding, or not the one that means normal."""
    usable = {
        key: _values(raw[name], path)
        for key, name in columns.items()
        if key not in NO_FINDINGS and raw[name].str.lower().isin(list(YES_NO)).all()
    }
    normal = [values for key, values in usable.items() if key in _NORMAL]
    findings = [values for key, values in usable.items() if key not in _NORMAL]
    if not usable:
        return {}
    present = np.array([values == 1 for values in findings]).any(axis=0) if findings else normal[0] == 0
    absent = np.array([values == 0 for values in findings]).all(axis=0) if findings else normal[0] == 1
    for values in normal:
        absent = absent | ((values == 1) & ~present)
    return {label: np.where(present, 1.0, np.where(absent, 0.0, np.nan))}


def _with_normal(
    raw: pd.DataFrame, columns: Mapping[str, str], task: Task, found: dict[str, np.ndarray], path: Path
) -> dict[str, np.ndarray]:
    """Add the class that means normal where the file has no column of that name."""
    missing = [label for label in task.labels if label not in found and column_key(label) in _NORMAL]
    if not missing:
        return found
    if _ABNORMAL in columns:
        return {**found, missing[0]: 1 - _values(raw[columns[_ABNORMAL]], path)}
    stacked = np.array(list(found.values()))
    absent, present = (stacked == 0).all(axis=0), (stacked == 1).any(axis=0)
    return {**found, missing[0]: np.where(present, 0.0, np.where(absent, 1.0, np.nan))}


def match_images(images: pd.Series, others: pd.Series, path: Path) -> np.ndarray:
    """The row of the reference for each image `(N,)`, -1 where it has none."""
    for shorten in (lambda name: name, lambda name: Path(name.replace("\\", "/")).stem):
        keys, rows = images.map(shorten), pd.Index(others.map(shorten))
        if keys.isin(rows).any():
            if keys.duplicated().any() or rows.has_duplicates:
                raise DataError(
                    f"{path}: the image names without folder and extension are not unique; write them in full."
                )
            return np.asarray(rows.get_indexer(pd.Index(keys)), dtype=np.intp)
    raise DataError(
        f"{path} names none of the {len(images)} images. It has names such as '{others.iloc[0]}', the run such as "
        f"'{images.iloc[0]}'."
    )


def _agreement(own: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Cohen's kappa with what it is made of."""
    images = len(own)
    counts = {
        "own_positive": float(own.sum()),
        "other_positive": float(other.sum()),
        "both": float((own & other).sum()),
        "images": float(images),
    }
    if not images:
        return {"kappa": float("nan"), "agree": float("nan"), **counts}
    return {"kappa": cohen_kappa(own, other), "agree": float((own == other).mean()), **counts}
