"""TFRecord files and Example records: what is written comes back, and damage is named."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.tfrecord import decode_example, encode_example, read_records, write_records

FLOATS = st.floats(width=32, allow_nan=False)
VALUES = st.one_of(
    st.lists(st.binary(max_size=40), max_size=4),
    st.lists(FLOATS, min_size=1, max_size=6).map(lambda v: np.array(v, np.float32)),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6).map(lambda v: np.array(v, np.int64)),
)
FIRST, SECOND = 12 + 5 + 4, 12 + 6 + 4  # bytes that the records "first" and "second" take in a file


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


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=20))
def test_text_of_any_characters_comes_back(text: str) -> None:
    assert decode_example(encode_example({"image/filename": text}))["image/filename"] == [text.encode()]


def test_the_order_of_features_does_not_change_the_bytes() -> None:
    features: dict[str, Any] = {name: i for i, name in enumerate("zyxwvutsrq")}
    assert encode_example(features) == encode_example(dict(sorted(features.items())))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_records_come_back_as_they_were_and_where_they_begin(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    file = tmp_path_factory.mktemp("shard") / "a.tfrecord"
    write_records(file, contents)
    records = list(read_records(file))
    assert [record.content for record in records] == contents
    assert all(not record.fault for record in records)
    whole = file.read_bytes()
    assert [whole[record.start :][: len(record.content)] for record in records] == contents


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_bytes_that_are_no_example_raise_nothing_but_a_value_error(content: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode_example(content), dict)


@pytest.mark.parametrize("content", [b"\x0a\x05abc", b"\x0b\x01\x00", b"\xff" * 12])
def test_what_is_no_example_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        decode_example(content)


def test_files_pass_between_this_module_and_tf_data(tmp_path: Path) -> None:
    import tensorflow as tf

    written = {
        "a": np.array([1, -2, 2**40]),
        "b": np.array([0.5, np.nan], np.float32),
        "c": "é",
        "d": [b"", b"\x00\xff"],
    }
    ours, theirs = tmp_path / "ours.tfrecord", tmp_path / "theirs.tfrecord"
    write_records(ours, [encode_example(written)] * 3)
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


def test_reading_and_writing_leave_the_devices_of_tensorflow_alone(run_python: Any, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from zoo.data.tfrecord import encode_example, read_records, write_records
file = Path(sys.argv[1])
write_records(file, [encode_example({"a": 1})])
print(len(list(read_records(file))))
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
print(len(tf.config.list_logical_devices("CPU")))
"""
    result = run_python("-c", code, str(tmp_path / "a.tfrecord"))
    assert (result.returncode, result.stdout) == (0, "1\n2\n"), result.stderr


def test_a_damaged_record_is_named_and_the_ones_behind_it_are_read(tmp_path: Path) -> None:
    file = tmp_path / "a.tfrecord"
    write_records(file, [b"first", b"second", b"third"])
    content = bytearray(file.read_bytes())
    content[FIRST + 13] ^= 1
    file.write_bytes(content)
    records = list(read_records(file))
    assert [record.fault for record in records] == ["", "damaged: its checksum is wrong", ""]
    assert records[2].content == b"third"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: data[:-1], "truncated"),
        (lambda data: data[: FIRST + 5], "truncated"),
        (lambda data: data[:FIRST] + b"\xff" + data[FIRST + 1 :], "of its length is wrong"),
    ],
    ids=["content", "head", "length"],
)
def test_reading_ends_where_the_next_record_cannot_be_found(
    tmp_path: Path, change: Callable[[bytes], bytes], fault: str
) -> None:
    file = tmp_path / "a.tfrecord"
    write_records(file, [b"first", b"second"])
    assert file.stat().st_size == FIRST + SECOND
    file.write_bytes(change(file.read_bytes()))
    first, second = read_records(file)
    assert (first.fault, second.lost) == ("", True)
    assert fault in second.fault


def test_compressed_and_strange_files_are_named(tmp_path: Path) -> None:
    write_records(tmp_path / "a", [b"a" * 100])
    for name, data, fault in (
        ("z", gzip.compress((tmp_path / "a").read_bytes()), "compressed as a whole"),
        ("t", b"name,age\n" * 4, "no TFRecord file"),
    ):
        (tmp_path / name).write_bytes(data)
        (record,) = read_records(tmp_path / name)
        assert fault in record.fault
    (tmp_path / "empty").touch()
    assert list(read_records(tmp_path / "empty")) == []


def test_a_first_record_whose_length_looks_like_gzip_is_read(tmp_path: Path) -> None:
    content = bytes(0x8B1F)  # gzip begins with 1f 8b
    write_records(tmp_path / "a", [content])
    assert [record.content for record in read_records(tmp_path / "a")] == [content]


def test_a_file_that_cannot_be_written_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        write_records(tmp_path / "none" / "a", [b""])
