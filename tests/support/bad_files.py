"""Some 400 broken, odd and hostile image files, made from a seed, with what reading each must come to."""

from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

READ, ASIDE, WHOLE, EITHER = "read", "set aside", "read whole or set aside", "read or set aside"
SIGNATURE = b"\x89PNG\r\n\x1a\n"

_rng = np.random.default_rng(11)
_y, _x = np.indices((48, 40))
# smooth with some noise, as images are
GRAY = (110 + 60 * np.sin(_x / 7) + 40 * np.cos(_y / 9) + _rng.integers(0, 9, (48, 40))).astype(np.uint8)
RGB = np.dstack([GRAY, 255 - GRAY, GRAY // 2])


@dataclass(frozen=True)
class Case:
    """A file of the corpus: what must come of it, and a pattern of its reason where set aside, of its note where read.

    Where it must be read whole or not at all, its pixels are those of the original `like`.
    """

    outcome: str
    pattern: str = ""
    like: str = "png"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def header(width: int, height: int, depth: int = 8, colour: int = 0, *rest: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *(rest or (0, 0, 0))))


def rows(pixels: np.ndarray) -> bytes:
    """Unfiltered PNG rows of (H, bytes)."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png(head: bytes, data: bytes, *before: bytes, end: bytes = chunk(b"IEND", b"")) -> bytes:
    return SIGNATURE + head + b"".join(before) + chunk(b"IDAT", data) + end


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def originals() -> dict[str, bytes]:
    """A sound image in each format, to be damaged."""
    gray, rgb = Image.fromarray(GRAY), Image.fromarray(RGB)
    return {
        "png": encoded(gray, "PNG"),
        "rgb.png": encoded(rgb, "PNG"),
        "deep.png": encoded(Image.fromarray(GRAY.astype(np.uint16) * 257), "PNG"),
        "jpg": encoded(gray, "JPEG"),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "tif": encoded(gray, "TIFF"),
        "lzw.tif": encoded(gray, "TIFF", compression="tiff_lzw"),
        "gif": encoded(gray, "GIF"),
        "webp": encoded(rgb, "WEBP"),
        "bmp": encoded(gray, "BMP"),
        "jp2": encoded(gray, "JPEG2000"),
        "pgm": encoded(gray, "PPM"),
    }


CUTS = {"png": 40, "rgb.png": 10, "deep.png": 10, "jpg": 12, "progressive.jpg": 8, "tif": 8, "lzw.tif": 8, "gif": 10}
CUTS |= {"webp": 8, "bmp": 6, "jp2": 8, "pgm": 6}
FLIPS = {
    "png": 60,
    "rgb.png": 20,
    "deep.png": 10,
    "jpg": 15,
    "progressive.jpg": 10,
    "tif": 15,
    "lzw.tif": 15,
    "gif": 12,
}
FLIPS |= {"webp": 12, "bmp": 10, "jp2": 10, "pgm": 6}


def cut_and_flipped() -> Iterator[tuple[str, bytes, Case]]:
    rng = np.random.default_rng(5)
    for kind, content in originals().items():
        case = Case(WHOLE, like=kind) if kind.endswith("png") else Case(EITHER)  # no other format has checksums
        for i, at in enumerate(np.linspace(1, len(content) - 1, CUTS[kind]).astype(int)):
            yield f"cut-{i}.{kind}", content[:at], case
        for i in range(FLIPS[kind]):
            damaged = bytearray(content)
            # half of them in the first bytes, where sizes and types stand
            at = int(rng.integers(0, 120 if i % 2 else len(content)))
            damaged[at] ^= 1 << int(rng.integers(0, 8))
            yield f"flip-{i}.{kind}", bytes(damaged), case


def not_images() -> Iterator[tuple[str, bytes, Case]]:
    rng = np.random.default_rng(6)
    texts = {
        "text": b"not an image\n",
        "html": b"<!doctype html><html><body>404</body></html>",
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "pdf": b"%PDF-1.7\n1 0 obj<<>>endobj\n",
        "zip": b"PK\x03\x04" + bytes(60),
        "gzip": b"\x1f\x8b\x08" + bytes(30),
        "pickle": b"cos\nsystem\n(S'exit 1'\ntR.",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 42\n",
        "psd": b"8BPS\0\1" + bytes(40),
        "ico": b"\0\0\1\0\1\0" + bytes(40),
        "fits": b"SIMPLE  =                    T" + b" " * 50,
        "zeros": bytes(5000),
    }
    for name, content in texts.items():
        yield f"{name}.png", content, Case(ASIDE, "not an image")
    starts = [
        SIGNATURE,
        b"\xff\xd8\xff\xe0",
        b"II*\0",
        b"MM\0*",
        b"GIF89a",
        b"BM",
        b"RIFF",
        b"P5\n",
        b"\0\0\0\x0cjP  ",
        b"",
    ]
    for i, start in enumerate(starts):
        yield f"start-{i}.png", start, Case(ASIDE)
        yield f"noise-{i}.png", start + rng.bytes(400), Case(ASIDE)
    yield "empty.png", b"", Case(ASIDE, "zero bytes")


def odd_pngs() -> Iterator[tuple[str, bytes, Case]]:
    """Sound in form and wrong in content, or the reverse."""
    data = zlib.compress(rows(GRAY))
    height, width = GRAY.shape
    good = header(width, height)
    bomb = r"decompression bomb|not an image|cannot be decoded"
    for i, (w, h) in enumerate([(60_000, 60_000), (13_000, 13_000), (2**31 - 1, 2**31 - 1), (100_001, 1000)]):
        yield f"bomb-{i}.png", png(header(w, h), data), Case(ASIDE, bomb)
    for i, (w, h) in enumerate([(width, height + 9), (width + 1, height), (0, height), (width, 0), (2**31, 5)]):
        yield f"size-{i}.png", png(header(w, h), data), Case(ASIDE)
    yield "narrower.png", png(header(width - 1, height), data), Case(EITHER)
    yield "lower.png", png(header(width, height - 5), data), Case(READ)
    for i, rest in enumerate(
        [(3, 0), (8, 1), (8, 5), (8, 7), (16, 3), (1, 2), (0, 0), (8, 0, 1, 0, 0), (8, 0, 0, 0, 2)]
    ):
        yield f"type-{i}.png", png(header(width, height, *rest), data), Case(EITHER if len(rest) > 2 else ASIDE)
    yield "filter.png", png(good, zlib.compress(b"\x09" + rows(GRAY)[1:])), Case(ASIDE)
    yield "no-header.png", png(b"", data), Case(ASIDE)
    yield "no-data.png", SIGNATURE + good + chunk(b"IEND", b""), Case(ASIDE)
    yield "empty-data.png", png(good, b""), Case(ASIDE)
    yield "no-zlib.png", png(good, b"\0" * 200), Case(ASIDE)
    yield "half-zlib.png", png(good, data[: len(data) // 2]), Case(ASIDE)
    yield "no-palette.png", png(header(width, height, 8, 3), data), Case(EITHER)
    yield "no-end.png", png(good, data, end=b""), Case(WHOLE)
    yield "after-end.png", png(good, data) + b"junk" * 99, Case(READ)
    yield "two-headers.png", png(good, data, header(9, 9)), Case(EITHER)
    yield "long-chunk.png", SIGNATURE + good + struct.pack(">I", 2**32 - 1) + b"IDAT" + data, Case(WHOLE)
    yield "crc.png", png(good, data)[:-16] + b"\0\0\0\0" + chunk(b"IEND", b""), Case(ASIDE, "damaged: the checksum")
    yield "text-crc.png", png(good, data, chunk(b"tEXt", b"a\0b")[:-1] + b"\0"), Case(WHOLE)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(30_000_000)))
    yield "text-bomb.png", png(good, data, text), Case(WHOLE)
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(30_000_000)))
    yield "profile-bomb.png", png(good, data, profile), Case(WHOLE)
    pieces = b"".join(chunk(b"IDAT", data[i : i + 3]) for i in range(0, len(data), 3))
    yield "pieces.png", SIGNATURE + good + pieces + chunk(b"IEND", b""), Case(READ)
    yield "strip.png", png(header(90_000, 1), zlib.compress(bytes(90_001))), Case(ASIDE, "longer than")
    yield "tower.png", png(header(1, 90_000), zlib.compress(bytes(180_000))), Case(ASIDE, "longer than")
    yield "point.png", png(header(1, 1), zlib.compress(b"\0\x80")), Case(READ)
    yield "interlaced.png", png(header(1, 1, 8, 0, 0, 0, 1), zlib.compress(b"\0\x80")), Case(READ)
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    seven = b"".join(rows(GRAY[y::dy, x::dx]) for y, x, dy, dx in passes)
    for i, data_7 in enumerate([seven, seven + b"more", seven[:-1], seven[: len(seven) // 2]]):
        case = Case(ASIDE, "truncated") if i > 1 else Case(READ)
        yield f"adam7-{i}.png", png(header(width, height, 8, 0, 0, 0, 1), zlib.compress(data_7)), case
    yield "transparent.png", png(good, data, chunk(b"tRNS", b"\0\x05")), Case(READ)
    yield "gamma.png", png(good, data, chunk(b"gAMA", struct.pack(">I", 45455))), Case(READ)
    yield "2-bit.png", png(header(8, 2, 2), zlib.compress(b"\0\x1b\xe4\0\xff\0")), Case(READ)
    yield "4-bit.png", png(header(4, 2, 4), zlib.compress(b"\0\x0f\xf0\0\x12\x34")), Case(READ)


def odd_modes() -> Iterator[tuple[str, bytes, Case]]:
    """What published collections hold beside 8-bit gray."""
    gray, rgb, alpha = Image.fromarray(GRAY), Image.fromarray(RGB), Image.fromarray(np.dstack([RGB, GRAY]))
    deep, real = Image.fromarray(GRAY.astype(np.uint16) * 16), Image.fromarray(GRAY.astype(np.float32))
    frames = [Image.fromarray(GRAY // k) for k in (2, 3)]
    nan = Image.fromarray(np.full((9, 9), np.nan, np.float32))
    animated: dict[str, Any] = {"save_all": True, "append_images": frames}
    for name, image, options, note in [
        ("16-bit.png", deep, {}, "16-bit"),
        ("16-bit.tif", deep, {}, "16-bit"),
        ("32-bit.tif", Image.fromarray(GRAY.astype(np.int32) * 9999), {}, "32-bit"),
        ("float.tif", real, {}, "floating"),
        ("black.tif", Image.new("F", (9, 9)), {}, "all pixels equal"),
        ("palette.png", rgb.quantize(16), {}, "palette"),
        ("palette.gif", rgb.quantize(16), {}, "palette"),
        ("rgba.png", alpha, {}, "RGBA"),
        ("rgba.webp", alpha, {}, "RGBA"),
        ("la.png", gray.convert("LA"), {}, "alpha dropped"),
        ("1-bit.png", gray.convert("1"), {}, "1-bit"),
        ("1-bit.tif", gray.convert("1"), {"compression": "group4"}, "1-bit"),
        ("cmyk.tif", rgb.convert("CMYK"), {}, "CMYK"),
        ("cmyk.jpg", rgb.convert("CMYK"), {}, "CMYK"),
        ("lab.tif", Image.new("LAB", (9, 9)), {}, "LAB"),
        ("rgb.jp2", rgb, {}, "RGB"),
        ("ppm.png", rgb, {"format": "PPM"}, "RGB"),
        ("named.png", gray, {"format": "JPEG"}, ""),
        ("deflate.tif", gray, {"compression": "tiff_adobe_deflate"}, ""),
        ("packbits.tif", gray, {"compression": "packbits"}, ""),
        ("jpeg.tif", gray, {"compression": "jpeg"}, ""),
        ("big.tif", gray, {"big_tiff": True}, ""),
        ("animated.gif", gray, animated, "first of 3 frames"),
        ("animated.png", gray, animated, "first of 3 frames"),
        ("animated.webp", rgb, animated, "first of 3 frames"),
        ("pages.tif", gray, animated, "first of 3 frames"),
    ]:
        form = {"tif": "TIFF", "jpg": "JPEG", "jp2": "JPEG2000"}.get(
            name.rpartition(".")[2], name.rpartition(".")[2].upper()
        )
        yield name, encoded(image, **{"form": options.pop("format", form), **options}), Case(READ, note)
    yield "nan.tif", encoded(nan, "TIFF"), Case(ASIDE, "not finite")


def tiff(*entries: tuple[int, int, int, int], after: int = 0, tail: bytes = GRAY.tobytes()) -> bytes:
    """A little-endian TIFF of one directory: (tag, type, count, value), the offset of the next one, then the pixels."""
    fields = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + struct.pack("<I", after) + tail


def odd_tiffs() -> Iterator[tuple[str, bytes, Case]]:
    height, width = GRAY.shape
    size = width * height

    def image(
        w: int = width, h: int = height, at: int | None = None, held: int = size, after: int = 0, kind: int = 1
    ) -> bytes:
        start = 8 + 2 + 12 * 8 + 4 if at is None else at
        entries = [(256, 4, 1, w), (257, 4, 1, h), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, kind)]
        return tiff(*entries, (273, 4, 1, start), (278, 4, 1, h), (279, 4, 1, held), after=after)

    yield "plain.tif", image(), Case(READ)
    yield "white.tif", image(kind=0), Case(READ)
    yield "circle.tif", image(after=8), Case(EITHER)
    yield "after.tif", image(after=2**31), Case(EITHER)
    yield "outside.tif", image(at=2**30), Case(ASIDE)
    yield "taller.tif", image(h=height * 50), Case(ASIDE)
    yield "huge.tif", image(w=2**20, h=2**20), Case(ASIDE, "bomb")
    yield "zero.tif", image(w=0), Case(ASIDE)
    yield "kind.tif", image(kind=777), Case(ASIDE)
    yield "short.tif", image(held=3), Case(EITHER)
    yield "far.tif", b"II*\0" + struct.pack("<I", 2**32 - 2) + bytes(50), Case(ASIDE)
    yield "tags.tif", b"II*\0" + struct.pack("<IH", 8, 65_535) + bytes(90), Case(ASIDE)
    yield "count.tif", tiff((256, 4, 2**31, 9), (257, 4, 1, 9), (273, 4, 2**30, 8)), Case(ASIDE)


def odd_others() -> Iterator[tuple[str, bytes, Case]]:
    jpeg = originals()["jpg"]
    start = jpeg.index(b"\xff\xc0") + 5
    for i, (h, w) in enumerate([(65_535, 65_535), (0, 40), (48, 0), (480, 40)]):
        yield (
            f"sof-{i}.jpg",
            jpeg[:start] + struct.pack(">HH", h, w) + jpeg[start + 4 :],
            Case(EITHER if i == 3 else ASIDE),
        )
    yield "junk.jpg", jpeg + b"junk" * 99, Case(READ)
    yield "twice.jpg", jpeg + jpeg, Case(READ)
    gif = originals()["gif"]
    yield "screen.gif", gif[:6] + b"\xff\xff\xff\xff" + gif[10:], Case(ASIDE, "bomb")
    bmp = originals()["bmp"]
    for i, (w, h) in enumerate([(2**31 - 1, 2**31 - 1), (0, 0), (-40, 48), (40, -(2**31))]):
        yield f"size-{i}.bmp", bmp[:18] + struct.pack("<ii", w, h) + bmp[26:], Case(EITHER if i else ASIDE)
    yield "size.pgm", b"P5 99999 99999 255\n" + bytes(99), Case(ASIDE, "bomb")
    yield "max.pgm", b"P5 9 9 0\n" + bytes(81), Case(ASIDE)
    yield "long.pgm", b"P5 " + b"9" * 9000, Case(ASIDE)


def files() -> Iterator[tuple[str, bytes, Case]]:
    """Every regular file of the corpus: its name, its content, and what must come of it."""
    for part in (cut_and_flipped, not_images, odd_pngs, odd_modes, odd_tiffs, odd_others):
        yield from part()


def specials(root: Path) -> dict[str, Case]:
    """Make below `root` what is no regular file, or not inside; returns the paths."""
    (root / "good.png").write_bytes(originals()["png"])
    (root / "folder.png").mkdir()
    (root.parent / "secret.png").write_bytes(originals()["png"])
    links = {"inside": "good.png", "dangling": "nothing.png", "circle": "circle.png", "to-folder": "folder.png"}
    links |= {"ping": "pong.png", "pong": "ping.png", "out": "../secret.png", "device": "/dev/zero", "root": "/"}
    for name, target in links.items():
        (root / f"{name}.png").symlink_to(target)
    cases = {
        "good.png": Case(READ),
        "inside.png": Case(READ),
        "out.png": Case(READ),
        "device.png": Case(ASIDE, "not a regular file"),
        "root.png": Case(ASIDE, "a directory"),
        "folder.png": Case(ASIDE, "a directory"),
        "to-folder.png": Case(ASIDE, "a directory"),
        "dangling.png": Case(ASIDE, "missing file"),
        "circle.png": Case(ASIDE),
        "ping.png": Case(ASIDE),
        "good.png/": Case(EITHER),
        "good.png/x.png": Case(ASIDE, "missing file"),
        "./folder.png/../good.png": Case(READ),
        "absent.png": Case(ASIDE, "missing file"),
        "a\0b.png": Case(ASIDE),
        "x" * 5000: Case(ASIDE),
        "": Case(ASIDE, "a directory"),
        ".": Case(ASIDE, "a directory"),
    }
    outside = (
        "../secret.png",
        "out.png/../../secret.png",
        "..",
        "/dev/zero",
        "/etc/hostname",
        str(root.parent / "secret.png"),
    )
    cases |= dict.fromkeys(outside, Case(ASIDE, "outside the root"))
    for name in ("new\nline.png", "ünï.png", "y" * 251 + ".png", os.fsdecode(b"\xff\xfe.png")):
        try:
            (root / name).write_bytes(originals()["png"])
        except (OSError, UnicodeError):  # a file system that wants Unicode
            continue
        cases[name] = Case(READ)
    return cases | _systems_own(root)


def _systems_own(root: Path) -> dict[str, Case]:
    """FIFO, socket and a file without permission, where the system and the user allow for them."""
    cases = {}
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.png")
        cases["pipe.png"] = Case(ASIDE, "not a regular file")
    if hasattr(socket, "AF_UNIX"):
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(root)  # a socket's path may have 100 characters only
            with socket.socket(socket.AF_UNIX) as server:
                server.bind("socket.png")
            cases["socket.png"] = Case(ASIDE, "not a regular file")
        finally:
            os.fchdir(here)
            os.close(here)
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        (root / "closed.png").write_bytes(originals()["png"])
        (root / "closed.png").chmod(0)
        cases["closed.png"] = Case(ASIDE, "no permission")
    return cases


def write_corpus(root: Path) -> dict[str, Case]:
    """Write the whole corpus below `root`, an empty folder, and one file beside it; returns the paths with their cases."""
    cases = {}
    for name, content, case in files():
        if name in cases:
            raise ValueError(f"{name} twice")
        (root / name).write_bytes(content)
        cases[name] = case
    return cases | specials(root)
