"""PNG files: a fast decoder for the usual 8-bit ones, and a check of the damage that Pillow overlooks."""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from zoo.core.records import BadImage
from zoo.data.formats import PNG_SIGNATURE, Parts

_HEADER = 33  # bytes of the signature and the whole IHDR chunk
_BLOCK = 1 << 20
# colour types of the fast path: kornia_rs' name, Pillow's name, channels
_COLOURS = {0: ("mono", "L", 1), 2: ("rgb", "RGB", 3), 6: ("rgba", "RGBA", 4)}
_TURNING_TEXTS = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # in which Pillow looks for an orientation
# the passes of an interlaced PNG: first column and row, steps between columns and rows (PNG specification, section 8.2)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


@functools.cache
def fast_png() -> Callable[[bytes, tuple[int, int], str], Any] | None:
    """The PNG decoder of kornia_rs, `(bytes, (height, width), mode) -> (H, W, C)` uint8; None if it is not installed.

    It gives the pixels that Pillow gives. It checks the CRC of each chunk, but not the Adler-32 checksum inside.
    """
    try:
        from kornia_rs.io import decode_image_png_u8
    except Exception:  # a library that does not fit this machine raises other things than ImportError
        return None
    decoder: Callable[[bytes, tuple[int, int], str], Any] = decode_image_png_u8
    return decoder


def size_of(head: bytes) -> tuple[int, int]:
    """Width and height by the IHDR chunk, which comes first; raises BadImage."""
    if len(head) < _HEADER or head[8:16] != b"\0\0\0\x0dIHDR":
        raise BadImage("damaged: it does not begin with the IHDR chunk" if len(head) > _HEADER else "truncated")
    width, height = struct.unpack_from(">II", head, 16)
    return width, height


def decode_fast(head: bytes, stream: BinaryIO, size: int) -> tuple[np.ndarray, str] | None:
    """Decode an 8-bit gray, RGB or RGBA PNG without interlacing, frames or a transparent colour.

    Args:
        head: the first bytes of the file, its size checked.
        stream: the file, at its start.
        size: of the file in bytes.

    Returns:
        Pixels and note as from `zoo.data.decode.decode`; None if the file needs Pillow.
    """
    decoder = fast_png()
    if decoder is None:
        return None
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", head, 16)
    if (depth, rest) != (8, [0, 0, 0]) or colour not in _COLOURS:
        return None
    mode, pillow_mode, channels = _COLOURS[colour]
    raw = width * height * channels
    if not raw or size > raw + raw // 8 + _BLOCK:
        return None
    data = stream.read(size)  # no more than there was when the size was taken
    if not is_plain(data):
        return None
    try:
        found = decoder(data, (height, width), mode)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return None
    pixels = np.asarray(found)
    if colour == 0:
        return pixels.reshape(height, width), ""
    return np.array(Image.fromarray(pixels).convert("L"), dtype=np.uint8), f"{pillow_mode}, converted to gray"


def is_plain(data: bytes) -> bool:
    """Whether no chunk makes the PNG animated, gives it a transparent colour, or may say that it has to be turned.

    Raises:
        BadImage: it has too many chunks.
    """
    at, pixels, parts = _HEADER, False, Parts("chunks")
    while at + 8 <= len(data):
        parts.add()
        length, name = struct.unpack_from(">I4s", data, at)
        turning = name in (b"tEXt", b"zTXt", b"iTXt") and data.startswith(_TURNING_TEXTS, at + 8)
        if turning or name in (b"acTL", b"tRNS", b"eXIf", b"IHDR"):
            return False
        pixels = pixels or name == b"IDAT"
        at += 12 + length
    return pixels


def check_png(stream: BinaryIO) -> None:
    """Refuse a PNG with a wrong CRC in a chunk that the pixels need, too many chunks or fewer rows than its header claims.

    Pillow reads such files: it shows wrong pixels where the damaged data can still be inflated, and black for missing rows.

    Raises:
        BadImage: it is damaged or truncated.
    """
    stream.seek(len(PNG_SIGNATURE))
    inflate, missing, parts, first_chunk = zlib.decompressobj(), 0, Parts("chunks"), True
    while len(start := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        parts.add()
        if name == b"IHDR" and not first_chunk:
            raise BadImage("damaged: it has two IHDR chunks")
        first_chunk = False
        crc, first = zlib.crc32(name), True
        while length and (block := stream.read(min(length, _BLOCK))):
            crc = zlib.crc32(block, crc)
            length -= len(block)
            if name == b"IHDR" and first:
                missing = _raw_bytes(block)
            elif name == b"IDAT" and missing > 0:
                missing -= _inflated(inflate, block, missing)
            first = False
        expected = stream.read(4)
        if length or len(expected) < 4:
            break
        needed = not name[0] & 0x20  # a capital letter: no decoder may skip the chunk
        if needed and crc != int.from_bytes(expected, "big"):
            raise BadImage(f"damaged: the checksum of its {name.decode('ascii', 'backslashreplace')} chunk is wrong")
        if name == b"IEND":
            break
    if missing > 0:
        raise BadImage("truncated")


def _inflated(inflate: Any, block: bytes, wanted: int) -> int:
    """The number of bytes that a block of compressed data inflates to, counted up to `wanted` in small pieces."""
    count = 0
    while block and count < wanted and not inflate.eof:
        count += len(inflate.decompress(block, _BLOCK))
        block = inflate.unconsumed_tail
    return count


def _raw_bytes(header: bytes) -> int:
    """The size in bytes of the uncompressed rows by the IHDR chunk, its size checked; 0 if that is invalid."""
    if len(header) != 13:
        return 0
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    if not width * height or not bits:
        return 0
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    sizes = ((-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes)
    return sum(h * (1 + (w * bits + 7) // 8) for w, h in sizes if w > 0 and h > 0)
