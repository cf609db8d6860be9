"""DICOM files that hide their view, lie about their size, nest and repeat without end, or inflate to what no image has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dicom_files as made
from bad_files import encoded, originals
from files_of import BOMB, NAME, PARTS, Entry, cases, cuts, patched, write, zeros
from harness import Case
from PIL import Image

UID = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG, RLE = UID, f"{UID}.1", f"{UID}.1.99", f"{UID}.2", f"{UID}.5"
JPEG, LOSSLESS, JPEG_LS, J2K = f"{UID}.4.50", f"{UID}.4.70", f"{UID}.4.80", f"{UID}.4.90"
LONG = ("OB", "OW", "OF", "SQ", "UN", "UT", "UC", "UR")
ROWS, COLUMNS = 64, 56
GRAY = (made.image(8)).tobytes()
OPEN = 0xFFFFFFFF
VIEW, CODES, POSITION, PIXELS, ROWS_TAG, COLUMNS_TAG = (
    0x00185101,
    0x00540220,
    0x00185100,
    0x7FE00010,
    0x00280010,
    0x00280011,
)
FRONTAL = frozenset(("PA", "AP"))
DAMAGED = "damaged|cannot be decoded|truncated|no pixel data"
Values = dict[int, tuple[str, bytes] | None]


def element(
    tag: int, vr: str, data: bytes, length: int | None = None, order: str = "<", implicit: bool = False
) -> bytes:
    data += b"\0" * (len(data) % 2)
    size = len(data) if length is None else length
    place = struct.pack(f"{order}HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return place + struct.pack(f"{order}I", size) + data
    if vr in LONG:
        return place + vr.encode() + struct.pack(f"{order}HI", 0, size) + data
    return place + vr.encode() + struct.pack(f"{order}H", size) + data


def item(data: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(data) if length is None else length) + data


def meta(syntax: str, *more: bytes) -> bytes:
    inner = element(0x00020010, "UI", syntax.encode()) + b"".join(more)
    return element(0x00020000, "UL", struct.pack("<I", len(inner))) + inner


def file(
    changed: Values | None = None,
    extra: bytes = b"",
    *,
    syntax: str = EXPLICIT,
    preamble: bool = True,
    pixels: bytes = GRAY,
    length: int | None = None,
    after: bytes = b"",
    head: bytes | None = None,
) -> bytes:
    """An 8-bit chest X-ray, PA; `changed` values by tag, `extra` bytes before them, `length` of the pixel data."""
    order, implicit = (">" if syntax == BIG else "<"), syntax == IMPLICIT
    number = partial(struct.pack, f"{order}H")
    values: Values = {
        0x00080060: ("CS", b"DX"),
        0x00180015: ("CS", b"CHEST"),
        VIEW: ("CS", b"PA"),
        0x00280002: ("US", number(1)),
    }
    values |= {0x00280004: ("CS", b"MONOCHROME2"), ROWS_TAG: ("US", number(ROWS)), COLUMNS_TAG: ("US", number(COLUMNS))}
    values |= {0x00280100 + at: ("US", number(bits)) for at, bits in enumerate((8, 8, 7, 0))}
    values |= changed or {}
    body = element(0x00080005, "CS", b"ISO_IR 100", None, order, implicit) + extra
    body += b"".join(element(tag, *given, None, order, implicit) for tag, given in sorted(values.items()) if given)
    body += element(PIXELS, "OB" if length == OPEN else "OW", pixels, length, order, implicit) + after
    if syntax == DEFLATED:
        squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        body = squeeze.compress(body) + squeeze.flush()
    start = meta(syntax) if head is None else head
    return (bytes(128) + b"DICM" if preamble else b"") + start + body


def us(*values: int) -> tuple[str, bytes]:
    return "US", struct.pack(f"<{len(values)}H", *values)


def compressed(frame: bytes, syntax: str, changed: Values | None = None, table: bytes = b"", parts: int = 1) -> bytes:
    frame += b"\0" * (len(frame) % 2)
    size = len(frame) // parts // 2 * 2 or len(frame)
    data = item(table) + b"".join(item(frame[at : at + size]) for at in range(0, len(frame), size))
    return file(changed, syntax=syntax, pixels=data, length=OPEN, after=struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))


def read(folder: Path, views: frozenset[str] | None = None) -> Any:
    from zoo.inference.intake import read_image

    return read_image(folder / NAME, views=views)[0].shape[0] > 0


def setup() -> None:
    from zoo.data.dicom import header, image  # noqa: F401
    from zoo.data.dicom.subprocess_decoder import worker

    worker.start()


def _code(value: bytes, vr: str = "SH") -> bytes:
    return item(element(0x00080100, vr, value) + element(0x00080102, "SH", b"SCT"))


def _views() -> Iterator[Case]:
    """Laterals before a run that saw frontal images only."""
    lateral: Values = {VIEW: ("CS", b"LL")}
    none: Values = {VIEW: None}
    code, text = _code(b"399067008"), "not a view that the network saw"
    files: dict[str, tuple[bytes, str | None]] = {
        "with a preamble": (file(lateral), text),
        "without a preamble": (file(lateral, preamble=False), text),
        "without preamble and meta": (file(lateral, preamble=False, head=b""), text),
        "implicit": (file(lateral, syntax=IMPLICIT), text),
        "implicit, without preamble and meta": (file(lateral, syntax=IMPLICIT, preamble=False, head=b""), text),
        "big-endian": (file(lateral, syntax=BIG), text),
        "deflated": (file(lateral, syntax=DEFLATED), text),
        "deflated, without a preamble": (file(lateral, syntax=DEFLATED, preamble=False), text),
        "with a TIFF in its preamble": (patched(file(lateral), 0, b"II*\0\x08\0\0\0"), text),
        "with a JPEG in its preamble": (patched(file(lateral), 0, originals()["jpg"][:120]), text),
        "with a GIF in its preamble": (patched(file(lateral), 0, originals()["gif"][:120]), text),
        "in small letters": (file({VIEW: ("CS", b"lateral")}), text),
        "with blanks": (file({VIEW: ("CS", b"  LL \0")}), text),
        "by its code": (file({**none, CODES: ("SQ", code)}), text),
        "by the position of the patient": (file({**none, POSITION: ("CS", b"RL")}), text),
        "by a code of another kind": (file({**none, CODES: ("SQ", _code(b"399067008", "LO"))}), text),
        "as a number": (file({VIEW: ("US", b"LL")}), "ViewPosition cannot be read"),
        "as a real": (file({VIEW: ("FL", b"LLLL")}), "ViewPosition cannot be read"),
        "as half a number": (file({VIEW: ("UL", b"LL")}), "ViewPosition cannot be read"),
        "as bytes": (file({VIEW: ("OB", b"LL")}), "ViewPosition cannot be read"),
        "as a code that is a number": (file({**none, CODES: ("SQ", _code(b"LLLL", "FL"))}), "CodeValue cannot be read"),
        "as a sequence that is text": (file({**none, CODES: ("LO", b"399067008")}), "ViewCodeSequence is no sequence"),
        "as a modality that is a number": (file({0x00080060: ("US", b"MR")}), "Modality cannot be read"),
        "oblique": (file({VIEW: ("CS", b"RAO")}), text),
        "decubitus": (file({VIEW: ("CS", b"LLD")}), text),
        "not said": (file(none), None),
        "PA": (file(), None),
    }
    for name, (content, refused) in files.items():
        yield Case(f"view: {name}", partial(write, content=content), partial(read, views=FRONTAL), refused)


def _sizes() -> Iterator[Entry]:
    big: Values = {ROWS_TAG: us(20_000), COLUMNS_TAG: us(20_000)}
    for syntax, name in ((EXPLICIT, "plain"), (DEFLATED, "deflated")):
        for preamble in (True, False):
            words = f"{name}{'' if preamble else ', without a preamble'}"
            yield f"claims 400 megapixels, {words}", file(big, syntax=syntax, preamble=preamble), BOMB
            most: Values = {ROWS_TAG: us(9_999), COLUMNS_TAG: us(9_999)}
            yield f"claims 99 megapixels, {words}", file(most, syntax=syntax, preamble=preamble), DAMAGED
    for frame, syntax in (
        (made.jpeg(made.image(8)), JPEG),
        (made.run_lengths(made.image(8)), RLE),
        (b"\xff\xd8" + bytes(99), LOSSLESS),
    ):
        yield f"claims 400 megapixels in {syntax[-3:]}", compressed(frame, syntax, big), BOMB
        small: Values = {ROWS_TAG: us(9_999), COLUMNS_TAG: us(9_999)}
        yield (
            f"claims 99 megapixels in {syntax[-3:]}",
            compressed(frame, syntax, small),
            "its header says|truncated|damaged",
        )
    yield (
        "has a side of 20,001",
        file({ROWS_TAG: us(20_001), COLUMNS_TAG: us(2)}, pixels=bytes(40_002)),
        "longer than 20,000",
    )
    for value in (b"2147483647", b"7", b"1e9"):
        yield f"has {value.decode()} frames", file({0x00280008: ("IS", value)}), "frames: a single image"
    for value in (b"-1", b"many", b"\xff\xff"):
        yield f"has {value!r} frames", file({0x00280008: ("IS", value)}), None
    yield "has rows as text", file({ROWS_TAG: ("LO", b"sixty")}), "no rows"
    yield "has rows as a sequence", file({ROWS_TAG: ("SQ", item(b""))}), "."
    yield "has rows as a negative number", file({ROWS_TAG: ("SS", b"\xff\xff")}), "."
    yield "has rows of 3 bytes", file({ROWS_TAG: ("US", b"\1\2\3")}), "."
    yield "has rows twice", file({}, element(ROWS_TAG, *us(9))), None
    yield "has rows behind its pixels", file({ROWS_TAG: None}, after=element(ROWS_TAG, *us(ROWS))), "no rows"
    yield "has 65,535 values per pixel", file({0x00280002: us(65_535)}), "with 65535 value"
    for bits in (0, 1, 7, 64, 65_535):
        yield f"has {bits} bits", file({0x00280100: us(bits)}), "."
    yield "has pixels of 4 GB", file(length=OPEN - 1), "longer than rows and columns"
    yield "has open pixels", file(length=OPEN), "in fragments although"
    yield "has pixels of another length", file(length=10), "truncated"
    yield (
        "has reals for pixels",
        file(after=b"").replace(struct.pack("<HH", 0x7FE0, 0x10), struct.pack("<HH", 0x7FE0, 8)),
        "no pixel data",
    )
    yield from cuts(
        file(),
        {"in its mark": 130, "in its meta": 150, "in its header": 300, "in its pixels": 2_000},
        "not an image|" + DAMAGED + "|none that",
    )


def _deflated() -> Iterator[Entry]:
    start = file(syntax=DEFLATED)[: 132 + len(meta(DEFLATED))]
    whole = zlib.decompress(file(syntax=DEFLATED)[len(start) :], -zlib.MAX_WBITS)

    def squeezed(*parts: bytes) -> bytes:
        squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        return start + b"".join(map(squeeze.compress, parts)) + squeeze.flush()

    zero = zeros(1 << 30, wrapped=False)[:-2]
    first = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    long = first.compress(element(0x00090010, "OB", b"", 1 << 30)) + first.flush(zlib.Z_FULL_FLUSH)
    yield "inflates to 1 GB before its rows", start + long + zero + b"\3\0", "deflated header: over the limit of 64 MB"
    full = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    body = full.compress(whole) + full.flush(zlib.Z_FULL_FLUSH)
    yield "inflates to 1 GB behind its pixels", start + body + zero + b"\3\0", "larger than any image"
    yield "inflates to 1 GB of nothing", start + zero + b"\3\0", "too many attributes|limit|no rows|cannot be decoded"
    yield "leaps over 4 GB when inflated", squeezed(element(0x00090010, "OB", b"", OPEN - 1), whole), "limit|" + DAMAGED
    yield "has more when inflated", squeezed(whole, bytes(1 << 20)), None
    yield "ends within its deflated pixels", file(syntax=DEFLATED)[:-9], "truncated"
    yield "is not deflated", start + whole, "damaged|truncated"
    yield "is deflated with a head of zlib", start + zlib.compress(whole), "damaged"
    yield "is deflated twice", squeezed(file(syntax=DEFLATED)[len(start) :]), DAMAGED + "|no rows|limit"


def _frames() -> Iterator[Entry]:
    frame, deep = made.jpeg(made.image(8)), made.jpeg_lossless(made.image(12), 12)
    runs, wavelet = made.run_lengths(made.image(8)), made.jpeg_2000(made.image(8), 8)
    yield "is read from 9 fragments", compressed(frame, JPEG, parts=9), None
    yield "has 120,000 empty fragments", lambda: _fragments(item(b"") * 120_000), PARTS
    yield (
        "has an offset table of 1 MB",
        lambda: _fragments(item(bytes(1_000_000)) + item(frame + b"\0" * (len(frame) % 2))),
        "has 250000 frames",
    )
    yield "has an offset table of 2", compressed(frame, JPEG, table=bytes(8)), "has 2 frames"
    yield "has a false offset", compressed(frame, JPEG, table=b"\xff" * 4), None
    yield "has a fragment of 4 GB", _fragments(item(b"") + item(frame, OPEN - 1)), DAMAGED
    yield "has an open fragment", _fragments(item(b"") + item(frame, OPEN)), "fragments of its pixel data are damaged"
    yield "has no fragment", _fragments(b""), "truncated"
    yield (
        "has a strange fragment",
        _fragments(struct.pack("<HHI", 0xFFFE, 0xE111, 4) + bytes(4)),
        "fragments of its pixel data",
    )
    sof = frame.index(b"\xff\xc0")
    size = 2 + struct.unpack_from(">H", frame, sof + 2)[0]
    second = patched(frame[sof : sof + size], 5, struct.pack(">HH", 60_000, 60_000))
    for name, data, syntax in (("baseline", frame, JPEG), ("lossless", deep, LOSSLESS)):
        at = data.index(b"\xff\xda")
        yield (
            f"has a second size, {name}",
            compressed(data[:at] + second + data[at:], syntax, _bits(syntax)),
            "do not begin as such",
        )
    scans = encoded(Image.fromarray(made.image(8)), "JPEG", progressive=True)
    at = scans.index(b"\xff\xda")
    many = scans[:at] + scans[at:-2] * 60 + b"\xff\xd9"
    yield "goes over its pixels 300 times", compressed(many, JPEG), "over the limit of 100 scans|longer than its pixels"
    yield "is of JPEG-LS that is none", compressed(frame, JPEG_LS), "damaged"
    siz = wavelet.index(b"\xff\x51") - 2
    for count in (0, 5, 16_384):
        yield (
            f"has {count} components in JPEG 2000",
            compressed(patched(wavelet, siz + 40, struct.pack(">H", count)), J2K),
            "per pixel",
        )
    tiles = patched(wavelet, siz + 24, struct.pack(">II", 1, 1))
    yield "has a tile for each pixel in JPEG 2000", compressed(tiles, J2K), "truncated"
    cod = wavelet.index(b"\xff\x52")
    yield "has 255 levels in JPEG 2000", compressed(patched(wavelet, cod + 9, b"\xff"), J2K), "do not begin as such"
    for name, head in {
        "no segment": struct.pack("<16I", 0, 64, *[0] * 14),
        "15 segments": struct.pack("<16I", 15, *range(64, 79)),
        "4 billion segments": struct.pack("<16I", OPEN, 64, *[0] * 14),
        "a segment behind its end": struct.pack("<16I", 1, 2**31, *[0] * 14),
        "a segment in its head": struct.pack("<16I", 1, 0, *[0] * 14),
    }.items():
        yield f"has {name} in RLE", compressed(head + runs[64:], RLE), "do not fit"
    yield "has runs that end in RLE", compressed(runs[:200], RLE), "truncated"
    yield "has runs of nothing in RLE", compressed(runs[:64] + b"\x80" * 5_000, RLE), "truncated"
    for kind in ("66", "100", "102", "110"):
        yield f"is of the syntax 4.{kind}", compressed(frame, f"{UID}.4.{kind}"), "transfer syntax"


def _bits(syntax: str) -> Values | None:
    return {0x00280100: us(16), 0x00280101: us(12), 0x00280102: us(11)} if syntax == LOSSLESS else None


def _fragments(data: bytes) -> bytes:
    return file(syntax=JPEG, pixels=data, length=OPEN, after=struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))


def _headers() -> Iterator[Entry]:
    opened = struct.pack("<HH2sHI", 0x0054, 0x0220, b"SQ", 0, OPEN) + item(b"", OPEN)
    for depth in (900, 100_000):
        yield (
            f"nests {depth:,} sequences",
            partial(file, None, opened * depth),
            "nested too deeply|too many attributes|" + DAMAGED,
        )
    closed = b""
    for _ in range(400):
        closed = element(CODES, "SQ", item(closed))
    yield "nests 400 sequences of known length", file({CODES: ("SQ", item(closed))}), None
    yield (
        "has 200,000 tiny attributes",
        lambda: file(None, element(0x00090010, "LO", b"") * 200_000),
        "too many attributes",
    )
    for tag, vr in ((VIEW, "UT"), (0x00281050, "UT"), (0x00283010, "SQ"), (0x00080060, "UN"), (CODES, "SQ")):
        yield f"has 4 GB of {tag:08X}", file(None, element(tag, vr, b"", OPEN - 1)), "absurdly long|" + DAMAGED
    yield "has 4 GB of another attribute", file(None, element(0x00090010, "OB", b"", OPEN - 1)), DAMAGED
    yield "has another attribute without an end", file(None, element(0x00090010, "OB", b"", OPEN)), DAMAGED + "|no rows"
    yield (
        "has a window of 100,000 values",
        lambda: file({0x00281050: ("UT", b"1\\" * 100_000), 0x00281051: ("UT", b"1\\" * 100_000)}),
        None,
    )
    yield "has a window that is text", file({0x00281050: ("DS", b"wide"), 0x00281051: ("DS", b"1e999")}), None
    yield "has a slope of 10³⁰⁰", file({0x00281053: ("DS", b"1e300"), 0x00281052: ("DS", b"-1e300")}), None
    lut = item(element(0x00283002, *us(65_535, 0, 16)) + element(0x00283006, "OW", b"\1\2"))
    yield "has a table of 65,535 values in 2 bytes", file({0x00283010: ("SQ", lut)}), None
    floods = item(b"") * 120_000
    yield "has 120,000 tables", lambda: file({0x00283010: ("SQ", floods)}), "VOILUTSequence has too many items"
    yield "has a character set that is none", patched(file(), file().index(b"ISO_IR"), b"\xff\xfe\xfd"), None
    yield "ends its header at once", file(None, struct.pack("<HHI", 0xFFFE, 0xE00D, 0)), "no pixel data|" + DAMAGED
    for name, start in {
        "of no length": element(0x00020000, "UL", bytes(4)) + element(0x00020010, "UI", EXPLICIT.encode()),
        "of 4 GB": element(0x00020000, "UL", b"\xff" * 4) + element(0x00020010, "UI", EXPLICIT.encode()),
        "with a syntax of nobody": meta("1.2.3.4"),
        "with a syntax of 60,000 letters": meta("1" * 60_000),
        "with 4 GB of its own": meta(EXPLICIT) + element(0x00020102, "OB", b"", OPEN - 1),
        "with a syntax that is a number": element(0x00020010, "FD", bytes(8)),
    }.items():
        refused = "none that DICOM defines|absurdly long|" + DAMAGED
        yield f"has meta {name}", file(head=start), None if "length" in name or name == "of 4 GB" else refused
    yield "says it is big-endian", file(head=meta(BIG)), "."
    yield "says it is implicit", file(head=meta(IMPLICIT)), None


def _codes() -> Iterator[Case]:
    """Sequences that are read only where the view is asked for."""
    closed = b""
    for _ in range(2_000):
        closed = element(CODES, "SQ", item(closed))
    for name, data, refused in (
        ("120,000 codes", item(b"") * 120_000, "too many items"),
        ("1 MB of codes that are none", bytes(999_000), "ViewCodeSequence is damaged"),
        ("codes 2,000 deep", item(closed), None),
        ("a code of 4 GB", item(b"", OPEN - 1), "ViewCodeSequence is damaged"),
        ("an open code", item(b"", OPEN), None),
    ):
        content = partial(file, {CODES: ("SQ", data), VIEW: None})
        yield Case(f"code: has {name}", partial(write, content=content), partial(read, views=FRONTAL), refused)


def _long(folder: Path) -> None:
    with (folder / NAME).open("wb") as stream:
        stream.write(file())
        stream.truncate(500_000_001)


CASES = [
    *(Case(f"broken: {name}", partial(write, content=data), read, words) for name, data, words in made.broken()),
    *_views(),
    *cases("size", _sizes()),
    *cases("deflated", _deflated()),
    *cases("frame", _frames()),
    *cases("header", _headers()),
    *_codes(),
    Case("header: is longer than 500 MB", _long, read, "over the limit of 500 MB"),
]
