"""Hostile tables, lists, YAML and JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import Case, zoo

from zoo.config.resolve import parse_set, read_file
from zoo.core.documents import read_json
from zoo.core.tables import read_list, read_table

NAME = "t.csv"
SMALL = b"image,label\na.png,1\n"


def _bytes(data: bytes | Callable[[], bytes], folder: Path) -> None:
    (folder / NAME).write_bytes(data if isinstance(data, bytes) else data())


def _sparse(size: int, folder: Path) -> None:
    with (folder / NAME).open("wb") as file:
        file.truncate(size)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / NAME)


def _folder(folder: Path) -> None:
    (folder / NAME).mkdir()


def _link(target: str, folder: Path) -> None:
    (folder / NAME).symlink_to(target)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def changed(data: bytes, find: bytes, by: bytes, *, last: bool = False) -> bytes:
    at = data.rindex(find) if last else data.index(find)
    return data[:at] + by + data[at + len(find) :]


def bomb(times: int, compress: Callable[[bytes], bytes] = gzip.compress) -> bytes:
    """A packed file of so many parts of one MB of rows each."""
    return compress(b"image,label\n") + compress(b"a.png,1\n" * 125_000) * times


def _large_dictionary() -> bytes:
    """An xz file of three bytes that asks for a dictionary of 1.5 GB."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]
    data = bytearray(lzma.compress(SMALL, filters=filters))
    at = data.index(b"\x21\x01") + 2  # the size of the dictionary in the block header
    data[at] = 37
    start, length = 12, (data[12] + 1) * 4
    data[start + length - 4 : start + length] = struct.pack("<I", zlib.crc32(data[start : start + length - 4]))
    return bytes(data)


def _lying_zip(size: int) -> bytes:
    """A zip member that claims another size than it has."""
    data = zipped(("t.csv", SMALL), method=zipfile.ZIP_STORED)
    head = data.index(b"PK\x01\x02")
    return data[: head + 24] + struct.pack("<I", size) + data[head + 28 :]


def _lying_directory(size: int) -> bytes:
    data = zipped(("t.csv", SMALL))
    return data[:-10] + struct.pack("<I", size) + data[-6:]


def _many_members(number: int) -> bytes:
    return zipped(*((f"{n}.csv", b"a\n") for n in range(number)))


def _twice() -> bytes:
    return changed(zipped(("a.csv", SMALL), ("b.csv", SMALL)), b"b.csv", b"a.csv", last=True)


def _nested(depth: int, opened: str, closed: str, inner: str = "1") -> bytes:
    return (opened * depth + inner + closed * depth).encode()


def _aliases(levels: int, join: str) -> bytes:
    """Each level repeats the one before it nine times."""
    lines = ["a0: &a0 {k: v}" if join == "<<" else "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for n in range(1, levels):
        again = ", ".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} {{<<: [{again}]}}" if join == "<<" else f"a{n}: &a{n} [{again}]")
    return "\n".join(lines).encode()


def table(folder: Path) -> Any:
    return read_table(folder / NAME)[0]


def lines(folder: Path) -> list[str]:
    return read_list(folder / NAME)


def settings(folder: Path) -> Any:
    return read_file(folder / NAME)


def document(folder: Path) -> Any:
    return read_json(folder / NAME)


def _one_row(folder: Path) -> bool:
    return bool(table(folder).to_numpy().tolist() == [["a.png", "1"]])


