"""TFRecord files of tf.train.Example records, by TensorFlow's own reader and writer.

TensorFlow loads with the first call. Its devices are left alone: a run on JAX keeps its GPU, and they can still be configured.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core import limits
from zoo.core.files import open_regular
from zoo.core.quiet import quiet_start

# what a feature can be given as; text is written as UTF-8
Value = bytes | str | int | float | Sequence[bytes] | Sequence[str] | Sequence[int] | Sequence[float] | np.ndarray
# what a feature is read as: bytes, float32 or int64
Feature = list[bytes] | np.ndarray

_HEAD, _FRAME = 12, 16  # bytes before a record's content, and before and behind it together
_COMPRESSED = (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")  # gzip; zlib at its levels


@dataclass(frozen=True)
class Record:
    """One record of a file: `content` begins at byte `start` of the file; `fault` is what is wrong with it, or "".

    With `lost` the next record cannot be found, so that nothing behind it is read.
    """

    start: int
    content: bytes
    fault: str = ""
    lost: bool = False


def read_records(file: Path) -> Iterator[Record]:
    """Every record of a file in order; one with a wrong checksum comes with its fault and without content.

    A record that claims more bytes than a limit allows, or than the file has, is not read.

    Raises:
        DataError: it is no regular file.
        OSError: the file cannot be read.
    """
    tf = _tensorflow()
    # not tf.data.TFRecordDataset, which initialises all devices and gives up a file at its first damaged record
    from tensorflow.python.lib.io.tf_record import tf_record_random_reader

    size, offset = file.stat().st_size, 0
    with open_regular(file) as stream:
        reader = tf_record_random_reader(str(file))
        while offset < size:
            stream.seek(offset)
            head = stream.read(_HEAD)
            end = offset + _FRAME + int.from_bytes(head[:8], "little")
            record = _claimed(offset, head, size)
            try:
                if record is None:
                    record = Record(offset + _HEAD, reader.read(offset)[0])
            except (tf.errors.DataLossError, IndexError) as error:
                record = _damaged(offset, head[:8], str(error))
            yield record
            if record.lost:
                return
            offset = end


def _claimed(offset: int, head: bytes, size: int) -> Record | None:
    """A record whose length is intact, but more than a limit or the file allows; TensorFlow would allocate it."""
    length = int.from_bytes(head[:8], "little")
    most = limits.value("record_bytes")
    if length <= min(most, size - offset - _FRAME) or len(head) < _HEAD or _masked_crc(head[:8]) != head[8:]:
        return None
    if length > size - offset - _FRAME:
        return Record(offset + _HEAD, b"", "truncated", lost=True)
    return Record(
        offset + _HEAD, b"", str(limits.exceeded("record_bytes", "a record", limits.quantity(length, "bytes")))
    )


def _masked_crc(data: bytes) -> bytes:
    """The CRC-32C (Castagnoli) of a length as TFRecord files have it: rotated by 15 bits, and a constant added."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    crc ^= 0xFFFFFFFF
    return (((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")


def _damaged(offset: int, head: bytes, error: str) -> Record:
    start = offset + _HEAD
    if f"corrupted record at {start}" in error:  # the content alone: its length is intact
        return Record(start, b"", "damaged: its checksum is wrong")
    if offset == 0 and head.startswith(_COMPRESSED):
        fault = "the file is compressed as a whole: decompress it first"
    elif "corrupted" in error:
        fault = "damaged: the checksum of its length is wrong" if offset else "no TFRecord file"
    else:
        fault = "truncated"
    return Record(start, b"", fault, lost=True)


def write_records(file: Path, contents: Iterable[bytes]) -> None:
    """Write a file of records.

    Raises:
        OSError: it cannot be written.
    """
    tf = _tensorflow()
    try:
        with tf.io.TFRecordWriter(str(file)) as writer:
            for content in contents:
                writer.write(content)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


def encode_example(features: Mapping[str, Value]) -> bytes:
    """A tf.train.Example; the same features give the same bytes, in whatever order they come."""
    train = _tensorflow().train
    named = {name: _encode_feature(train, value) for name, value in features.items()}
    content: bytes = train.Example(features=train.Features(feature=named)).SerializeToString(deterministic=True)
    return content


def _encode_feature(train: Any, value: Value) -> Any:
    values: Any = [value] if isinstance(value, (bytes, str, int, float)) else value
    if len(values) and isinstance(values[0], (bytes, str)):
        parts = [each.encode() if isinstance(each, str) else each for each in values]
        return train.Feature(bytes_list=train.BytesList(value=parts))
    if np.asarray(values).dtype.kind in "iub":
        return train.Feature(int64_list=train.Int64List(value=values))
    return train.Feature(float_list=train.FloatList(value=values))


def decode_example(content: bytes) -> dict[str, Feature]:
    """The features of a tf.train.Example.

    Raises:
        ValueError: it is no such message, or has more features than the limit of columns.
    """
    train = _tensorflow().train
    from google.protobuf.message import DecodeError

    try:
        example = train.Example.FromString(content)
    except DecodeError as error:
        raise ValueError("not a tf.train.Example") from error
    limits.check("table_columns", len(example.features.feature), "the features of a record", ValueError)
    return {name: _decode_feature(feature) for name, feature in example.features.feature.items()}


def _decode_feature(feature: Any) -> Feature:
    kind = feature.WhichOneof("kind")
    if kind == "float_list":
        return np.array(feature.float_list.value, np.float32)
    if kind == "int64_list":
        return np.array(feature.int64_list.value, np.int64)
    return list(feature.bytes_list.value)


@functools.cache
def _tensorflow() -> Any:
    with quiet_start():
        import tensorflow
    return tensorflow
