"""Finds the images that a user names (files, folders, patterns, lists) and reads them, whatever their format."""

from __future__ import annotations

import glob
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from zoo.core.errors import DataError
from zoo.core.records import BadImage
from zoo.core.tables import stream_names, with_slashes
from zoo.data.decode import decode
from zoo.data.image_files import MASKS, UNREADABLE, image_files
from zoo.runs.run import Run

STDIN = "-"
logger = logging.getLogger(__name__)


def expand(paths: Iterable[str]) -> Iterator[str]:
    """Yield the names of the images that a user named, lazily and in the order given.

    - A file yields itself.
    - A folder yields the images in it and below, sorted by name, as `zoo.data.image_files` finds them: hidden files, and
      masks beside images, are left out.
    - A name with `*`, `?` or `[` that does not exist is a pattern (`**` matches nested folders); its matches are sorted.
    - "-" reads files, folders or patterns from standard input, one per line.

    A folder that has no images or cannot be read, and a pattern without matches, are yielded unchanged: `read_image` gives the
    reason.
    """
    for path in paths:
        if path == STDIN:
            for name in stream_names(sys.stdin.buffer):
                yield from expand_one(name)
        else:
            yield from expand_one(path)


def expand_one(path: str) -> Iterator[str]:
    """As `expand` for one name; "-" has no special meaning."""
    path = with_slashes(path)
    try:
        if os.path.isdir(path):
            yield from _folder(path)
        elif glob.has_magic(path) and not os.path.lexists(path):
            found = sorted(glob.iglob(path, recursive=True))
            for each in found:
                if not os.path.isdir(each):
                    yield each
                elif "**" not in path:  # which matches the files inside as well
                    yield from _folder(each)
            if not found:
                yield path
        else:
            yield path
    except ValueError:  # a NUL in the name
        yield path


def _folder(path: str) -> Iterator[str]:
    empty = True
    for each, reason in image_files(path):
        if not reason or reason.startswith(UNREADABLE):  # `read_image` gives the reason
            empty = False
            yield each
        elif reason == MASKS:
            logger.info(f"{each}: left out, {reason}")
    if empty:
        yield path


def read_image(file: str | Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Read one image of any known format.

    Args:
        file: PNG, JPEG and other images as `zoo.data.decode.decode` takes them, or DICOM, recognised by its content.
        views: the views ("PA", "AP", "LATERAL") that a DICOM image may have; None: any.
        force: accept a DICOM image even if its header names another body part or view.

    Returns:
        uint8 pixels `(H, W)`, and a note on how they were normalised, "" if they were not.

    Raises:
        BadImage: the image cannot be read; the message is the reason.
    """
    path = Path(file)
    if str(file) and os.path.isdir(path):
        raise BadImage(_no_image_in(path))
    return decode(path, views=views, force=force)


def _no_image_in(folder: Path) -> str:
    try:
        os.scandir(folder).close()
    except OSError as error:
        return f"a folder that cannot be read ({error.strerror})"
    return "a folder with no image in it"


def views_seen(run: Run, *, unknown: bool = False) -> frozenset[str] | None:
    """The views of the images the run was trained on; None where its dataset does not tell them.

    Args:
        run: whose table of images is read.
        unknown: go on where the table is missing or damaged, with a warning: no image can be checked.

    Raises:
        DataError: the table is missing or damaged.
    """
    try:
        images = run.images()
        training = images[images["split"] == "train"]
        if not len(training):
            raise DataError(f"{run.path / 'images.csv'} names no training image.")
    except DataError as error:
        if unknown:
            logger.warning(f"the views of images are not checked: {error}")
            return None
        raise DataError(
            f"which views the run {run.name} saw is not known, and images of others could not be refused: {error} Restore "
            "the file, or predict without this check by --force."
        ) from None
    if "view" not in training:
        return None
    return frozenset(str(view) for view in training["view"].dropna().unique() if str(view)) or None
