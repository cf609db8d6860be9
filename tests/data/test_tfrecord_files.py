"""TFRecord files and Example records: TensorFlow's own reader and writer are the measure."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.tfrecord import decode_example, encode_example, frame, read_at, read_records

FLOATS = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    st.lists(st.binary(max_size=40), max_size=4),
    st.lists(FLOATS, min_size=1, max_size=6).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6).map(lambda v: np.array(v, np.int64)),
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return list(one) == list(other)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=12), VALUES, max_size=6))
def test_examples_come_back_as_they_were(features: dict[str, Any]) -> None:
    found = decode_example(encode_example(features))
    assert found.keys() == features.keys()
    for name, value in features.items():
        assert len(value) == len(found[name]) == 0 or same(value, found[name])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_records_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]) -> None:
    file = tmp_path_factory.mktemp("shard") / "a.tfrecord"
    file.write_bytes(b"".join(map(frame, contents)))
    records = list(read_records(file))
    assert [record.content for record in records] == contents
    assert all(not record.fault for record in records)
    assert [read_at(file, record.offset) for record in records] == records


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_of_bytes_that_are_no_example_nothing_else_is_raised(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_example(content), dict)


@pytest.mark.parametrize("content", [b"\x0a\x05abc", b"\x0b\x01\x00", b"\x08\x01", b"\xff" * 12])
def test_what_is_no_example_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        decode_example(content)


def test_tensorflow_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    written = {
        "a": np.array([1, -2, 2**40]),
        "b": np.array([0.5, np.nan], np.float32),
        "c": "é",
        "d": [b"", b"\x00\xff"],
    }
    ours, theirs = tmp_path / "ours.tfrecord", tmp_path / "theirs.tfrecord"
    ours.write_bytes(frame(encode_example(written)) * 3)
    spec = {
        "a": tf.io.FixedLenFeature([3], tf.int64),
        "b": tf.io.FixedLenFeature([2], tf.float32),
        "c": tf.io.FixedLenFeature([], tf.string),
        "d": tf.io.FixedLenFeature([2], tf.string),
    }
    read = [tf.io.parse_single_example(each, spec) for each in tf.data.TFRecordDataset(str(ours))]
    assert len(read) == 3
    np.testing.assert_array_equal(read[2]["a"].numpy(), written["a"])
    np.testing.assert_array_equal(read[2]["b"].numpy(), written["b"])
    assert read[2]["c"].numpy().decode() == "é"
    assert read[2]["d"].numpy().tolist() == written["d"]

    train = tf.train
    features = {
        "a": train.Feature(int64_list=train.Int64List(value=written["a"])),
        "b": train.Feature(float_list=train.FloatList(value=written["b"])),
        "c": train.Feature(bytes_list=train.BytesList(value=["é".encode()])),
        "d": train.Feature(bytes_list=train.BytesList(value=written["d"])),
        "empty": train.Feature(),
    }
    example = train.Example(features=train.Features(feature=features))
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        writer.write(example.SerializeToString())
        writer.write(b"")
    first, second = read_records(theirs)
    assert (first.fault, second.fault, second.content) == ("", "", b"")
    found = decode_example(first.content)
    assert same(found["a"], written["a"])
    assert same(found["b"], written["b"])
    assert (found["c"], found["d"], found["empty"]) == (["é".encode()], written["d"], [])


def test_numbers_that_are_not_packed_are_read() -> None:
    # Feature{int64_list{value: 5, value: 300}} and Feature{float_list{value: 1.0}}, each value with a tag of its own
    ints = b"\x1a\x05\x08\x05\x08\xac\x02"
    floats = b"\x12\x05\x0d\x00\x00\x80\x3f"
    entry = [b"\x0a\x01" + name + b"\x12" + bytes([len(kind)]) + kind for name, kind in ((b"i", ints), (b"f", floats))]
    body = b"".join(b"\x0a" + bytes([len(each)]) + each for each in entry)
    found = decode_example(b"\x0a" + bytes([len(body)]) + body)
    assert same(found["i"], np.array([5, 300]))
    assert same(found["f"], np.array([1.0], np.float32))


def test_a_damaged_record_is_named_and_the_ones_behind_it_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    content = bytearray(frame(b"first") + frame(b"second") + frame(b"third"))
    content[len(frame(b"first")) + 13] ^= 1
    file.write_bytes(content)
    records = list(read_records(file))
    assert [record.fault for record in records] == ["", "damaged: its checksum is wrong", ""]
    assert records[2].content == b"third"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[: len(frame(b"first")) + 5], "truncated"),
        (
            lambda data: data[: len(frame(b"first"))] + b"\xff" + data[len(frame(b"first")) + 1 :],
            "of its length is wrong",
        ),
    ],
    ids=["content", "head", "length"],
)
def test_where_the_next_record_cannot_be_found_it_is_said(tmp_path: Path, change: Any, fault: str) -> None:
    file = tmp_path / "a.tfrecord"
    file.write_bytes(change(frame(b"first") + frame(b"second")))
    first, second = read_records(file)
    assert (first.fault, second.lost) == ("", True)
    assert fault in second.fault


def test_compressed_and_strange_files_are_told_apart(tmp_path: Path) -> None:
    for name, data, fault in (
        ("z", gzip.compress(frame(b"a" * 100)), "compressed as a whole"),
        ("t", b"name,age\n" * 4, "no TFRecord file"),
    ):
        (tmp_path / name).write_bytes(data)
        (record,) = read_records(tmp_path / name)
        assert fault in record.fault
    (tmp_path / "empty").touch()
    assert list(read_records(tmp_path / "empty")) == []
