"""Hostile archives."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from corpus_tables import changed, zipped
from harness import Case

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 9
TAR, ZIP = "a.tar.gz", "a.zip"
END = b"\0" * 1024


def place(member: str) -> str | None:
    return f"images/{Path(member).name}" if member.endswith(".png") else None


def archive(name: str, folder: Path) -> bool:
    from zoo.data.archives import unpack

    (folder / "root").mkdir()
    return unpack(folder / name, folder / "root", place).added == 1


def write(name: str, data: bytes | Callable[[], bytes], folder: Path) -> None:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data())


def head(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **fields: Any) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 512)


def pax(**values: str) -> bytes:
    """A header of PAX format; "_" stands for a dot in the names."""
    lines = b""
    for key, value in values.items():
        body = f" {key.replace('_', '.')}={value}\n".encode()
        size = len(body) + len(str(len(body) + 2))
        lines += f"{size}".encode() + body
    return head("pax", len(lines), tarfile.XHDTYPE) + padded(lines)


GOOD = head("a.png", len(PNG)) + padded(PNG)


def packed(*parts: bytes, end: bytes = END) -> bytes:
    return gzip.compress(b"".join(parts) + end, 1)


def repeated(part: bytes, times: int) -> bytes:
    """A gzip file of so many equal parts, made part by part."""
    return gzip.compress(part * 1000, 1) * (times // 1000) + gzip.compress(END)


def sparse(*, entries: int, extended: int = 0) -> bytes:
    """The header of an old sparse file with a map of its own blocks."""
    data = bytearray(head("s.png", 512, tarfile.GNUTYPE_SPARSE))
    for at in range(entries):
        data[386 + 24 * at : 410 + 24 * at] = b"%011o\0%011o\0" % (at * 512, 512)
    data[482] = extended > 0
    data[483:495] = b"%011o\0" % 10**9
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    block = (b"%011o\0%011o\0" % (0, 512)) * 21 + b"\1" + b"\0" * 7
    return bytes(data) + block * extended


def _field(at: int, value: bytes) -> bytes:
    """A header with a field changed and its checksum right."""
    data = bytearray(GOOD)
    data[at : at + len(value)] = value
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


TARS: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "30,000 folders": (
        lambda: repeated(head("d/", kind=tarfile.DIRTYPE), 300_000),
        "20,001 folders.*ARCHIVE_FOLDERS",
    ),
    "many global headers": (lambda: repeated(head("g", 0, tarfile.XGLTYPE), 200_000), "HEADER_BYTES|EXPANSION|damaged"),
    "many long names": (
        lambda: repeated(head("././@LongLink", 4, tarfile.GNUTYPE_LONGNAME) + padded(b"abc\0"), 60_000),
        "damaged|HEADER",
    ),
    "a long name of 1 GB": (
        lambda: packed(head("././@LongLink", 1 << 30, tarfile.GNUTYPE_LONGNAME)),
        "a header of 1.074 GB.*HEADER_BYTES",
    ),
    "a PAX header of 1 GB": (lambda: packed(head("pax", 1 << 30, tarfile.XHDTYPE)), "HEADER_BYTES"),
    "a PAX header of 17 MB": (
        lambda: packed(head("pax", 17 << 20, tarfile.XHDTYPE), b"\0" * (17 << 20)),
        "HEADER_BYTES",
    ),
    "a PAX size below 0": (lambda: packed(pax(size="-512"), GOOD), "damaged|sparse|not to be trusted"),
    "a PAX size of 8 EB": (lambda: packed(pax(size=str(2**63)), GOOD), "ARCHIVE_MEMBER_BYTES|damaged"),
    "a PAX path that leads out": (lambda: packed(pax(path="../a.png"), GOOD), "leads out of its folder"),
    "a PAX name from the root": (lambda: packed(pax(path="/tmp/a.png"), GOOD), "leads out of its folder"),
    "a PAX header that is cut": (
        lambda: packed(head("pax", 99, tarfile.XHDTYPE), b"30 path=a", end=b""),
        "damaged|nothing|HEADER",
    ),
    "a sparse file": (lambda: packed(sparse(entries=1), b"x" * 512), "sparse file, which is not read"),
    "a sparse map of 2.5 MB": (lambda: packed(sparse(entries=4, extended=5_000)), "HEADER_BYTES"),
    "a sparse map without an end": (lambda: packed(sparse(entries=4, extended=9), end=b""), "damaged|sparse"),
    "a sparse file by PAX 0.1": (
        lambda: packed(pax(GNU_sparse_map="0,512", GNU_sparse_size="512"), GOOD),
        "sparse file",
    ),
    "a sparse file by PAX 1.0": (
        lambda: packed(
            pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="a.png"),
            head("x", 512),
            padded(b"9999999\n"),
        ),
        "damaged|sparse",
    ),
    "a sparse map of numbers that never come": (
        lambda: packed(
            pax(GNU_sparse_major="1", GNU_sparse_minor="0", GNU_sparse_name="a.png"),
            head("x", 512),
            b"9" * 512,
            end=b"",
        ),
        "damaged",
    ),
    "a link": (lambda: packed(head("l.png", 0, tarfile.SYMTYPE, linkname="/etc/passwd")), "is a link, a device"),
    "a hard link": (lambda: packed(GOOD, head("l.png", 0, tarfile.LNKTYPE, linkname="a.png")), "is a link, a device"),
    "a device": (lambda: packed(head("d.png", 0, tarfile.CHRTYPE)), "is a link, a device"),
    "a FIFO": (lambda: packed(head("f.png", 0, tarfile.FIFOTYPE)), "is a link, a device"),
    "an unknown kind": (lambda: packed(head("u.png", 0, b"Z")), "is a link, a device|not"),
    "a name that leads out": (lambda: packed(head("../../a.png", len(PNG)), padded(PNG)), "leads out of its folder"),
    "a name from the root": (lambda: packed(head("/a.png", len(PNG)), padded(PNG)), "leads out of its folder"),
    "a name of Windows": (lambda: packed(head("c:\\a.png", len(PNG)), padded(PNG)), "leads out of its folder"),
    "a name of backslashes": (lambda: packed(head("..\\a.png", len(PNG)), padded(PNG)), "leads out of its folder"),
    "no name": (lambda: packed(head("", len(PNG)), padded(PNG)), "leads out|damaged"),
    "3 GB claimed": (lambda: packed(head("a.png", 3 << 30)), "3.221 GB or more .*EXPANSION"),
    "8 GB claimed": (lambda: packed(head("a.png", 8 << 30)), "ARCHIVE_MEMBER_BYTES"),
    "a size below 0": (lambda: packed(_field(124, b"\xff" * 12)), "damaged|sparse|not read"),
    "a size in letters": (lambda: packed(_field(124, b"abcdefghijk\0")), "damaged"),
    "a time in letters": (lambda: packed(_field(136, b"abcdefghijk\0")), "damaged"),
    "a checksum in letters": (lambda: packed(GOOD[:148] + b"abcdefg\0" + GOOD[156:]), "damaged"),
    "a wrong checksum": (lambda: packed(b"b" + GOOD[1:]), "damaged"),
    "a bomb of zeros": (lambda: gzip.compress(b"\0" * 10**8, 1), "nothing|EXPANSION|damaged"),
    "zeros without end behind the end": (lambda: packed(GOOD) + gzip.compress(b"\0" * 10**6) * 100, "EXPANSION"),
    "one name with two contents": (lambda: packed(GOOD, head("d/a.png", len(PNG)), padded(PNG[::-1])), "other content"),
    "the end of a member cut": (lambda: packed(GOOD[:530], end=b""), "damaged"),
    "the packed bytes cut": (lambda: packed(GOOD)[:60], "damaged"),
    "the packed checksum cut": (lambda: packed(GOOD)[:-5], "damaged"),
    "a wrong packed checksum": (lambda: packed(GOOD)[:-8] + b"\0" * 8, "damaged"),
    "nothing": (b"", "damaged"),
    "text": (b"text", "damaged"),
    "a tar that is not packed": (GOOD + END, "damaged"),
    "packed text": (gzip.compress(b"text" * 999), "damaged"),
}
CASES = [
    Case(f"tar: {what}", partial(write, TAR, data), partial(archive, TAR), words)
    for what, (data, words) in TARS.items()
]


def _entry(data: bytes, offset: int, value: bytes) -> bytes:
    """A zip file with bytes of the first entry of its directory changed."""
    at = data.index(b"PK\x01\x02") + offset
    return data[:at] + value + data[at + len(value) :]


def _mode(mode: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as pack:
        info = zipfile.ZipInfo("a.png")
        info.external_attr = mode << 16
        pack.writestr(info, PNG)
    return stream.getvalue()


STORED = zipped(("a.png", PNG), method=zipfile.ZIP_STORED)
ZIPS: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "a bomb": (lambda: zipped(("a.png", b"\0" * 10**8)), "100 MB or more .*EXPANSION"),
    "many bombs": (lambda: zipped(*((f"{n}.png", b"\0" * 10**6) for n in range(99))), "EXPANSION"),
    "3 GB claimed": (_entry(STORED, 24, struct.pack("<I", 3 << 30)), "EXPANSION"),
    "more claimed than there is": (_entry(STORED, 24, struct.pack("<I", 200)), "damaged"),
    "a name that leads out": (zipped(("../a.png", PNG)), "leads out of its folder"),
    "a name from the root": (zipped(("/a.png", PNG)), "leads out of its folder"),
    "a name twice": (
        changed(zipped(("a.png", PNG), ("b.png", PNG)), b"b.png", b"a.png", last=True),
        "two members named 'a.png'",
    ),
    "a link": (lambda: _mode(0o120777), "is a link, a device"),
    "a device": (lambda: _mode(0o020666), "is a link, a device"),
    "a wrong checksum": (changed(STORED, b"pixels", b"pixelS"), "damaged"),
    "a local header that differs": (changed(STORED, b"a.png", b"b.png"), "damaged"),
    "a local header that is gone": (changed(STORED, b"PK\x03\x04", b"PK\x03\x05"), "damaged"),
    "an unknown method": (_entry(STORED, 10, b"\x63\0"), "damaged"),
    "an encrypted member": (_entry(STORED, 8, b"\1\0"), "damaged"),
    "an offset far away": (_entry(STORED, 42, b"\xff\xff\xff\x7f"), "damaged"),
    "half": (STORED[: len(STORED) // 2], "damaged"),
    "data that is no deflate": (_entry(STORED, 10, b"\x08\0"), "damaged"),
}
CASES += [
    Case(f"zip: {what}", partial(write, ZIP, data), partial(archive, ZIP), words)
    for what, (data, words) in ZIPS.items()
]
CASES += [
    Case(
        "tar that is read",
        partial(write, TAR, packed(head("d/", kind=tarfile.DIRTYPE), GOOD)),
        partial(archive, TAR),
        None,
    ),
    Case(
        "tar of PAX that is read", partial(write, TAR, packed(pax(path="d/a.png"), GOOD)), partial(archive, TAR), None
    ),
    Case("zip that is read", partial(write, ZIP, STORED), partial(archive, ZIP), None),
]