KINDS: list[tuple[str, Callable[[Path], object], str]] = [
    ("a table", table, ""),
    ("a list", lines, ""),
    ("a configuration", settings, "the configuration .*"),
    ("a JSON document", document, ""),
]
CASES = [
    Case(f"{kind}: {what}", write, read, prefix + words)
    for kind, read, prefix in KINDS
    for what, write, words in (
        ("a FIFO", _fifo, "is no regular file"),
        ("a folder", _folder, "is a directory"),
        ("a link to /dev/zero", partial(_link, "/dev/zero"), "is no regular file"),
        ("a link to memory", partial(_link, "/proc/self/mem"), "cannot be read|Input/output|is not|limit"),
        ("a sparse file of 100 GB", partial(_sparse, 100 * 10**9), r"100 GB, over the limit of .*ZOO_MAX_\w+_BYTES"),
        ("NUL bytes", partial(_bytes, b"image,label\n\0\0\0\0\n"), "not text|not JSON|not YAML"),
    )
]
UNREADABLE: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "nothing": (b"", "no rows|cannot be read"),
    "a header alone": (b"image,label\n", "has no rows"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "cannot be read"),
    "half of UTF-16": (b"\xff\xfei\0m\0a", "cannot be read"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not text"),
    "200,000 columns": (
        lambda: b",".join(b"c%d" % n for n in range(200_000)) + b"\n1\n",
        "200,000 columns.*TABLE_COLUMNS",
    ),
    "a million columns": (lambda: b"a" + b",a" * 999_999 + b"\n1\n", "1,000,000 columns.*TABLE_COLUMNS"),
    "a million columns by semicolons": (lambda: b"a" + b";a" * 999_999 + b"\n1\n", "1,000,000 columns.*TABLE_COLUMNS"),
    "a million columns by tabs": (lambda: b"a" + b"\ta" * 999_999 + b"\n1\n", "1,000,000 columns.*TABLE_COLUMNS"),
    "short rows below a wide header": (
        lambda: b",".join([b"c"] * 9_000) + b"\n" + b"1\n" * 9_000,
        "81,009,000 cells.*TABLE_CELLS",
    ),
    "short rows ended by carriage returns": (
        lambda: b",".join([b"c"] * 9_000) + b"\r" + b"1\r" * 9_000,
        "81,009,000 cells.*TABLE_CELLS",
    ),
    "a cell of 5 MB": (
        lambda: b"image,label\na.png," + b"x" * 5_000_000 + b"\n",
        "5,000,000 characters|longer|CELL_CHARS",
    ),
    "a quoted cell of 5 MB": (lambda: b'image,label\na.png,"' + b"x\n" * 2_500_000 + b'"\n', "CELL_CHARS"),
    "a long cell far below": (
        lambda: b"image,label\n" + b"a,1\n" * 99 + b"b," + b"x" * 200_000 + b"\n",
        "200,000 characters.*CELL_CHARS",
    ),
    "a header of 5 MB": (lambda: b"x" * 5_000_000 + b",label\na,1\n", "CELL_CHARS|no rows|limit"),
    "more cells than the header": (b"image,label\na.png,1,x\nb.png,1,y\n", "more cells than the header"),
    "a quote that does not end": (b'image,label\n"a.png,1\nb.png,1\n', "cannot be read"),
    "rows of several lengths": (b"image,label\na,1\nb,1,2\nc,1,2,3,4\n", "cannot be read"),
    "a gzip bomb of 400 MB": (lambda: bomb(400), "TABLE_BYTES"),
    "a gzip bomb of 100 MB": (lambda: bomb(100), "100 MB or more from .*EXPANSION"),
    "a bzip2 bomb": (lambda: bomb(100, bz2.compress), "EXPANSION"),
    "an xz bomb": (lambda: bomb(100, lzma.compress), "EXPANSION"),
    "an xz file that asks for 1.5 GB": (_large_dictionary, "cannot be read.*[Mm]emory"),
    "a gzip file cut in its header": (gzip.compress(SMALL)[:8], "cannot be read"),
    "a gzip file cut in its data": (gzip.compress(SMALL * 99)[:40], "cannot be read"),
    "a gzip file cut in its checksum": (gzip.compress(SMALL)[:-3], "cannot be read"),
    "a gzip file of a wrong checksum": (gzip.compress(SMALL)[:-8] + b"\0" * 8, "cannot be read"),
    "a gzip file with something behind it": (gzip.compress(SMALL) + b"something", "cannot be read"),
    "a bzip2 file that is cut off": (bz2.compress(SMALL)[:-9], "cannot be read"),
    "a bzip2 file that is none": (b"BZh9something else", "cannot be read"),
    "an xz file that is cut off": (lzma.compress(SMALL)[:-9], "cannot be read"),
    "an xz file that is none": (b"\xfd7zXZ\0something", "cannot be read"),
    "a zip bomb": (lambda: zipped(("t.csv", b"image,label\n" + b"a.png,1\n" * 12_000_000)), "EXPANSION"),
    "a zip member that claims 4 GB": (_lying_zip(2**32 - 2), "4.295 GB or more from .*EXPANSION"),
    "a zip member that claims more than it has": (_lying_zip(len(SMALL) + 9), "cannot be read"),
    "a zip member that claims less than it has": (_lying_zip(len(SMALL) - 9), "cannot be read"),
    "a zip directory that claims 4 GB": (_lying_directory(2**32 - 2), "ZIP_DIRECTORY_BYTES|cannot be read"),
    "a zip file of 3,000 tables": (lambda: _many_members(3_000), "must hold one table"),
    "a zip file of one name twice": (_twice, "two members named 'a.csv'"),
    "a zip file of none": (zipped(), "cannot be read|not text"),
    "a zip file of folders": (zipped(("a/", b""), ("b/", b"")), "must hold one table"),
    "a zip file that is cut off": (zipped(("t.csv", SMALL))[:-30], "cannot be read"),
    "a zip member of a wrong checksum": (
        changed(zipped(("t.csv", SMALL), method=0), b"a.png", b"b.png"),
        "cannot be read",
    ),
    "a zip member of an unknown method": (
        changed(zipped(("t.csv", SMALL)), b"\x08\0", b"\x63\0", last=True),
        "cannot be read",
    ),
    "a workbook": (zipped(("xl/workbook.xml", b"<x/>")), "Excel workbook"),
    "an encrypted member": (
        changed(zipped(("t.csv", SMALL)), b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
        "cannot be read",
    ),
    "a table in a bomb in a bomb": (lambda: gzip.compress(bomb(50)), "not text|cannot be read"),
}
CASES += [Case(f"table: {what}", partial(_bytes, data), table, words) for what, (data, words) in UNREADABLE.items()]
READABLE: dict[str, bytes] = {
    "as it is": SMALL,
    "byte order mark": b"\xef\xbb\xbf" + SMALL,
    "UTF-16": SMALL.decode().encode("utf-16"),
    "gzip": gzip.compress(SMALL),
    "gzip of two parts": gzip.compress(SMALL[:12]) + gzip.compress(SMALL[12:]),
    "bzip2": bz2.compress(SMALL),
    "xz": lzma.compress(SMALL),
    "xz of two streams": lzma.compress(SMALL[:12]) + lzma.compress(SMALL[12:]),
    "zip": zipped(("anything", SMALL)),
    "carriage returns": SMALL.replace(b"\n", b"\r\n"),
    "no last line end": SMALL[:-1],
}
CASES += [Case(f"table that is read: {what}", partial(_bytes, data), _one_row, None) for what, data in READABLE.items()]
YAML: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "an alias bomb": (lambda: _aliases(12, ""), "values.*DOCUMENT_VALUES"),
    "an alias bomb of merged keys": (lambda: _aliases(12, "<<"), "values.*DOCUMENT_VALUES"),
    "a value in itself": (b"a: &a [*a]", "contains itself"),
    "a mapping in itself": (b"a: &a {b: *a}", "contains itself"),
    "a merge with itself": (b"a: &a {<<: *a}", "contains itself"),
    "deep lists": (_nested(500, "[", "]"), "500 levels|DOCUMENT_DEPTH"),
    "very deep lists": (_nested(50_000, "[", "]"), "not YAML|DOCUMENT_DEPTH"),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(300)).encode(), "DOCUMENT_DEPTH"),
    "very deep blocks": (b"- " * 50_000 + b"x", "not YAML|DOCUMENT_DEPTH"),
    "deep questions": (b"? " * 5_000 + b"x", "not YAML|DOCUMENT_DEPTH"),
    "2 MB": (lambda: b"a: 1\n" * 400_000, "2 MB, over the limit of .*CONFIG_BYTES"),
    "an object of Python": (b"a: !!python/object/apply:os.system [touch ran]", "not YAML.*python"),
    "a module of Python": (b"a: !!python/module:os", "not YAML.*python"),
    "a tuple of Python": (b"a: !!python/tuple [1]", "not YAML.*python"),
    "an unknown tag": (b"a: !something 1", "not YAML"),
    "a date that is none": (b"a: 2020-13-45", "not YAML"),
    "a wrong timestamp": (b"a: !!timestamp x", "not YAML"),
    "a wrong boolean": (b"a: !!bool x", "not YAML"),
    "a wrong number": (b"a: !!int x", "not YAML"),
    "a wrong float": (b"a: !!float x", "not YAML"),
    "no base 64": (b"a: !!binary \xc3\xa9", "not YAML"),
    "a number of 5,000 digits": (b"a: " + b"9" * 5_000, "not YAML"),
    "a list as a key": (b"{[a]: 1}", "not YAML"),
    "an unknown alias": (b"a: *b", "not YAML"),
    "tabs": (b"a:\n\tb: 1", "not YAML"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not YAML"),
    "a control character": (b"a: \x01", "not YAML"),
    "bytes that are no UTF-8": (b"a: \xff\xfe\xfa", "not YAML"),
    "a list": (b"- a\n", "not a mapping"),
    "a text": (b"text", "not a mapping"),
    "nothing": (b"", "not a mapping"),
    "nothing but a comment": (b"# a\n", "not a mapping"),
    "a quote that does not end": (b"a: 'b", "not YAML"),
    "a bracket that does not end": (b"a: [b", "not YAML"),
    "YAML 3": (b"%YAML 3.0\n---\na: 1", "not YAML|not a mapping"),
}
CASES += [
    Case(f"configuration: {what}", partial(_bytes, data), settings, words) for what, (data, words) in YAML.items()
]
JSON: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "deep lists": (_nested(500, "[", "]"), "DOCUMENT_DEPTH"),
    "very deep lists": (_nested(200_000, "[", "]"), "DOCUMENT_DEPTH"),
    "very deep objects": (_nested(200_000, '{"a":', "}"), "DOCUMENT_DEPTH"),
    "20 MB": (lambda: b"[" + b"1," * 10_000_000 + b"1]", "20 MB, over the limit of .*DOCUMENT_BYTES"),
    "5 million values": (lambda: b"[" + b"1," * 5_000_000 + b"1]", "5,000,001 values.*DOCUMENT_VALUES"),
    "5 million lists": (lambda: b"[" + b"[]," * 5_000_000 + b"1]", "5,000,001 values.*DOCUMENT_VALUES"),
    "a key twice": (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
    "a key twice below": (b'{"b": [{"a": 1, "a": 2}]}', "the key 'a' occurs twice"),
    "a number of 5,000 digits": (b"9" * 5_000, "not JSON"),
    "nothing": (b"", "not JSON"),
    "half": (b'{"a": [1, 2', "not JSON"),
    "something behind it": (b'{"a": 1} x', "not JSON"),
    "bytes that are no UTF-8": (b'"\xff\xfe\xfa"', "not JSON"),
    "single quotes": (b"{'a': 1}", "not JSON"),
    "a control character": (b'"\x01"', "not JSON"),
    "a text that does not end": (b'"a', "not JSON"),
    "a trailing comma": (b"[1,]", "not JSON"),
}
CASES += [Case(f"JSON: {what}", partial(_bytes, data), document, words) for what, (data, words) in JSON.items()]
CASES += [
    Case(
        "JSON that is read",
        partial(_bytes, b'{"a": [1, {"b": null}]}'),
        lambda f: document(f) == {"a": [1, {"b": None}]},
        None,
    ),
    Case(
        "configuration that is read: aliases",
        partial(_bytes, b"a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]"),
        lambda f: settings(f) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}] * 2},
        None,
    ),
    Case("list that is read", partial(_bytes, b"\xef\xbb\xbfa\r\n\r\nb"), lambda f: lines(f) == ["a", "b"], None),
    Case("list of 400 MB", partial(_sparse, 400_000_000), lines, "400 MB, over the limit of 300 MB.*TABLE_BYTES"),
    Case(
        "a setting that is no date",
        partial(_bytes, b""),
        lambda f: parse_set("a.b=2020-13-45") == {"a": {"b": "2020-13-45"}},
        None,
    ),
    Case(
        "a setting of deep lists",
        partial(_bytes, b""),
        lambda f: parse_set("a.b=" + "[" * 5_000)["a"]["b"][0] == "[",
        None,
    ),
    Case(
        "a setting that is an object of Python",
        partial(_bytes, b""),
        lambda f: parse_set("a=!!python/module:os")["a"][0] == "!",
        None,
    ),
    Case(
        "a table outside by a name in a configuration",
        lambda folder: (folder / NAME).write_text(json.dumps({"data": {"name": "csv", "file": "../outside/secret"}})),
        lambda folder: zoo("train", "--config", folder / NAME, "--root", folder, "--model", "tiny-cnn"),
        "outside|inside|below|no .*file|not",
    ),
]
