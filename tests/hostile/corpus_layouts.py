"""TIFF and JPEG 2000 files whose directories, strips, tiles, boxes and code blocks ask for more than they hold."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import numpy as np
from bad_files import GRAY, RGB, encoded, originals, tiff
from files_of import BOMB, PARTS, Entry, cases, cuts, patched, zeros
from PIL import Image

HEIGHT, WIDTH = GRAY.shape
SIZE = GRAY.size
NOT_READ = "damaged|cannot be decoded|truncated|not read|cannot be read"
CIRCLE, OVER = "lead in a circle", "read the same bytes many times over"
Field = tuple[int, int, int, int]


def image(
    *more: Field, w: int = WIDTH, h: int = HEIGHT, at: int | None = None, after: int = 0, **changed: int
) -> bytes:
    """A gray TIFF of one strip; `changed` values by the tag's number, as `t262=0`, or a count, as `n273=9`."""
    entries = {256: w, 257: h, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: h, 279: SIZE}
    entries |= {int(name[1:]): value for name, value in changed.items() if name[0] == "t"}
    counts = {int(name[1:]): value for name, value in changed.items() if name[0] == "n"}
    number = len(entries) + len(more)
    entries[273] = 8 + 2 + 12 * number + 4 if at is None else at
    fields = [
        (tag, 4 if value > 65_535 or tag in (273, 279) else 3, counts.get(tag, 1), value)
        for tag, value in entries.items()
    ]
    return tiff(*sorted([*fields, *more]), after=after)


def chain(count: int, bytes_each: int = 0) -> bytes:
    """A sound TIFF with so many small directories behind its own."""
    good = image()
    size = 2 + 12 + 4
    start = len(good)
    links = b"".join(
        struct.pack("<HHHIII", 1, 0x8000, 1, bytes_each or 1, 0, start + (i + 1) * size if i + 1 < count else 0)
        for i in range(count)
    )
    return patched(good, 8 + 2 + 12 * 9, struct.pack("<I", start)) + links


def tiled(width: int, height: int, count: int = 1, at: int = 8, compression: int = 1) -> bytes:
    entries = [(256, 3, 1, WIDTH), (257, 3, 1, HEIGHT), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)]
    return tiff(*entries, (322, 4, 1, width), (323, 4, 1, height), (324, 4, count, at), (325, 4, count, SIZE))


def big(*entries: tuple[int, int, int, int], start: int = 16) -> bytes:
    fields = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return b"II+\0\x08\0\0\0" + struct.pack("<QQ", start, len(entries)) + fields + bytes(8) + GRAY.tobytes()


