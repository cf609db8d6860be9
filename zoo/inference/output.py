"""What comes out of many images: rows of a table as they are ready, lines of JSON, heat maps as pictures, and the count of it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from zoo.core.errors import UsageError, ZooError

if TYPE_CHECKING:
    from types import TracebackType

    from zoo.inference.classifier import Answer, Classifier

MAPPED_AT_ONCE = 8  # images
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
        self._writer: csv.DictWriter[str] | None = None

    def begin(self, columns: list[str]) -> None:
        """Write the names of the columns."""
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        """Add one row: floats with nine significant digits, NaN and None empty, True and False as 1 and 0.

        Raises:
            ZooError: it cannot be written, such as on a full disk.
        """
        assert self._writer is not None  # `begin` came first
        try:
            self._writer.writerow({name: _cell(value) for name, value in row.items()})
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
    return shown(value) if isinstance(value, str) else value


def record(classifier: Classifier, answer: Answer) -> dict[str, Any]:
    """An answer as a JSON object; None stands for what an image without an answer has not got.

    `file`; `probabilities` by label; `positive`, the labels at or above their threshold, or for exclusive classes `class`;
    `guard` with flagged, reason, distance and limit, None where the run has no guard; `reason` and `note`.
    """
    answered = answer.probabilities is not None and answer.positive is not None
    values: dict[str, Any] = {"file": shown(answer.file), "probabilities": None}
    decision = "class" if classifier.task.exclusive else "positive"
    values |= {decision: None, "guard": None, "reason": shown(answer.reason), "note": shown(answer.note)}
    if answered:
        assert answer.probabilities is not None
        assert answer.positive is not None
        values["probabilities"] = dict(zip(classifier.labels, answer.probabilities.tolist(), strict=True))
        called = [label for label, yes in zip(classifier.labels, answer.positive, strict=True) if yes]
        values[decision] = called[0] if classifier.task.exclusive else called
    if answer.guard is not None:
        verdict = answer.guard
        values["guard"] = {
            "flagged": bool(verdict.flagged),
            "reason": verdict.reason,
            "distance": float(verdict.distance) if np.isfinite(verdict.distance) else None,
            "limit": float(verdict.limit),
        }
    return values


@dataclass
class Tally:
    """The count of what was answered: images, those without an answer, those the guard flagged, and positives by label."""

    images: int = 0
    failed: int = 0
    flagged: int = 0
    positive: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)  # the first few, with their reasons

    def add(self, classifier: Classifier, answer: Answer) -> None:
        """Count one answer."""
        self.images += 1
        if answer.positive is None:
            self.failed += 1
            if len(self.failures) < SHOWN_FAILURES:
                self.failures.append((shown(answer.file), shown(answer.reason)))
            return
        for label, yes in zip(classifier.labels, answer.positive, strict=True):
            self.positive[label] = self.positive.get(label, 0) + int(yes)
        self.flagged += answer.guard is not None and bool(answer.guard.flagged)


def with_pictures(
    classifier: Classifier, answers: Iterable[Answer], folder: Path, method: str = "gradcam"
) -> Iterator[tuple[Answer, list[str]]]:
    """Every answer with the names of the heat maps drawn of it in `folder`, in order, `MAPPED_AT_ONCE` images at a time.

    Pictures are of the labels that an image is positive for, the `PICTURES_PER_IMAGE` most probable ones of them, or of the most
    probable label where it is positive for none. The name begins with the image's number, counted from 1. The answers must
    have kept their images.

    Raises:
        ZooError: the folder cannot be written.
    """
    waiting: list[Answer] = []
    number = 1
    for answer in answers:
        waiting.append(answer)
        if len(waiting) == MAPPED_AT_ONCE:
            yield from _draw(classifier, waiting, number, folder, method)
            number += len(waiting)
            waiting = []
    yield from _draw(classifier, waiting, number, folder, method)


def _draw(
    classifier: Classifier, answers: list[Answer], first: int, folder: Path, method: str
) -> Iterator[tuple[Answer, list[str]]]:
    pairs = [(i, k) for i, answer in enumerate(answers) for k in classifier.called(answer)[:PICTURES_PER_IMAGE]]
    names: list[list[str]] = [[] for _ in answers]
    if pairs:
        images = np.stack([image for i, _ in pairs if (image := answers[i].image) is not None])
        maps = classifier.heat(images, [k for _, k in pairs], method)
        for (i, k), heat in zip(pairs, maps, strict=True):
            names[i].append(_save(classifier, answers[i], k, heat, first + i, folder, method))
    yield from zip(answers, names, strict=True)


def _save(
    classifier: Classifier, answer: Answer, column: int, heat: np.ndarray, number: int, folder: Path, method: str
) -> str:
    from zoo.explain.maps import METHODS
    from zoo.explain.overlay import Picture, file_name, save_picture
    from zoo.explain.pairs import no_boxes

    assert answer.image is not None
    assert answer.probabilities is not None
    label, value = classifier.labels[column], float(answer.probabilities[column])
    name = file_name(number, answer.file, label)
    how = METHODS[method]
    picture = Picture(answer.image, heat, shown(answer.file), label, value, None, no_boxes(), how)
    try:
        save_picture(picture, folder / name)
    except OSError as error:
        raise ZooError(f"--heatmaps: {folder / name} cannot be written: {error.strerror}.") from error
    return name
