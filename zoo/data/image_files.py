"""Which files below a folder are images: the one answer that the reader of class folders, predict and export share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from zoo.data.formats import AVIF, Kind, kind_of, read_head

# a file named by itself is read whatever its ending
ENDINGS = frozenset(
    (
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".j2c", ".jpx", ".bmp", ".tif", ".tiff", ".webp"),
        *(".gif", ".pbm", ".pgm", ".ppm", ".pnm", ".dcm", ".dicom", ".dic"),
        *((".avif",) if AVIF else ()),
    )
)
UNREADABLE = "a folder that cannot be read"
MASKS = "a folder of masks beside one of images"
_MADE_BY_SYSTEMS = ("@eaDir", "$RECYCLE.BIN")  # thumbnails of network drives, and what was thrown away
_IMAGES = re.compile(r"images?", re.IGNORECASE)
_MASKS = re.compile(r"(.*[ _-])?masks?", re.IGNORECASE)
_Place = tuple[int, int]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems and notebooks leave: .git, .ipynb_checkpoints, __MACOSX, ._a.png."""
    return name.startswith((".", "__")) or name in _MADE_BY_SYSTEMS


def folders_of(folder: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The folders in a folder that can hold images, links included, and those that do not, with the reason.

    Raises:
        OSError: it cannot be read.
    """
    with os.scandir(folder) as entries:
        names = sorted(each.name for each in entries if _is_folder(each))
    beside = any(_IMAGES.fullmatch(name) for name in names)
    kept, left = [], []
    for name in names:
        if is_hidden(name):
            left.append((name, "a hidden folder"))
        elif beside and _MASKS.fullmatch(name):
            left.append((name, MASKS))
        else:
            kept.append(name)
    return kept, left


def image_files(folder: str, known: frozenset[_Place] = frozenset()) -> Iterator[tuple[str, str]]:
    """Everything in a folder and below, sorted by name: its path, and why it is no image ("" for an image).

    Images are files with one of `ENDINGS`, and DICOM files whatever their name. Hidden files and folders are none, nor is a
    folder of masks beside one of images. Links are followed, but not back to a folder on the way here, nor to one that is
    `known` (`place`) to be read by itself.
    """
    return _walk(folder, (), known)


def place(folder: str) -> _Place:
    """What identifies a folder, whatever links lead to it.

    Raises:
        OSError: it cannot be read.
    """
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _walk(folder: str, above: tuple[_Place, ...], known: frozenset[_Place]) -> Iterator[tuple[str, str]]:
    try:
        here = place(folder)
        if here in above or (above and here in known and os.path.islink(folder)):
            yield folder, "a link to a folder that is read already"
            return
        kept, left = folders_of(folder)
        with os.scandir(folder) as entries:
            files = [each.name for each in entries if not _is_folder(each)]
    except OSError as error:
        yield folder, f"{UNREADABLE} ({error.strerror})"
        return
    reasons = dict(left) | {name: _why_not(folder, name) for name in files}
    for name in sorted([*kept, *reasons]):
        path = os.path.join(folder, name)
        if name in reasons:
            yield path, reasons[name]
        else:
            yield from _walk(path, (*above, here), known)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _why_not(folder: str, name: str) -> str:
    if is_hidden(name):
        return "a hidden file"
    ending = os.path.splitext(name)[1].lower()
    if ending in ENDINGS:
        return ""
    # scanners name DICOM files IM000001 or by a number with dots; DICOMDIR is an index, not an image
    if name != "DICOMDIR" and kind_of(read_head(os.path.join(folder, name))) is Kind.DICOM:
        return ""
    return f"not an image file ({ending or 'no extension'})"
