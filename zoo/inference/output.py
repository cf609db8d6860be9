"""What comes out of many images: rows of a table as they are ready, lines of JSON, heat maps as pictures, and the count of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from zoo.core.cells import guarded, rows_text
from zoo.core.errors import UsageError, ZooError

if TYPE_CHECKING:
    from types import TracebackType

    from zoo.inference.classifier import Classifier, Prediction

MAPPED_AT_ONCE = 8  # images
METHOD = "gradcam"
PICTURES_PER_IMAGE = 3  # at an operating point of high sensitivity an image is positive for nearly every finding
SHOWN_FAILURES = 10


def shown(name: str) -> str:
    """A file's name as any terminal and any reader of UTF-8 can take it: what is no text is escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


class TableFile:
    """A CSV that is written row by row under the name `FILE.partial` and gets its own name when it is whole.

    Use as a context manager; what was written stays under the partial name if an exception ends it.
    """

    def __init__(self, path: Path) -> None:
        """Open it; `begin` comes next.

        Raises:
            UsageError: the path is a folder or no regular file.
            ZooError: it cannot be written.
        """
        self.path, self.partial = path, path.with_name(f"{path.name}.partial")
        self.rows = 0
        if path.exists() and not path.is_file():
            raise UsageError(f"--csv: {path} is {'a folder' if path.is_dir() else 'no regular file'}. Name a file.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # line by line: whoever looks sees what is ready, and it is there after a kill
            self._file: TextIO = self.partial.open("w", buffering=1, encoding="utf-8", newline="")
        except OSError as error:
            raise ZooError(f"--csv: {path} cannot be written: {error.strerror}.") from error
        self._columns: list[str] = []

    def begin(self, columns: list[str]) -> None:
        """Write the names of the columns."""
        self._columns = columns
        self._file.write(rows_text([{name: guarded(name) for name in columns}], columns, header=False))

    def write(self, row: dict[str, Any]) -> None:
        """Add one row: floats with nine significant digits, NaN and None empty, True and False as 1 and 0, and what would be a
        formula in a spreadsheet guarded.

        Raises:
            ZooError: it cannot be written, such as on a full disk.
        """
        text = rows_text([{name: _cell(value) for name, value in row.items()}], self._columns, header=False)
        try:
            self._file.write(text)
        except OSError as error:
            raise ZooError(
                f"--csv: {self.path} cannot be written any further: {error.strerror}. The first {self.rows:,} rows are kept "
                f"in {self.partial}."
            ) from error
        self.rows += 1

    def __enter__(self) -> TableFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError) if kind else nullcontext():
            self._file.flush()
            os.fsync(self._file.fileno())
        with suppress(OSError):
            self._file.close()
        if kind is None:
            os.replace(self.partial, self.path)
        elif not self.rows:
            self.partial.unlink(missing_ok=True)


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return f"{value:.9g}"
    return guarded(shown(value)) if isinstance(value, str) else value


def record(classifier: Classifier, prediction: Prediction) -> dict[str, Any]:
    """A prediction as a JSON object; None stands for what an image without a prediction has not got.

    `file`; `probabilities` by label; `positive`, the labels at or above their threshold, or for exclusive classes `class`;
    `ood` with flagged, reason, score and limit, None where the run has no OOD detector; `reason` and `note`.
    """
    predicted = prediction.probabilities is not None and prediction.positive is not None
    values: dict[str, Any] = {"file": shown(prediction.file), "probabilities": None}
    decision = "class" if classifier.task.exclusive else "positive"
    values |= {decision: None, "ood": None, "reason": shown(prediction.reason), "note": shown(prediction.note)}
    if predicted:
        assert prediction.probabilities is not None
        assert prediction.positive is not None
        values["probabilities"] = dict(zip(classifier.labels, prediction.probabilities.tolist(), strict=True))
        called = [label for label, yes in zip(classifier.labels, prediction.positive, strict=True) if yes]
        values[decision] = called[0] if classifier.task.exclusive else called
    if prediction.ood is not None:
        score = prediction.ood
        values["ood"] = {
            "flagged": bool(score.flagged),
            "reason": score.reason,
            "score": float(score.score) if np.isfinite(score.score) else None,
            "threshold": float(score.threshold),
        }
    return values


@dataclass
class Tally:
    """Counts of images, of those without a prediction, of flagged ones, and of positives by label."""

    images: int = 0
    failed: int = 0
    flagged: int = 0
    positive: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)  # the first few, with their reasons

    def add(self, classifier: Classifier, prediction: Prediction) -> None:
        """Count one prediction."""
        self.images += 1
        if prediction.positive is None:
            self.failed += 1
            if len(self.failures) < SHOWN_FAILURES:
                self.failures.append((shown(prediction.file), shown(prediction.reason)))
            return
        for label, yes in zip(classifier.labels, prediction.positive, strict=True):
            self.positive[label] = self.positive.get(label, 0) + int(yes)
        self.flagged += prediction.ood is not None and bool(prediction.ood.flagged)


def with_pictures(
    classifier: Classifier, predictions: Iterable[Prediction], folder: Path
) -> Iterator[tuple[Prediction, list[str]]]:
    """Every prediction with the names of the heat maps drawn of it in `folder`, in order, `MAPPED_AT_ONCE` images at a time.

    Pictures are of the labels that an image is positive for, the `PICTURES_PER_IMAGE` most probable ones of them, or of the most
    probable label where it is positive for none. The name begins with the image's number, counted from 1. The predictions must
    have kept their images.

    Raises:
        ZooError: the folder cannot be written.
    """
    waiting: list[Prediction] = []
    number = 1
    for prediction in predictions:
        waiting.append(prediction)
        if len(waiting) == MAPPED_AT_ONCE:
            yield from _draw(classifier, waiting, number, folder)
            number += len(waiting)
            waiting = []
    yield from _draw(classifier, waiting, number, folder)


def _draw(
    classifier: Classifier, predictions: list[Prediction], first: int, folder: Path
) -> Iterator[tuple[Prediction, list[str]]]:
    pairs = [
        (i, k)
        for i, prediction in enumerate(predictions)
        for k in classifier.positive_labels(prediction)[:PICTURES_PER_IMAGE]
    ]
    names: list[list[str]] = [[] for _ in predictions]
    if pairs:
        images = np.stack([image for i, _ in pairs if (image := predictions[i].image) is not None])
        maps = classifier.heat(images, [k for _, k in pairs], METHOD)
        for (i, k), heat in zip(pairs, maps, strict=True):
            names[i].append(_save(classifier, predictions[i], k, heat, first + i, folder))
    yield from zip(predictions, names, strict=True)


def _save(
    classifier: Classifier,
    prediction: Prediction,
    column: int,
    heat: np.ndarray,
    number: int,
    folder: Path,
) -> str:
    from zoo.explain.maps import METHODS
    from zoo.explain.overlay import Picture, file_name, save_picture
    from zoo.explain.pairs import no_boxes

    assert prediction.image is not None
    assert prediction.probabilities is not None
    label, value = classifier.labels[column], float(prediction.probabilities[column])
    name = file_name(number, prediction.file, label)
    how = METHODS[METHOD]
    picture = Picture(prediction.image, heat, shown(prediction.file), label, value, None, no_boxes(), how)
    try:
        save_picture(picture, folder / name)
    except OSError as error:
        raise ZooError(f"--heatmaps: {folder / name} cannot be written: {error.strerror}.") from error
    return name
