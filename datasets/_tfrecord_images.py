"""Images in TFRecord files: where each lies, the features of its record, and its pixels on demand."""

from __future__ import annotations

import hashlib
import re
import sys
import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo import BadImage, DataError, FileSource, ImageSource
from zoo.core.progress import Progress
from zoo.data.decode import decode_bytes
from zoo.data.formats import HEAD, Kind, check_size, kind_of, reason_of
from zoo.data.images import to_gray
from zoo.data.tfrecord import Feature, Record, decode_example, read_records

PATTERNS = ("*.tfrecord", "*.tfrecords", "*.tfrec", "*.tfrecord-?????-of-?????", "*.tfrecords-?????-of-?????")
_NUMBERED = re.compile(r"(?P<before>.*?)(?P<number>\d{5})-of-(?P<count>\d{5})(?P<after>.*)")
_PATH = re.compile(
    r"(?P<file>.+):(?P<start>\d+):(?P<length>\d+):(?P<sum>[0-9a-f]{8})(:(?P<raw>raw)?(?P<height>\d+)x(?P<width>\d+))?",
    re.ASCII,
)
_POOL = 20_000  # different values that are looked out for
_ENCODED = (Kind.PNG, Kind.JPEG)  # no image of raw pixels begins so


@dataclass(frozen=True)
class Example:
    """One image's record: `path` is that of its image, `position` the file and its number in it; `features` lack the image."""

    path: str
    position: str
    features: dict[str, Feature]


@dataclass(frozen=True)
class Contents:
    """Every record of the files, and the rows (name, reason) of those that cannot be used."""

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


def read_contents(root: Path, files: Sequence[Path], source: TFRecordSource, only: Container[str] = ()) -> Contents:
    """Read every record, check its checksums and decode its features; pixels are not decoded.

    Args:
        root: the files are below it.
        files: in their order.
        source: names the features of the image.
        only: the features to keep; all of them where empty.

    Raises:
        DataError: a file cannot be read, or no record is left.
    """
    contents, done = Contents([], []), 0
    pool: dict[object, Feature] = {}
    with Progress("Reading records", sum(f.stat().st_size for f in files) // 10**6, unit="MB") as progress:
        for file in files:
            name = file.relative_to(root).as_posix()
            try:
                for number, record in enumerate(read_records(file)):
                    done += len(record.content)
                    progress.advance(done // 10**6 - progress.done)
                    try:
                        path, features = source.locate(name, record)
                    except ValueError as error:
                        behind = "; nothing behind it in the file can be read" if record.lost else ""
                        contents.damaged.append((f"{name}, record {number}", f"{error}{behind}"))
                        continue
                    kept = {sys.intern(k): _shared(v, pool) for k, v in features.items() if not only or k in only}
                    contents.examples.append(Example(path, f"{name}#{number}", kept))
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror or error}") from None
    if not contents.examples:
        first = f"; the first, {contents.damaged[0][0]}: {contents.damaged[0][1]}" if contents.damaged else ""
        raise DataError(f"no usable record in {len(files):,} files of {root}{first}")
    return contents


def _shared(feature: Feature, pool: dict[object, Feature]) -> Feature:
    """The same object for the same values: a hundred thousand images have few views, ages and sets of findings."""
    if len(pool) >= _POOL:
        return feature
    key = tuple(feature) if isinstance(feature, list) else (feature.dtype.char, feature.tobytes())
    return pool.setdefault(key, feature)


@dataclass(frozen=True)
class TFRecordSource(ImageSource):
    """Images in records of files under `root`.

    An image's path names its bytes: file, first byte, length and CRC-32, and the height and width where they are known. So
    it is read without TensorFlow, whose start would take longer than most of the images.

    The feature `image` holds an encoded image, or rows of uint8 with one or three channels, whose size `height` and `width`
    name: features, or numbers.
    """

    root: str
    image: str
    height: str = "image/height"
    width: str = "image/width"

    def locate(self, file: str, record: Record) -> tuple[str, dict[str, Feature]]:
        """The path of a record's image, and the other features.

        Raises:
            ValueError: the record is damaged or has no image; says which.
        """
        if record.fault:
            raise ValueError(record.fault)
        features = decode_example(record.content)
        held = features.pop(self.image, None)
        if not isinstance(held, list) or len(held) != 1:
            raise ValueError(f"has no image in the feature '{self.image}'")
        data = held[0]
        path = f"{file}:{record.start + record.content.index(data)}:{len(data)}:{zlib.crc32(data):08x}"
        height, width = self._side(self.height, features), self._side(self.width, features)
        if height and width:
            fits = len(data) in (height * width, 3 * height * width) and kind_of(data[:HEAD]) not in _ENCODED
            raw = "raw" if fits or features.get("image/format") == [b"raw"] else ""
            path += f":{raw}{height}x{width}"
        return path, features

    def read(self, path: str) -> tuple[np.ndarray, str]:
        found = _PATH.fullmatch(path)
        if found is None:
            raise BadImage(f"'{path}' does not name an image in a TFRecord file")
        try:
            with Path(self.root, found["file"]).open("rb") as stream:
                stream.seek(int(found["start"]))
                data = stream.read(int(found["length"]))
        except FileNotFoundError:
            raise BadImage("missing file") from None
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise BadImage(reason_of(error)) from None
        if zlib.crc32(data) != int(found["sum"], 16):
            raise BadImage("damaged: its checksum is wrong")
        height, width = int(found["height"] or 0), int(found["width"] or 0)
        if found["raw"]:
            return _raw(data, height, width)
        try:
            return decode_bytes(data)
        except BadImage as error:
            if str(error) != "not an image" or not height:
                raise
            raise BadImage(f"not an image, and {len(data):,} bytes are not {height}×{width} pixels of 8 bits") from None

    def fingerprint(self, paths: Sequence[str]) -> str:
        matches = filter(None, map(_PATH.fullmatch, paths))
        files = FileSource(self.root).fingerprint(sorted({found["file"] for found in matches}))
        marks = hashlib.blake2b(digest_size=16)
        for word in (files, *paths):
            marks.update(word.encode("utf-8", "surrogateescape") + b"\0")
        return marks.hexdigest()

    @staticmethod
    def _side(named: str, features: dict[str, Feature]) -> int:
        if named.isascii() and named.isdecimal():
            return int(named)
        held = features.get(named)
        return int(held[0]) if isinstance(held, np.ndarray) and len(held) == 1 and held[0] > 0 else 0


def _raw(data: bytes, height: int, width: int) -> tuple[np.ndarray, str]:
    check_size(width, height)
    if len(data) not in (height * width, 3 * height * width):
        raise BadImage(f"{len(data):,} bytes are not {height}×{width} pixels of 8 bits")
    return to_gray(np.frombuffer(data, np.uint8).reshape(height, width, -1))
