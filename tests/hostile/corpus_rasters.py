"""PNG, JPEG, GIF, WebP, BMP, PNM and AVIF files that lie about their size, repeat without end, or are cut and damaged."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from bad_files import GRAY, RGB, SIGNATURE, chunk, encoded, header, originals, png, rows
from files_of import BOMB, FRAMES, PARTS, Entry, cases, cuts, patched, zeros
from PIL import Image

HEIGHT, WIDTH = GRAY.shape
DATA, HEAD = zlib.compress(rows(GRAY)), header(WIDTH, HEIGHT)
GOOD = png(HEAD, DATA)
DEEP = encoded(Image.fromarray(GRAY.astype("uint16") * 257), "PNG")  # 16 bits: read by Pillow
DAMAGED = "damaged|cannot be decoded|truncated"


def _with(*chunks: bytes, base: bytes = GOOD) -> bytes:
    """A PNG with chunks behind its header."""
    return base[:33] + b"".join(chunks) + base[33:]


def _exif(*entries: tuple[int, int, int, int], next_one: int = 0) -> bytes:
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + struct.pack("<I", next_one)


def _pngs() -> Iterator[Entry]:
    end, data = len(GOOD), GOOD.index(b"IDAT") - 4
    places = {"in the signature": 5, "in the header": 20, "behind the header": 33, "at the data": data + 6}
    yield from cuts(GOOD, places, "truncated|not an image|has no|damaged|cannot be decoded")
    yield from cuts(GOOD, {"in the data": data + 200, "at its last row": end - 60}, DAMAGED)
    yield "ends without IEND", GOOD[:-12], None
    for width, height in ((10_001, 10_000), (2**31 - 1, 2**31 - 1), (60_000, 60_000), (1, 2**31 - 1), (100_000_001, 1)):
        yield f"claims {width}×{height}", png(header(width, height), DATA), BOMB
    yield "has a side of 20,001", png(header(20_001, 2), zlib.compress(bytes(40_004))), "a side is longer than 20,000"
    for width, height in ((0, HEIGHT), (WIDTH, 0), (0, 0)):
        yield f"claims {width}×{height}", png(header(width, height), DATA), "."
    yield "claims a row more", png(header(WIDTH, HEIGHT + 1), DATA), DAMAGED
    yield "claims a column more", png(header(WIDTH + 1, HEIGHT), DATA), DAMAGED
    for depth, colour in ((8, 0), (16, 0), (1, 0), (8, 2), (16, 2), (8, 3), (8, 4), (16, 4), (8, 6), (16, 6)):
        yield (
            f"claims 99 megapixels of {depth} bits, type {colour}",
            png(header(9_999, 9_900, depth, colour), DATA),
            DAMAGED,
        )
        yield f"claims a bomb of {depth} bits, type {colour}", png(header(14_000, 14_000, depth, colour), DATA), BOMB
    deep = png(header(7_999, 7_999, 16, 2), zeros(384 << 20))
    yield "holds 64 megapixels of 16-bit colour", deep, "take 1.152 GB to decode: over the limit of 1 GB"
    yield "claims 99 megapixels interlaced", png(header(9_999, 9_900, 8, 0, 0, 0, 1), DATA), DAMAGED
    wrong = chunk(b"tEXt", b"Comment\0x")[:-1] + b"\0"
    for name, broken in {
        "of a wrong sum": wrong,
        "of a false length": struct.pack(">I", 2**31 - 1) + b"tEXt",
        "of no key": chunk(b"zTXt", b"\0\0" + b"no zlib"),
        "of another method": chunk(b"zTXt", b"a\0\7" + b"x"),
        "cut short": chunk(b"iTXt", b"a"),
    }.items():
        yield f"hides a bomb behind text {name}", _with(broken, base=png(header(20_000, 10_000), DATA)), BOMB
    for name, bomb in {
        "zTXt": b"a\0\0" + zeros(200 << 20),
        "iTXt": b"a\0\1\0\0\0" + zeros(200 << 20),
        "iCCP": b"a\0\0" + zeros(200 << 20),
    }.items():
        yield f"holds 200 MB of {name}", _with(chunk(name.encode(), bomb)), None
        yield (
            f"holds 200 MB of {name}, 16 bits",
            _with(chunk(name.encode(), bomb), base=DEEP),
            "[Dd]ecompressed data too large",
        )
    yield "inflates to 1 GB in 8×8 pixels", lambda: png(header(8, 8), zeros(1 << 30)), None
    yield "inflates to 1 GB in 8×8 pixels, 16 bits", lambda: png(header(8, 8, 16), zeros(1 << 30)), None
    yield "is of 120,000 empty chunks", lambda: _with(chunk(b"quIt", b"") * 120_000), PARTS
    yield "is of 120,000 empty chunks, 16 bits", lambda: _with(chunk(b"quIt", b"") * 120_000, base=DEEP), PARTS
    yield "is of 120,000 pieces of data", lambda: SIGNATURE + HEAD + chunk(b"IDAT", b"") * 120_000, PARTS
    yield "has two headers", _with(header(9, 9)), "two IHDR chunks"
    yield "has a second header that is a bomb", _with(header(60_000, 60_000)), "two IHDR chunks"
    yield "has its header behind text", SIGNATURE + chunk(b"tEXt", b"a\0b") + GOOD[8:], "does not begin with the IHDR"
    yield "has a header of 12 bytes", SIGNATURE + chunk(b"IHDR", HEAD[8:20]) + GOOD[33:], "does not begin with the IHDR"
    yield (
        "has a header of 14 bytes",
        SIGNATURE + chunk(b"IHDR", HEAD[8:21] + b"\0") + GOOD[33:],
        "does not begin with the IHDR",
    )
    yield "has a wrong sum of its header", patched(GOOD, 29, b"\0\0\0\0"), None if GOOD[29:33] == bytes(4) else "IHDR"
    yield "has a wrong sum of its data", patched(GOOD, len(GOOD) - 16, b"\0\0\0\0"), "damaged: the checksum"
    yield "has another wrapping", png(HEAD, b"\x78\x20" + DATA[2:]), DAMAGED
    yield "has a wrong Adler sum", png(HEAD, DATA[:-4] + b"\0\0\0\1"), None
    yield "has a filter that is none", png(HEAD, zlib.compress(b"\x07" + rows(GRAY)[1:])), DAMAGED
    yield "is of a type that is none", png(header(WIDTH, HEIGHT, 8, 5), DATA), DAMAGED
    yield "is of a depth that is none", png(header(WIDTH, HEIGHT, 3, 0), DATA), DAMAGED
    yield "has no palette", png(header(WIDTH, HEIGHT, 8, 3), DATA), None
    yield "has a palette of 300 colours", png(header(WIDTH, HEIGHT, 8, 3), DATA, chunk(b"PLTE", bytes(900))), "."
    yield "claims 4 billion frames", _with(chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0))), None
    yield (
        "has a frame beyond its canvas",
        _with(
            chunk(b"acTL", struct.pack(">II", 2, 0)),
            chunk(b"fcTL", struct.pack(">5I2H2B", 0, 2**31, 2**31, 0, 0, 1, 1, 0, 0)),
        ),
        ".",
    )
    turned = {
        "is turned by EXIF": _exif((0x112, 3, 1, 6)),
        "has EXIF of 65,535 values of 4 GB": _exif(*((0x100 + i, 1, 2**32 - 1, 8) for i in range(5_000))),
        "has EXIF that goes in a circle": _exif((0x112, 3, 1, 1), next_one=8),
        "has EXIF that lies behind it": b"II*\0\xff\xff\xff\x7f",
        "has no EXIF in its EXIF": b"garbage" * 9,
    }
    for name, block in turned.items():
        yield name, _with(chunk(b"eXIf", block)), None
    many = _exif(*((0x1000 + i, 1, 1 << 19, 8) for i in range(40_000)))
    yield "has EXIF that reads its bytes 40,000 times", lambda: _with(chunk(b"eXIf", many + bytes(1 << 19))), None


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def _jpegs() -> Iterator[Entry]:
    gray = originals()["jpg"]
    scans = encoded(Image.fromarray(RGB), "JPEG", progressive=True)
    frame, scan, scanned = (
        data.index(mark) for data, mark in ((gray, b"\xff\xc0"), (gray, b"\xff\xda"), (scans, b"\xff\xda"))
    )
    places = {"behind its start": 3, "in its tables": 40, "in its frame": frame + 4, "at its scan": scan + 5}
    yield from cuts(gray, places, "truncated|cannot be decoded|damaged|not an image")
    yield "ends in its scan", gray[: scan + 90], "truncated|cannot be decoded"
    for height, width in ((65_535, 65_535), (65_500, 2_000), (10_001, 10_000)):
        yield f"claims {width}×{height}", patched(gray, frame + 5, struct.pack(">HH", height, width)), BOMB
    yield "has a side of 20,001", patched(gray, frame + 5, struct.pack(">HH", 20_001, 8)), "longer than 20,000"
    for height, width in ((0, WIDTH), (HEIGHT, 0)):
        yield f"claims {width}×{height}", patched(gray, frame + 5, struct.pack(">HH", height, width)), "."
    size = 2 + struct.unpack_from(">H", gray, frame + 2)[0]
    second = patched(gray[frame : frame + size], 5, struct.pack(">HH", 60_000, 60_000))
    yield "has a second frame, a bomb", gray[:scan] + second + gray[scan:], BOMB
    yield "has a second frame, the same", gray[:scan] + gray[frame : frame + size] + gray[scan:], "."
    yield "has 5 components", patched(gray, frame + 9, b"\5"), "."
    yield "has 2 components", patched(gray, frame + 9, b"\2"), "."
    yield "has 12 bits", patched(gray, frame + 4, b"\x0c"), "."
    yield "has a sampling of 15×15", patched(gray, frame + 11, b"\xff"), "."
    for kind in (0xC3, 0xC5, 0xCB, 0xF7):
        yield f"is of the process {kind:02X}", patched(gray, frame + 1, bytes([kind])), "."
    tables = [at for at in range(len(gray)) if gray[at : at + 2] == b"\xff\xc4"]
    yield "has no Huffman table", gray.replace(b"\xff\xc4", b"\xff\xee"), None
    yield "has a Huffman table of 65,535 codes", patched(gray, tables[0] + 5, b"\xff" * 16), "."
    yield "has a quantisation table that is none", patched(gray, gray.index(b"\xff\xdb") + 4, b"\x0f"), "."
    yield "has tables of no length", patched(gray, gray.index(b"\xff\xdb") + 2, b"\0\0"), "."
    again = scans[scanned:-2]
    yield "goes over its pixels 200 times", scans[:scanned] + again * 40 + b"\xff\xd9", "over the limit of 100 scans"
    tall = patched(scans, scans.index(b"\xff\xc2") + 5, struct.pack(">HH", 9_000, 9_000))
    yield "goes over 81 megapixels 10,000 times", tall[:scanned] + again * 2_000, "over the limit of 100 scans"
    yield "has 120,000 segments", lambda: gray[:2] + _segment(0xFE, b"") * 120_000 + gray[2:], PARTS
    yield "has 20 MB between two segments", lambda: gray[:20] + bytes(20_000_000) + gray[20:], PARTS
    yield "is filled with 20 MB", lambda: gray[:2] + b"\xff" * 20_000_000 + gray[2:], PARTS
    yield "has junk behind its end", gray + b"junk" * 999, None
    yield "has another behind its end", gray + gray, None
    for name, block in {
        "that goes in a circle": _exif((0x112, 3, 1, 1), next_one=8),
        "of values of 4 GB": _exif(*((0x100 + i, 1, 2**32 - 1, 8) for i in range(5_000))),
        "that is none": b"\xff" * 60,
        "that turns it": _exif((0x112, 3, 1, 8)),
        "of a turn that is none": _exif((0x112, 3, 1, 77)),
    }.items():
        yield f"has EXIF {name}", gray[:2] + _segment(0xE1, b"Exif\0\0" + block) + gray[2:], None
    pictures = _exif((0xB001, 4, 1, 2**31), (0xB002, 7, 16, 8))
    yield "claims two billion pictures", gray[:2] + _segment(0xE2, b"MPF\0" + pictures) + gray[2:], None
    profile = b"".join(_segment(0xE2, b"ICC_PROFILE\0" + bytes([i % 256, 255]) + bytes(60_000)) for i in range(300))
    yield "has a colour profile of 18 MB", lambda: gray[:2] + profile + gray[2:], None


def _gifs() -> Iterator[Entry]:
    good = originals()["gif"]
    image = good.index(b",", 13 + 3 * 256)
    yield from cuts(good, {"in its screen": 9, "in its colours": 99, "at its image": image + 4}, ".")
    yield from cuts(good, {"in its data": image + 200}, "truncated|cannot be decoded")
    yield "claims a screen of 65,535×65,535", patched(good, 6, b"\xff" * 4), BOMB
    yield "claims an image of 65,535×65,535", patched(good, image + 5, b"\xff" * 4), BOMB
    yield "lies at 65,535, 65,535", patched(good, image + 1, b"\xff" * 4), BOMB
    yield "claims 0×0", patched(patched(good, 6, bytes(4)), image + 5, bytes(4)), "."
    yield "has codes of 200 bits", patched(good, image + 10, b"\xc8"), "."
    comment = b"!\xfe" + b"\1x" * 120_000 + b"\0"
    yield "has a comment of 120,000 blocks", lambda: good[:image] + comment + good[image:], PARTS
    yield "has 20 MB of nothing", lambda: good[:image] + b"\x01" * 20_000_000 + good[image:], PARTS
    small = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2D\1\0"
    yield "has 6,000 frames", lambda: good[:-1] + small * 6_000 + b";", FRAMES
    yield "has 4,000 frames", lambda: good[:-1] + small * 4_000 + b";", None
    yield "has a bomb as its second frame", good[:-1] + b"," + b"\xff" * 8 + b"\0\2\2D\1\0;", BOMB
    yield "has no image", good[:image] + b";", "."
    yield "has no end", good[:-1], None


def _webps() -> Iterator[Entry]:
    lossy, lossless = encoded(Image.fromarray(RGB), "WEBP"), encoded(Image.fromarray(RGB), "WEBP", lossless=True)
    frames = [Image.fromarray(RGB // k) for k in (2, 3)]
    moving = encoded(Image.fromarray(RGB), "WEBP", save_all=True, append_images=frames)
    for name, good in (("lossy", lossy), ("lossless", lossless), ("moving", moving)):
        yield from ((f"{name}, {n}", c, r) for n, c, r in cuts(good, {"in its head": 14, "in its size": 27}, "."))
        yield f"{name}, ends in its data", good[:-40], "."
    yield "claims a canvas of 16 million a side", patched(moving, 24, b"\xff" * 6), BOMB
    yield "claims a canvas of 10,001×10,000", patched(moving, 24, b"\x10\x27\0\x0f\x27\0"), BOMB
    yield "claims 16,383×16,383, lossy", patched(lossy, 26, b"\xff\x3f\xff\x3f"), BOMB
    yield "claims 16,384×16,384, lossless", patched(lossless, 21, b"\xff\xff\xff\x0f"), BOMB
    yield "claims 0×0, lossy", patched(lossy, 26, bytes(4)), "."
    yield "is of 4 GB by its head", patched(lossy, 4, b"\xff" * 4), "."
    yield "is of no bytes by its head", patched(lossy, 4, bytes(4)), "."
    yield "is animated without a frame", moving[: moving.index(b"ANMF")], "."
    frame = moving.index(b"ANMF")
    yield "has a frame beyond its canvas", patched(moving, frame + 14, b"\xff\xff\xff"), None
    yield (
        "has 20,000 chunks",
        lambda: patched(moving, 4, struct.pack("<I", len(moving) - 8 + 160_000)) + b"JUNK\0\0\0\0" * 20_000,
        None,
    )


def _others() -> Iterator[Entry]:
    bmp = originals()["bmp"]
    yield from (
        ("BMP " + n, c, r) for n, c, r in cuts(bmp, {"ends in its head": 20, "ends in its rows": len(bmp) - 99}, ".")
    )
    for width, height in (
        (2**31 - 1, 2**31 - 1),
        (2**31 - 1, 1),
        (100_000_001, 1),
        (60_000, -60_000),
        (-60_000, 60_000),
    ):
        yield f"BMP claims {width}×{height}", patched(bmp, 18, struct.pack("<ii", width, height)), "."
    yield "BMP claims 99 megapixels", patched(bmp, 18, struct.pack("<ii", 9_999, 9_900)), "truncated|cannot be decoded"
    yield "BMP claims 0×0", patched(bmp, 18, bytes(8)), "."
    yield "BMP of 7 bits", patched(bmp, 28, b"\7"), "."
    yield "BMP of 4 billion colours", patched(bmp, 46, b"\xff" * 4), "."
    yield "BMP whose rows lie behind it", patched(bmp, 10, b"\xff\xff\xff\x7f"), "."
    runs = patched(patched(patched(bmp, 30, b"\1\0\0\0"), 34, bytes(4)), 18, struct.pack("<ii", 19_999, 4_000))
    yield "BMP that leaps 255 rows at a time", runs[: 54 + 1024] + b"\0\2\0\xff" * 40 + b"\0\1", None
    leap = patched(runs, 18, struct.pack("<ii", 99_999_999, 1))
    yield "BMP that leaps 255 rows of 100 million pixels", leap[: 54 + 1024] + b"\0\2\0\xff", "longer than 20,000"
    for name, text, refused in [
        ("claims 99,999×99,999", b"P5 99999 99999 255\n" + bytes(99), BOMB),
        ("claims 30,000×1", b"P5 30000 1 255\n" + bytes(30_000), "longer than 20,000"),
        ("claims 99 megapixels", b"P5 9999 9900 255\n" + bytes(99), "truncated|cannot be decoded"),
        ("claims 99 megapixels of 16 bits", b"P5 9999 9900 65535\n" + bytes(99), "to decode: over"),
        ("claims 99 megapixels of reals", b"Pf 9999 9900 -1.0\n" + bytes(99), "to decode: over"),
        ("has a highest value of 0", b"P5 9 9 0\n" + bytes(81), "."),
        ("has a highest value of 65,536", b"P5 9 9 65536\n" + bytes(162), "."),
        ("has a number of 9,000 digits", b"P5 " + b"9" * 9_000, "."),
        ("has a negative side", b"P5 -9 9 255\n" + bytes(81), "."),
        ("has a scale that is no number", b"Pf 3 3 nan\n" + bytes(36), "."),
        ("has reals that are none", b"Pf 3 3 -1.0\n" + b"\xff" * 36, "not finite"),
        ("has values over its highest", b"P2 2 2 9\n1 2 3 99\n", "."),
        ("has words for numbers", b"P2 2 2 9\n1 two 3 4\n", "."),
        ("has too few numbers", b"P2 2 2 9\n1 2\n", "."),
        ("is of the type P7", b"P7\nWIDTH 4\nHEIGHT 4\nENDHDR\n" + bytes(16), "not an image"),
        ("is read", b"P5\n# a comment\n9 9 255\n" + bytes(81), None),
    ]:
        yield f"PNM {name}", text, refused
    yield (
        "PNM with a comment of 20 MB",
        lambda: b"P5\n#" + b"x" * 20_000_000 + b"\n9 9 255\n" + bytes(81),
        "its header: over the limit of 4 MB",
    )
    yield (
        "PNM with 20 MB of blanks",
        lambda: b"P5\n" + b" " * 20_000_000 + b"9 9 255\n" + bytes(81),
        "its header: over the limit of 4 MB",
    )
    avif = encoded(Image.fromarray(RGB), "AVIF")
    ispe = avif.index(b"ispe")
    yield "AVIF is read", avif, None
    yield "AVIF claims 4 billion a side", patched(avif, ispe + 8, b"\xff" * 8), "."
    yield "AVIF claims 16,384×16,384", patched(avif, ispe + 8, struct.pack(">II", 16_384, 16_384)), "."
    yield "AVIF claims 0×0", patched(avif, ispe + 8, bytes(8)), "."
    yield "AVIF ends in its boxes", avif[:200], "."
    yield "AVIF ends in its data", avif[:-40], "."
    yield "AVIF has a box of 2⁶³ bytes", avif[:28] + b"\0\0\0\1free" + b"\x7f" + b"\xff" * 7 + avif[28:], "."


CASES = [
    *cases("PNG", _pngs()),
    *cases("JPEG", _jpegs()),
    *cases("GIF", _gifs()),
    *cases("WebP", _webps()),
    *cases("other", _others()),
]
