"""Sources of images: files below a root, or rows of arrays in an .npz file."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.core import npz
from zoo.core.errors import DataError
from zoo.core.records import BadImage, ImageSource
from zoo.data.decode import decode
from zoo.data.deep import scaled
from zoo.data.formats import reason_of


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _status(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)
    except (OSError, ValueError):
        return None


def _stamp(file: str) -> str:
    """Size, time and read permissions of a file as text; "missing" where there is none."""
    status = _status(file)
    return "missing" if status is None else f"{status.st_size} {status.st_mtime_ns} {status.st_mode & 0o444:o}"


def _place(root: str, path: str) -> str:
    """Where an image lies by its words alone: `..` behind a link would lead on from the link's target."""
    return os.path.normpath(os.path.join(root, path))


@dataclass(frozen=True)
class FileSource(ImageSource):
    """Images that are files under `root`; an image's path is relative to it.

    A path that leaves the root, absolute or by `..`, is refused unless `allow_outside`: a table from elsewhere could name any
    file. Links below the root are followed: who owns the root made them. `force` accepts DICOM images that are not chest
    X-rays according to their header.
    """

    root: str
    allow_outside: bool = False
    force: bool = False

    def read(self, path: str) -> tuple[np.ndarray, str]:
        return decode(self.file(path), force=self.force)

    def file(self, path: str) -> Path:
        """The file of an image, which need not exist.

        Raises:
            BadImage: it is outside the root, or a directory.
        """
        root = os.path.realpath(self.root)  # each time: a relative root or a link may lead elsewhere by now
        file = _place(root, path)
        if not (self.allow_outside or file.startswith(os.path.join(root, ""))):
            raise BadImage("a directory, not a file" if file == root else "outside the root")
        return Path(file)

    def fingerprint(self, paths: Sequence[str]) -> str:
        root = os.path.realpath(self.root)
        marks = (f"{path} {_stamp(_place(root, path))}" for path in paths)
        how = (word for word, given in (("outside too", self.allow_outside), ("force", self.force)) if given)
        return _digest((*how, *marks))

    def image_keys(self, paths: Sequence[str]) -> list[str]:
        """One key per image that changes whenever its pixels may have changed; "" for a missing image.

        Stricter than `fingerprint`, since pixels are copied by it from one store to another: the root and the inode count too.
        """
        root = os.path.realpath(self.root)
        where, keys = f"{self.allow_outside} {'force ' * self.force}{root}", []
        for path in paths:
            found = _status(_place(root, path))
            mark = found and f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
            keys.append(_digest([where, path, mark]) if mark else "")
        return keys


@functools.lru_cache(maxsize=3)  # the three splits of one file; a compressed array can only be read whole
def _array(file: str, stamp: str, key: str) -> np.ndarray:
    with npz.open_npz(Path(file)) as archive:
        if key not in npz.names(archive):
            raise BadImage(f"the file has no array {key}")
        return npz.read_array(archive, key)


@dataclass(frozen=True)
class ArraySource(ImageSource):
    """Images that are rows of arrays in one .npz `file`: the path "train/12" is `train_images[12]`.

    Arrays are `(N, H, W)` or `(N, H, W, 3)`, read when first needed and kept once per process, outside the instance.
    """

    file: str

    def read(self, path: str) -> tuple[np.ndarray, str]:
        part, _, index = path.rpartition("/")
        if not part or not (index.isascii() and index.isdecimal()):
            raise BadImage(f"'{path}' is not of the form split/number")
        try:
            images = _array(self.file, _stamp(self.file), f"{part}_images")
        except FileNotFoundError:
            raise BadImage("missing file") from None
        except (DataError, OSError) as error:
            raise BadImage(str(error) if isinstance(error, DataError) else reason_of(error)) from None
        if images.ndim == 0 or int(index) >= len(images):
            raise BadImage(f"{part}_images has {len(images) if images.ndim else 0} images only")
        return to_gray(images[int(index)])

    def fingerprint(self, paths: Sequence[str]) -> str:
        return _digest([_stamp(self.file), *paths])


def to_gray(image: np.ndarray) -> tuple[np.ndarray, str]:
    """An array `(H, W)`, `(H, W, 1)` or uint8 `(H, W, 3)` to uint8 `(H, W)`, and a note where it was converted.

    Raises:
        BadImage: it is none of these.
    """
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        return np.array(Image.fromarray(image).convert("L"), dtype=np.uint8), "RGB, converted to gray"
    if image.ndim != 2 or image.size == 0 or image.dtype.kind not in "uif":
        raise BadImage(f"an array {image.shape} of {image.dtype} is not an image")
    return (image.copy(), "") if image.dtype == np.uint8 else scaled(image)
