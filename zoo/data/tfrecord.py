"""TFRecord files and the tf.train.Example records in them, read and written without TensorFlow.

A file is a row of records: the length (uint64), its checksum, the content, its checksum; all little-endian. The checksum is
CRC-32C, rotated by 15 bits with a constant added (https://www.tensorflow.org/tutorials/load_data/tfrecord). The content is
a Protocol Buffers message, Example: a map from names to lists of bytes, of float32 or of int64.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import google_crc32c
import numpy as np

# what a feature can be given as; text is written as UTF-8
Value = bytes | str | int | float | Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float] | np.ndarray
# what a feature is read as
Feature = list[bytes] | np.ndarray

_HEAD = struct.Struct("<QI")
_SUM = struct.Struct("<I")
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
_BYTES, _FLOATS, _INTS = 1, 2, 3  # field numbers of the three kinds of lists


def masked_crc(content: bytes) -> int:
    """The checksum of a record's part."""
    crc = google_crc32c.value(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(content: bytes) -> bytes:
    """The bytes of one record in a file."""
    length = struct.pack("<Q", len(content))
    return b"".join((length, _SUM.pack(masked_crc(length)), content, _SUM.pack(masked_crc(content))))


@dataclass(frozen=True)
class Record:
    """One record of a file: where it begins, its content, and what is wrong with it ("" if nothing is).

    `lost` says that the fault hides where the next record begins, so that nothing behind it can be read.
    """

    offset: int
    content: bytes
    fault: str = ""
    lost: bool = False


def read_records(file: Path) -> Iterator[Record]:
    """Every record of a file in order, the damaged ones with their fault.

    Raises:
        OSError: the file cannot be read.
    """
    size = file.stat().st_size
    offset = 0
    with file.open("rb") as stream:
        while offset < size:
            record = _read(stream, offset, size)
            yield record
            if record.lost:
                return
            offset += _HEAD.size + len(record.content) + _SUM.size


def read_at(file: Path, offset: int) -> Record:
    """The record that begins at `offset`; raises OSError where the file cannot be read."""
    with file.open("rb") as stream:
        stream.seek(offset)
        return _read(stream, offset, file.stat().st_size)


def _read(stream: IO[bytes], offset: int, size: int) -> Record:
    head = stream.read(_HEAD.size)
    if offset == 0 and (
        head.startswith(_GZIP) or (head.startswith(_ZLIB) and len(head) > 1 and head[1] in b"\x01\x5e\x9c\xda")
    ):
        return Record(offset, b"", "the file is compressed as a whole: decompress it first", lost=True)
    if len(head) < _HEAD.size:
        return Record(offset, b"", "truncated", lost=True)
    length, crc = _HEAD.unpack(head)
    if crc != masked_crc(head[:8]):
        fault = "no TFRecord file" if offset == 0 else "damaged: the checksum of its length is wrong"
        return Record(offset, b"", fault, lost=True)
    if offset + _HEAD.size + length + _SUM.size > size:
        return Record(offset, b"", "truncated", lost=True)
    content, expected = stream.read(length), stream.read(_SUM.size)
    if len(content) < length or len(expected) < _SUM.size:
        return Record(offset, b"", "truncated", lost=True)
    if masked_crc(content) != _SUM.unpack(expected)[0]:
        return Record(offset, content, "damaged: its checksum is wrong")
    return Record(offset, content)


def encode_example(features: Mapping[str, Value]) -> bytes:
    """A tf.train.Example, its features in order of their names: the same features give the same bytes."""
    entries = (
        _field(1, _field(1, name.encode()) + _field(2, _encode_feature(features[name]))) for name in sorted(features)
    )
    return _field(1, b"".join(entries))


def _encode_feature(value: Value) -> bytes:
    values: Any = [value] if isinstance(value, (bytes, str, int, float, np.generic)) else value
    if len(values) and isinstance(values[0], (bytes, str)):
        parts = (each.encode() if isinstance(each, str) else bytes(each) for each in values)
        return _field(_BYTES, b"".join(_field(1, part) for part in parts))
    numbers = np.asarray(values)
    if numbers.dtype.kind in "iub":
        packed = b"".join(_varint(int(number) & 0xFFFFFFFFFFFFFFFF) for number in numbers.ravel())
        return _field(_INTS, _field(1, packed))
    return _field(_FLOATS, _field(1, numbers.astype("<f4").tobytes()))


def decode_example(content: bytes, only: Container[str] | None = None) -> dict[str, Feature]:
    """The features of a tf.train.Example, or `only` some of them: lists of bytes, float32 or int64 arrays.

    Raises:
        ValueError: it is no such message.
    """
    try:
        found: dict[str, Feature] = {}
        for features in _all(memoryview(content), 1):
            for entry in _all(features, 1):
                name = b"".join(bytes(each) for each in _all(entry, 1)[-1:]).decode()
                if only is not None and name not in only:
                    continue
                feature = _all(entry, 2)
                found[name] = _decode_feature(feature[-1]) if feature else []
    except (IndexError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise ValueError("not a tf.train.Example") from error
    return found


def _decode_feature(feature: memoryview) -> Feature:
    for number, kind in _fields(feature):
        if not isinstance(kind, memoryview):
            raise ValueError("a list is no message")
        if number == _BYTES:
            return [bytes(each) for each in _all(kind, 1)]
        if number == _FLOATS:  # packed, or one by one
            parts = [bytes(part) for _, part in _fields(kind) if isinstance(part, memoryview)]
            return np.frombuffer(b"".join(parts), "<f4")
        if number == _INTS:
            return np.array(list(_integers(kind)), np.uint64).astype(np.int64)
    return []


def _integers(message: memoryview) -> Iterator[int]:
    for _, part in _fields(message):
        if isinstance(part, int):
            yield part
            continue
        at = 0
        while at < len(part):
            value, at = _read_varint(part, at)
            yield value


def _all(message: memoryview, number: int) -> list[memoryview]:
    """The parts of a message with this field number, which must be bytes or messages."""
    found = []
    for each, part in _fields(message):
        if each == number:
            if not isinstance(part, memoryview):
                raise ValueError("a number where a message belongs")
            found.append(part)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """The fields of a message: number, and bytes (of fixed width too) or an integer."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _read_varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            width, at = _read_varint(message, at)
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + width > end:
            raise ValueError("cut off")
        yield tag >> 3, message[at : at + width]
        at += width


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")
    return value & 0xFFFFFFFFFFFFFFFF, at
