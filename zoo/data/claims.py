"""What an image file claims, checked before a decoder takes memory or time for it: pixels, and parts of the file.

Each check reads what its decoder will read, and finds nothing wrong with damage that costs nothing: decoding gives the reason.
PNG is checked by `zoo.data.png`, DICOM by `zoo.data.dicom`; what AVIF and BMP claim is in their headers alone.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from zoo.core import limits
from zoo.data import jpeg2000, tiff
from zoo.data.formats import Kind, Parts, check, check_size

_SOS = 0xDA
_BARE = {0x00, 0x01, *range(0xD0, 0xDA)}  # markers without a length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_EXTENSION, _IMAGE = 0x21, 0x2C  # blocks of a GIF


def check_claims(kind: Kind, stream: BinaryIO, size: int) -> None:
    """Refuse an image file of `size` bytes, from whose start `stream` reads, that claims more than the limits allow.

    Raises:
        BadImage: with what it claims, and the limit; `TooManyPixels` for its pixels.
    """
    checks: dict[Kind, Callable[[BinaryIO, int], None]] = {
        Kind.JPEG: _jpeg,
        Kind.GIF: _gif,
        Kind.WEBP: _webp,
        Kind.PNM: _pnm,
        Kind.TIFF: tiff.check_directories,
        Kind.JPEG_2000: _jpeg_2000,
    }
    if kind in checks:
        checks[kind](stream, size)


def _jpeg(stream: BinaryIO, size: int) -> None:
    """Every start of frame, the segments before the first scan, and the scans: a decoder goes over all pixels for each."""
    data = stream.read(size)
    at, parts = 2, Parts("segments or bytes between them")
    while at + 4 <= len(data):
        found = data.find(b"\xff", at)
        if found < 0:
            break
        parts.add(1 + found - at)  # what lies between is skipped byte by byte
        at, marker = found, data[found + 1] if found + 1 < len(data) else _SOS
        if marker == _SOS:
            break
        if marker == 0xFF:
            at += 1
            continue
        at += 2
        if marker in _BARE or at + 2 > len(data):
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker in _FRAMES and at + 7 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 3)
            check_size(width, height)
        at += max(length, 2)
    scans = data.count(b"\xff\xda", at)
    check("jpeg_scans", scans, f"{scans:,} scans")


def _gif(stream: BinaryIO, size: int) -> None:
    """The blocks of all frames, which Pillow counts by reading them."""
    head = stream.read(13)
    if len(head) < 13:
        return
    check_size(*struct.unpack_from("<HH", head, 6))
    _skip_colours(stream, head[10])
    frames, parts = 0, Parts("blocks")
    while start := stream.read(1):
        if start[0] == _IMAGE:
            frames += 1
            check("image_frames", frames, f"{frames:,} frames")
            left, top, width, height, flags = struct.unpack("<HHHHB", stream.read(9).ljust(9, b"\0"))
            check_size(left + width, top + height)
            _skip_colours(stream, flags)
            stream.read(1)
        elif start[0] == _EXTENSION:
            stream.read(1)
        elif start == b";":
            return
        else:
            parts.add()
            continue
        while length := stream.read(1):
            parts.add()
            if not length[0] or len(stream.read(length[0])) < length[0]:
                break


def _skip_colours(stream: BinaryIO, flags: int) -> None:
    if flags & 0x80:
        stream.read(3 << ((flags & 7) + 1))


def _webp(stream: BinaryIO, size: int) -> None:
    """The canvas, for which memory is taken when the file is opened."""
    head = stream.read(30).ljust(30, b"\0")
    kind = head[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (each & 0x3FFF for each in struct.unpack_from("<HH", head, 26))
    check_size(width, height)


def _pnm(stream: BinaryIO, size: int) -> None:
    """The header, which Pillow reads byte by byte, comments too."""
    most = limits.value("image_header_bytes")
    head = stream.read(most)
    lines = (line.partition(b"#")[0] for line in head.replace(b"\r", b"\n").split(b"\n"))
    words = b" ".join(lines).split()
    if len(words) < (3 if words[:1] in ([b"P1"], [b"P4"]) else 4):
        check("image_header_bytes", size, "its header")
    if len(words) > 2 and all(word.isdigit() and len(word) < 11 for word in words[1:3]):
        check_size(int(words[1]), int(words[2]))


def _jpeg_2000(stream: BinaryIO, size: int) -> None:
    jpeg2000.read(stream.read(size))
