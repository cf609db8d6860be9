"""Hostile .npz files and TFRecord files."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from corpus_archives import write
from harness import Case

NPZ, RECORDS = "pneumoniamnist.npz", "a.tfrecord"


def setup() -> None:
    import tensorflow

    import zoo.data.tfrecord

    assert tensorflow
    assert zoo.data.tfrecord


CASES: list[Case] = []


def _arrays(number: int = 4, side: int = 28) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for split in ("train", "val", "test"):
        found[f"{split}_images"] = rng.integers(0, 256, (number, side, side), np.uint8)
        found[f"{split}_labels"] = rng.integers(0, 2, (number, 1), np.uint8)
    return found


def npy(values: np.ndarray, **header: Any) -> bytes:
    """An array as NumPy saves it, or with another header than is true."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, values, allow_pickle=True)
    if header:
        stream = io.BytesIO()
        told = {"descr": values.dtype.str, "fortran_order": False, "shape": values.shape} | header
        text = (repr(told) + "\n").encode()
        stream.write(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text + values.tobytes())
    return stream.getvalue()


def _npz(folder: Path, *, method: int = zipfile.ZIP_STORED, **members: Any) -> None:
    with zipfile.ZipFile(folder / NPZ, "w", method) as pack:
        for name, values in (_arrays() | members).items():
            if values is not None:
                data = values() if callable(values) else values
                pack.writestr(f"{name}.npy", npy(data) if isinstance(data, np.ndarray) else data)


def medmnist(folder: Path) -> bool:
    from zoo.core.registry import registry

    dataset = registry().get("dataset", "medmnist")
    return len(dataset.read(folder, dataset.Options())) == 12


def one_image(folder: Path) -> bool:
    from zoo.data.images import ArraySource

    return ArraySource(str(folder / NPZ)).read("train/0")[0].shape == (28, 28)


ZEROS = np.zeros((4, 28, 28), np.uint8)
NPZS: dict[str, tuple[dict[str, Any], str]] = {
    "images of 100 MB": ({"method": 8, "train_images": lambda: np.zeros((128_000, 28, 28), np.uint8)}, "EXPANSION"),
    "images that claim 12 GB": ({"train_images": npy(ZEROS, shape=(15_000_000, 28, 28))}, "claims the shape"),
    "images that claim 2**70 bytes": (
        {"train_images": npy(ZEROS, shape=(2**60, 28, 28))},
        "claims the shape|too large|cannot",
    ),
    "images of a shape below 0": ({"train_images": npy(ZEROS, shape=(-4, -28, 28))}, "claims the shape|cannot be read"),
    "images of no shape": ({"train_images": npy(ZEROS, shape=())}, "claims the shape"),
    "images of a shape of text": ({"train_images": npy(ZEROS, shape=("4",))}, "cannot be read"),
    "images of objects": ({"train_images": np.array([[{}]], object)}, "objects of Python"),
    "labels of objects": ({"train_labels": np.array([[{}]] * 4, object)}, "objects of Python"),
    "labels of text": ({"train_labels": np.array([["1"]] * 4)}, "labels"),
    "labels of NaN": ({"train_labels": np.full((4, 1), np.nan)}, "has the value nan"),
    "labels of 2": ({"train_labels": np.full((4, 1), 2)}, "has the value 2"),
    "labels of more rows": ({"train_labels": np.zeros((5, 1))}, "has shape"),
    "labels that claim more rows": (
        {"train_labels": npy(np.zeros((4, 1), np.uint8), shape=(10**10, 1))},
        "claims the shape|has shape",
    ),
    "labels of a compound type": ({"train_labels": np.zeros((4, 1), [("a", "u1")])}, "labels|cannot"),
    "images of floats": ({"train_images": np.zeros((4, 28, 28))}, "not uint8"),
    "images of one dimension": ({"train_images": np.zeros(4, np.uint8)}, "has shape"),
    "images of 400 megapixels": ({"train_images": npy(np.zeros(0, np.uint8), shape=(0, 20_000, 20_000))}, "PIXELS"),
    "images of several sizes": ({"train_images": np.zeros((4, 8, 8), np.uint8)}, "several sizes"),
    "an unknown type": ({"train_images": npy(ZEROS, descr="|Z9")}, "cannot be read"),
    "a type that is code": (
        {"train_images": npy(ZEROS, descr="__import__('os').system('touch ran')")},
        "cannot be read",
    ),
    "a header that is code": (
        {"train_images": b"\x93NUMPY\x01\x00\x1e\x00__import__('os').abort()    \n"},
        "cannot be read",
    ),
    "a header of 1 GB": ({"train_images": b"\x93NUMPY\x02\x00\xff\xff\xff\x3f{"}, "cannot be read"),
    "a deep header": (
        {"train_images": b"\x93NUMPY\x02\x00" + struct.pack("<I", 9001) + b"(" * 9000 + b"\n"},
        "cannot be read",
    ),
    "an unknown version": ({"train_images": b"\x93NUMPY\x09\x00" + npy(ZEROS)[8:]}, "cannot be read"),
    "an array that is cut": ({"train_images": npy(ZEROS)[:-9]}, "claims the shape"),
    "an array with more behind": ({"train_labels": npy(np.zeros((4, 1), np.uint8)) + b"more"}, "claims the shape"),
    "an empty member": ({"train_images": b""}, "cannot be read"),
    "a pickle": ({"train_images": b"\x80\x04cos\nsystem\n"}, "cannot be read"),
    "no validation images": ({"val_images": None}, "has no val_images"),
}
CASES += [Case(f"npz: {what}", partial(_npz, **members), medmnist, words) for what, (members, words) in NPZS.items()]
CASES += [
    Case(f"npz, image by image: {what}", partial(_npz, **NPZS[what][0]), one_image, NPZS[what][1])
    for what in ("images of 100 MB", "images that claim 12 GB", "images of objects", "an array that is cut", "a pickle")
]


