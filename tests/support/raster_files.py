"""PNG and TIFF files written byte by byte, of kinds that Pillow does not write: 16-bit colour, white is zero, big-endian."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def png_16_bit(values: np.ndarray, *more: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits: gray `(H, W)`, or gray with alpha, RGB or RGBA `(H, W, 2 to 4)`; `more` are chunks after the pixels."""
    height, width, channels = (*values.shape, 1)[:3]
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), *more, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def tiff(values: np.ndarray, photometric: int, order: str = "<", deflate: bool = False) -> bytes:
    """A TIFF of one strip: uint8, uint16 or float32, `(H, W)` or `(H, W, 3 or 4)`, in either byte order."""
    height, width, samples = (*values.shape, 1)[:3]
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if deflate else data
    bits, kind = 8 * values.dtype.itemsize, 3 if values.dtype.kind == "f" else 1
    per_sample = struct.pack(f"{order}{samples}H", *[bits] * samples)
    start = 8 + len(data)
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height)),
        (258, 3, samples, bits if samples == 1 else start),
        *((259, 3, 1, 8 if deflate else 1), (262, 3, 1, photometric), (273, 4, 1, 8), (277, 3, 1, samples)),
        *((278, 4, 1, height), (279, 4, 1, len(data)), (339, 3, 1, kind)),
    ]
    out = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", start + 2 * samples) + data + per_sample
    out += struct.pack(f"{order}H", len(tags))
    for tag, form, count, value in tags:
        short = form == 3 and count == 1
        field = struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
        out += struct.pack(f"{order}HHI", tag, form, count) + field
    return out + struct.pack(f"{order}I", 0)