def _tiffs() -> Iterator[Entry]:
    good = image()
    yield "is read", good, None
    places = {"in its head": 6, "behind its head": 8, "in its directory": 60, "in its rows": len(good) - 40}
    yield from cuts(good, places, NOT_READ)
    for width, height in ((65_535, 65_535), (2**32 - 1, 2**32 - 1), (2**31, 1), (10_001, 10_000)):
        yield f"claims {width}×{height}", image(w=width, h=height), BOMB
    yield "has a side of 20,001", image(w=20_001, h=2), "longer than 20,000"
    yield "claims 0×0", image(w=0, h=0), "."
    yield "claims 99 megapixels", image(w=9_999, h=9_900), NOT_READ
    for name, bits, more in (("16 bits", 16, ()), ("32 bits", 32, ()), ("reals", 32, ((339, 3, 1, 3),))):
        yield f"claims 99 megapixels of {name}", image(*more, w=9_999, h=9_900, t258=bits), f"{NOT_READ}|GB to decode"
    for kind, name in (
        (5, "LZW"),
        (7, "JPEG"),
        (8, "deflate"),
        (32_773, "PackBits"),
        (4, "group 4"),
        (34_925, "LZMA"),
        (50_000, "Zstandard"),
    ):
        yield f"claims 99 megapixels of {name}", image(w=9_999, h=9_900, t259=kind), NOT_READ + "|-2|image file"
    yield "goes in a circle of one", image(after=8), CIRCLE
    two = patched(chain(2), len(chain(2)) - 4, struct.pack("<I", 8))
    yield "goes in a circle of three", two, CIRCLE
    yield "has 6,000 directories", lambda: chain(6_000), "over the limit of 5,000 frames"
    yield "has 4,000 directories", lambda: chain(4_000), NOT_READ
    yield "goes on behind its end", image(after=2**31), NOT_READ
    yield "begins behind its end", b"II*\0" + struct.pack("<I", 2**32 - 2) + bytes(50), NOT_READ
    yield "begins in its head", b"II*\0" + struct.pack("<I", 2) + bytes(50), NOT_READ
    yield "has 65,535 entries and ends", b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(90), NOT_READ
    many = [(0x8000 + i, 1, 1 << 20, 8) for i in range(20_000)]
    yield "reads 1 MB 20,000 times", lambda: image(*many) + bytes(1 << 20), OVER
    yield "reads 1 MB in each of 4,000 directories", lambda: chain(4_000, 1 << 20) + bytes(1 << 20), OVER
    wide = b"".join(struct.pack("<HHHIII", 1, 0x8000, 1, 1, 0, 0) for _ in range(3))
    yield "has values of 4 GB", image(*((0x8000 + i, 1, 2**32 - 1, 2**31) for i in range(60))) + wide, None
    for tag, name in (
        (273, "strips"),
        (279, "sizes of strips"),
        (258, "bits"),
        (339, "sample formats"),
        (338, "extra samples"),
    ):
        entry = (tag, 3 if tag not in (273, 279) else 4, 2**31, 8)
        content = image() if tag in (338, 339) else image(**{f"n{tag}": 2**31})
        yield f"has two billion {name}", content if tag not in (338, 339) else image(entry), PARTS
    yield "has 120,000 strips", lambda: image(n273=120_000, n279=120_000, t278=1) + bytes(500_000), PARTS
    yield "has strips of no rows", image(t278=0), NOT_READ
    yield "has strips of 4 billion rows", image(t278=2**32 - 1), None
    yield "has its strip behind its end", image(at=2**30), NOT_READ
    yield "has its strip in its head", image(at=0), None
    yield "has a strip of 3 bytes", image(t279=3), None
    yield "has a strip of 4 GB", image(t279=2**32 - 1), None
    yield "has 65,535 samples", image(t277=65_535), NOT_READ
    yield "has 4 billion samples", image(t277=2**32 - 1), NOT_READ
    yield "has 0 samples", image(t277=0), NOT_READ
    yield "has 7 bits", image(t258=7), NOT_READ
    yield "is of a colour that is none", image(t262=777), NOT_READ
    yield "is of a compression that is none", image(t259=777), NOT_READ
    yield "has a palette that it lacks", image(t262=3), NOT_READ
    yield "has a palette behind its end", image((320, 3, 768, 2**31), t262=3), "."
    yield "has a palette of 4 billion", image((320, 3, 2**32 - 1, 8), t262=3), PARTS
    yield "is turned to 9", image((274, 3, 1, 9)), None
    yield "is turned by text", image((274, 2, 4, 0x37)), None
    yield "has its width as text", tiff((256, 2, 4, 0x3034), (257, 3, 1, 48)), NOT_READ
    yield "has no width", tiff((257, 3, 1, 48), (258, 3, 1, 8)), NOT_READ
    yield "has two widths", image((256, 3, 1, 9)), None
    yield "has a second width, a bomb", image((256, 4, 1, 2**30)), BOMB
    yield "has one number of bits for three samples", image(t277=3, t262=2) + bytes(2 * SIZE), None
    yield "has one strip of 48", image(t278=1), "truncated"
    yield "has one plane of 3", image(t277=3, t262=2, t284=2), "truncated"
    yield "has tiles of 4 billion", tiled(2**32 - 1, 2**32 - 1), BOMB
    yield "has tiles of 4 billion, deflated", tiled(2**32 - 1, 2**32 - 1, compression=8), BOMB
    yield "has tiles of 40,000×2,600", tiled(40_000, 2_600, compression=8), BOMB
    yield "has tiles of 0×0", tiled(0, 0), "."
    yield "has tiles of 1×1", tiled(1, 1), "truncated"
    yield "has 120,000 tiles", lambda: tiled(16, 16, 120_000) + bytes(500_000), PARTS
    yield "has tiles that lie behind its end", tiled(48, 48, at=2**31), NOT_READ + "|-2"
    bomb = zeros(512 << 20)
    yield "inflates to 512 MB in 40×48 pixels", image(t259=8, t279=len(bomb))[:-SIZE] + bomb, None
    yield "is big and goes in a circle", big((256, 3, 1, 9), start=16)[: -SIZE - 8] + struct.pack("<Q", 16), CIRCLE
    yield "is big and has 2⁶³ entries", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(80), PARTS
    yield "is big and begins at 2⁶³", big((256, 3, 1, 9), start=2**63), NOT_READ
    yield "is big and has values of 2⁶³ bytes", big((256, 3, 1, 40), (0x8000, 1, 2**63, 2**63)), NOT_READ
    yield "is big and has 2⁶³ strips", big((256, 3, 1, 40), (257, 3, 1, 48), (273, 16, 2**63, 8)), PARTS
    yield "has the order of another", b"MM*\0" + good[4:], NOT_READ
    yield "has a number that is none", b"II\x2c\0" + good[4:], "not an image"
    deep = encoded(Image.fromarray(np.dstack([GRAY.astype("uint16")])[..., 0]), "TIFF")
    yield (
        "is white at zero and cut",
        patched(deep, deep.index(struct.pack("<HHI", 262, 3, 1)) + 8, b"\0\0")[:-40],
        NOT_READ,
    )