def _special(name: str, kind: str, folder: Path) -> None:
    if kind == "FIFO":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    else:
        (folder / name).symlink_to(kind)


CASES += [
    Case(f"npz: {kind}", partial(_special, NPZ, kind), one_image, words)
    for kind, words in (
        ("FIFO", "no regular file"),
        ("folder", "is a directory"),
        ("/dev/zero", "no regular file"),
        ("no", "missing"),
    )
]
CASES += [
    Case("npz: text", partial(write, NPZ, b"text"), medmnist, "cannot be read as an .npz file"),
    Case("npz that is read", _npz, medmnist, None),
    Case("npz whose image is read", _npz, one_image, None),
]


def frame(content: bytes, length: int | None = None, *, head_crc: int = 0, crc: int = 0) -> bytes:
    from zoo.data.tfrecord import _masked_crc

    size = struct.pack("<Q", len(content) if length is None else length)
    sums = [bytearray(_masked_crc(size)), bytearray(_masked_crc(content))]
    sums[0][0] ^= head_crc
    sums[1][0] ^= crc
    return size + bytes(sums[0]) + content + bytes(sums[1])


def records(folder: Path) -> str:
    """The faults of a file's records; refused where there is one."""
    from harness import Refused

    from zoo.data.tfrecord import decode_example, read_records

    for record in read_records(folder / RECORDS):
        if record.fault:
            raise Refused(record.fault)
        try:
            decode_example(record.content)
        except ValueError as error:
            raise Refused(str(error)) from None
    return "read"


def example(number: int = 1) -> bytes:
    from zoo.data.tfrecord import encode_example

    return encode_example({f"f{n}": [n] for n in range(number)})


RECORD: dict[str, tuple[Callable[[], bytes], str]] = {
    "a length of 2**62": (lambda: frame(b"x", 2**62), "truncated"),
    "a length of 2**64 - 1": (lambda: frame(b"x", 2**64 - 1), "truncated"),
    "a length of 600 MB": (lambda: frame(b"x", 600_000_000), "truncated"),
    "a length of one more": (lambda: frame(b"xy", 3), "truncated"),
    "a length of one less": (lambda: frame(b"xy", 1), "damaged"),
    "a wrong checksum of a length": (lambda: frame(b"x", head_crc=1), "no TFRecord file"),
    "a wrong checksum": (lambda: frame(b"x", crc=1), "its checksum is wrong"),
    "a second record of 2**62": (lambda: frame(example()) + frame(b"x", 2**62), "truncated"),
    "a second length that is wrong": (lambda: frame(example()) + frame(b"x", head_crc=1), "checksum of its length"),
    "7 bytes": (lambda: b"\0" * 7, "no TFRecord|truncated"),
    "12 bytes": (lambda: frame(b"x")[:12], "truncated"),
    "a cut checksum": (lambda: frame(example())[:-2], "truncated"),
    "gzip": (lambda: gzip.compress(frame(example())), "compressed as a whole"),
    "zlib": (lambda: zlib.compress(frame(example())), "compressed as a whole"),
    "text": (lambda: b"image,label\na.png,1\n", "no TFRecord file"),
    "zeros": (lambda: b"\0" * 999, "no TFRecord file|truncated"),
    "a message that is none": (lambda: frame(b"\xff" * 99), "not a tf.train.Example"),
    "a message cut off": (lambda: frame(example(9)[:-3]), "not a tf.train.Example"),
    "a message that claims 4 GB": (lambda: frame(b"\x0a\xff\xff\xff\xff\x0f"), "not a tf.train.Example"),
    "a message nested in itself": (lambda: frame(b"\x0a\x7e" * 300), "not a tf.train.Example"),
    "20,000 features": (lambda: frame(example(20_000)), "20,000 columns.*TABLE_COLUMNS"),
}
CASES += [
    Case(f"TFRecord: {what}", partial(write, RECORDS, data), records, words) for what, (data, words) in RECORD.items()
]
CASES += [
    Case(
        "TFRecord: a sparse file of 600 MB",
        lambda f: _long_record(f),
        records,
        "600 MB, over the limit of 500 MB .*RECORD_BYTES",
    ),
    Case("TFRecord: a FIFO", partial(_special, RECORDS, "FIFO"), records, "no regular file"),
    Case("TFRecord: a device", partial(_special, RECORDS, "/dev/zero"), records, "no regular file"),
    Case("TFRecord that is read", partial(write, RECORDS, lambda: frame(example()) * 3), records, None),
]


def _long_record(folder: Path) -> None:
    data = frame(b"x", 600_000_000)[:12]
    with (folder / RECORDS).open("wb") as file:
        file.write(data)
        file.truncate(600_000_016)
