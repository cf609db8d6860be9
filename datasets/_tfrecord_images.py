"""Images in TFRecord files: where each begins, what its record says, and its pixels when they are asked for."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.core.errors import DataError
from zoo.core.progress import Progress
from zoo.core.records import BadImage, ImageSource
from zoo.data.decode import decode_bytes
from zoo.data.formats import MAX_PIXELS, reason_of
from zoo.data.images import FileSource
from zoo.data.tfrecord import Feature, decode_example, read_at, read_records

PATTERNS = ("*.tfrecord", "*.tfrecords", "*.tfrec", "*.tfrecord-?????-of-?????", "*.tfrecords-?????-of-?????")
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d{5})-of-(?P<count>\d{5})(?P<after>.*)")
_POOL = 20_000  # different values that are looked out for
_ENCODED = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # PNG and JPEG: no image of raw pixels begins so


@dataclass(frozen=True)
class Example:
    """One image's record: `path` is its file and where in it the record begins, `number` its place in the file."""

    path: str
    number: int
    features: dict[str, Feature]


@dataclass(frozen=True)
class Contents:
    """Every record of the files, the images left out, and the rows (name, reason) of the damaged ones."""

    examples: list[Example]
    damaged: list[tuple[str, str]]


def find_files(root: Path, pattern: str) -> list[Path]:
    """The TFRecord files below `root` by name; `pattern` as in a shell, empty for the usual endings.

    Raises:
        DataError: there are none, or one of a numbered set is missing.
    """
    found = sorted({p for each in ([pattern] if pattern else PATTERNS) for p in root.glob(each) if p.is_file()})
    if not found:
        looked = pattern or ", ".join(PATTERNS)
        raise DataError(f"{root} has no TFRecord files: looked for {looked}. Name them with --set data.files=PATTERN")
    names = {p.relative_to(root).as_posix() for p in found}
    for name in sorted(names):
        match = _NUMBERED.fullmatch(name)
        if match is None:
            continue
        every = (f"{match['before']}{n:05}-of-{match['count']}{match['after']}" for n in range(int(match["count"])))
        missing = [each for each in every if each not in names]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise DataError(f"{root} has {name}, but not {missing[0]}{more}: copy all the files of the set")
    return found


def read_contents(root: Path, files: Sequence[Path], image: str, only: frozenset[str] | None = None) -> Contents:
    """Read every record, check it against its checksums and take its features apart; pixels are not decoded.

    With `only` the other features are passed over.

    Raises:
        DataError: a file cannot be read, or no record is left.
    """
    examples: list[Example] = []
    damaged: list[tuple[str, str]] = []
    wanted = None if only is None else only | {image}
    pool: dict[object, Feature] = {}
    with Progress("Reading records", sum(f.stat().st_size for f in files) // 10**6, unit="MB") as progress:
        done = 0
        for file in files:
            name = file.relative_to(root).as_posix()
            try:
                for number, record in enumerate(read_records(file)):
                    done += len(record.content)
                    progress.advance(done // 10**6 - progress.done)
                    reason, features = record.fault, dict[str, Feature]()
                    if not reason:
                        try:
                            features = decode_example(record.content, wanted)
                        except ValueError as error:
                            reason = str(error)
                    if not reason and len(features.get(image, ())) != 1:
                        reason = f"has no image in the feature '{image}'"
                    if reason:
                        behind = "; nothing behind it in the file can be read" if record.lost else ""
                        damaged.append((f"{name}, record {number}", reason + behind))
                        continue
                    features[image] = []
                    features = {sys.intern(key): _shared(value, pool) for key, value in features.items()}
                    examples.append(Example(f"{name}:{record.offset}", number, features))
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    if not examples:
        first = f"; the first, {damaged[0][0]}: {damaged[0][1]}" if damaged else ""
        raise DataError(f"no usable record in {len(files):,} files of {root}{first}")
    return Contents(examples, damaged)


def _shared(feature: Feature, pool: dict[object, Feature]) -> Feature:
    """The same object for the same values: a hundred thousand images have few views, ages and sets of findings."""
    if len(pool) >= _POOL:
        return feature
    key = tuple(feature) if isinstance(feature, list) else (feature.dtype.char, feature.tobytes())
    return pool.setdefault(key, feature)


@dataclass(frozen=True)
class TFRecordSource(ImageSource):
    """Images that are records of files under `root`; an image's path is "FILE:OFFSET".

    The feature `image` holds an encoded image, or rows of uint8 with one or three channels, whose size `height` and `width`
    name: features, or numbers.
    """

    root: str
    image: str
    height: str = "image/height"
    width: str = "image/width"

    def read(self, path: str) -> tuple[np.ndarray, str]:
        name, _, offset = path.rpartition(":")
        if not name or not (offset.isascii() and offset.isdecimal()):
            raise BadImage(f"'{path}' is not of the form FILE:OFFSET")
        try:
            record = read_at(Path(self.root, name), int(offset))
            if record.fault:
                raise BadImage(record.fault)
            features = decode_example(record.content)
        except FileNotFoundError:
            raise BadImage("missing file") from None
        except (OSError, ValueError, OverflowError) as error:
            raise BadImage(reason_of(error)) from None
        held = features.get(self.image)
        if not isinstance(held, list) or len(held) != 1:
            raise BadImage(f"has no image in the feature '{self.image}'")
        data = held[0]
        height, width = self._side(self.height, features), self._side(self.width, features)
        raw = len(data) in (height * width, 3 * height * width) and not data.startswith(_ENCODED)
        if raw or _text(features.get("image/format")) == "raw":
            return _raw(data, height, width)
        try:
            return decode_bytes(data)
        except BadImage as error:
            if str(error) != "not an image" or not (height and width):
                raise
            raise BadImage(f"not an image, and {len(data):,} bytes are not {height}×{width} pixels of 8 bits") from None

    def fingerprint(self, paths: Sequence[str]) -> str:
        files = FileSource(self.root).fingerprint(sorted({path.rpartition(":")[0] for path in paths}))
        marks = hashlib.blake2b(digest_size=16)
        for word in (files, self.image, self.height, self.width, *paths):
            marks.update(word.encode("utf-8", "surrogateescape") + b"\0")
        return marks.hexdigest()

    @staticmethod
    def _side(named: str, features: dict[str, Feature]) -> int:
        if named.isascii() and named.isdecimal():
            return int(named)
        held = features.get(named)
        return int(held[0]) if isinstance(held, np.ndarray) and len(held) == 1 and held[0] > 0 else 0


def _raw(data: bytes, height: int, width: int) -> tuple[np.ndarray, str]:
    if not height or not width:
        raise BadImage("raw pixels without a height and width")
    if height * width > MAX_PIXELS:
        raise BadImage(f"{width}×{height} pixels, over {MAX_PIXELS // 10**6} megapixels")
    if len(data) == height * width:
        return np.frombuffer(data, np.uint8).reshape(height, width).copy(), ""
    if len(data) == 3 * height * width:
        colour = Image.frombytes("RGB", (width, height), data)
        return np.array(colour.convert("L"), dtype=np.uint8), "RGB, converted to gray"
    raise BadImage(f"{len(data):,} bytes are not {height}×{width} pixels of 8 bits")


def _text(feature: Feature | None) -> str:
    return feature[0].decode(errors="replace") if isinstance(feature, list) and feature else ""