@cache
def _streams() -> tuple[bytes, bytes]:
    whole = originals()["jp2"]
    return whole, whole[whole.index(b"\xff\x4f\xff\x51") :]


def _siz(stream: bytes, at: int, *values: int) -> bytes:
    return patched(stream, 8 + 4 * at, struct.pack(f">{len(values)}I", *values))


def _jpeg_2000s() -> Iterator[Entry]:
    whole, stream = _streams()
    yield "is read", whole, None
    yield "is a codestream and read", stream, None
    places = {
        "in its boxes": 30,
        "before its codestream": whole.index(b"jp2c") + 4,
        "in its size": whole.index(b"jp2c") + 30,
    }
    yield from cuts(whole, places, "do not begin|cannot be decoded|damaged")
    yield "ends in its data", stream[: len(stream) // 2], "truncated|cannot be decoded|damaged"
    for width, height in ((2**32 - 1, 2**32 - 1), (2**31, 1), (10_001, 10_000)):
        yield f"claims {width}×{height}", _siz(stream, 0, width, height), BOMB
    colours = encoded(Image.new("RGB", (64, 64)), "JPEG2000")
    at = colours.index(b"\xff\x4f\xff\x51") + 8
    large = patched(colours, at, struct.pack(">2I", 9_000, 9_000))
    yield (
        "claims 81 megapixels of colours",
        patched(large, at + 16, struct.pack(">2I", 9_000, 9_000)),
        "take 1.701 GB to decode: over the limit of 1 GB",
    )
    ihdr = whole.index(b"ihdr") + 4
    yield "claims a bomb in its box alone", patched(whole, ihdr, b"\x7f\xff\xff\xff" * 2), BOMB
    yield "claims another size in its box", patched(whole, ihdr, struct.pack(">II", HEIGHT, WIDTH + 1)), "."
    yield "has its end before its start", _siz(stream, 2, 2**31, 2**31), "has no pixels"
    yield "has tiles of 0×0", _siz(stream, 4, 0, 0), "has no pixels"
    yield "has 99 million tiles", _siz(_siz(stream, 0, 9_999, 9_900), 4, 1, 1), PARTS
    yield "has 65,025 tiles", _siz(_siz(stream, 0, 2_550, 2_550), 4, 10, 10), PARTS
    yield "has tiles behind its end", _siz(stream, 6, 2**31, 2**31), "."
    for count in (0, 5, 255, 16_384, 65_535):
        yield f"has {count} components", patched(stream, 40, struct.pack(">H", count)), "values per pixel"
    yield "has 38 bits", patched(stream, 42, b"\x25"), "."
    yield "has a component sampled at 0", patched(stream, 43, b"\0\0"), "."
    yield "has a component sampled at 255", patched(stream, 43, b"\xff\xff"), "."
    cod = stream.index(b"\xff\x52")
    large = _siz(_siz(stream, 0, 9_000, 9_000), 4, 9_000, 9_000)
    yield "has code blocks of 4×4 over 81 megapixels", patched(large, cod + 10, b"\0\0"), PARTS
    length = struct.unpack_from(">H", stream, cod + 2)[0]
    levels = stream[cod + 9]
    tiny = struct.pack(">H", length + levels + 1) + b"\1" + stream[cod + 5 : cod + 2 + length] + b"\0" * (levels + 1)
    yield "has precincts of 1×1", large[: cod + 2] + tiny + large[cod + 2 + length :], PARTS
    small = stream[: cod + 2] + tiny + stream[cod + 2 + length :]
    yield "has precincts of 1×1 and 65,535 layers", patched(small, cod + 6, b"\xff\xff"), PARTS
    yield "has 33 levels", patched(stream, cod + 9, b"\x21"), "do not begin as such"
    yield "has 255 levels", patched(stream, cod + 9, b"\xff"), "do not begin as such"
    yield "has code blocks of 2⁶⁰", patched(stream, cod + 10, b"\x0f\x0f"), "."
    yield "has a wavelet that is none", patched(stream, cod + 13, b"\x77"), "."
    sot = stream.index(b"\xff\x90")
    yield (
        "has tiny blocks in a tile's head alone",
        (large[: sot + 12] + patched(stream[cod : cod + 2 + length], 10, b"\0\0") + large[sot + 12 :]),
        PARTS,
    )
    yield "has a tile of 4 GB", patched(stream, sot + 6, b"\xff" * 4), "."
    yield "has a tile of 1 byte", patched(stream, sot + 6, b"\0\0\0\1"), "."
    yield "has the tile 65,535", patched(stream, sot + 4, b"\xff\xff"), "."
    empty = b"\xff\x64\0\4\0\0"
    yield "has 120,000 comments", lambda: stream[:cod] + empty * 120_000 + stream[cod:], PARTS
    parts = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14, 0, 0) + b"\xff\x93"
    yield "has 120,000 parts of a tile", lambda: stream[:sot] + parts * 120_000 + stream[sot:], PARTS
    free = struct.pack(">I4s", 8, b"free")
    begin = whole.index(b"jp2h") - 4
    yield (
        "has 5 MB of boxes",
        lambda: whole[:begin] + free * 650_000 + whole[begin:],
        "over the limit of 4 MB",
    )
    fake = struct.pack(">I4s", 8 + len(stream), b"free") + stream
    yield (
        "hides a bomb behind a sound codestream",
        whole[:begin] + fake + patched(whole[begin:], whole[begin:].index(b"\xff\x51") + 6, b"\x7f\xff\xff\xff" * 2),
        BOMB,
    )
    yield "has a box of 2⁶³ bytes", whole[:begin] + struct.pack(">I4sQ", 1, b"free", 2**63) + whole[begin:], "."
    yield "has a box of 3 bytes", whole[:begin] + struct.pack(">I4s", 3, b"free") + whole[begin:], "."
    colour = encoded(Image.fromarray(RGB), "JPEG2000")
    pclr = struct.pack(">I4sHB", 8 + 3 + 255, b"pclr", 65_535, 255) + b"\7" * 255
    at = colour.index(b"colr") - 4
    grown = patched(
        colour,
        colour.index(b"jp2h") - 4,
        struct.pack(">I", struct.unpack_from(">I", colour, colour.index(b"jp2h") - 4)[0] + len(pclr)),
    )
    yield "has a palette of 16 million values", grown[:at] + pclr + grown[at:], "."


CASES = [*cases("TIFF", _tiffs()), *cases("JPEG 2000", _jpeg_2000s())]
