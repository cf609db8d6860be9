"""JPEG 2000 codestreams (ISO/IEC 15444-1 annex A): where they begin, and what they claim.

OpenJPEG takes memory for every tile, precinct and code block that a header of 100 bytes names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from zoo.core import limits
from zoo.core.records import BadImage
from zoo.data.formats import J2K_START, Parts, check, check_size

_COD, _COC, _SOT, _SOD, _EOC = 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_COMPONENTS = 4
_MEMORY = 7  # bytes for a value of a pixel: OpenJPEG takes 32 bits for each
_TILE = 16  # parts that a tile counts as: OpenJPEG takes some 7 KB for each
_INCLUDED = 64  # packets that count as a part: OpenJPEG takes 2 bytes for each
_DAMAGED = "its JPEG 2000 data are damaged: they do not begin as such"


@dataclass(frozen=True)
class Codestream:
    """Where a codestream begins in a file, its size in pixels, and the values of a pixel and bits of a value."""

    start: int
    columns: int
    rows: int
    components: int
    bits: int


def read(data: bytes) -> Codestream:
    """The codestream in the bytes of a file, or of a codestream alone, its claims checked.

    Raises:
        BadImage: there is none, it is damaged, or it asks for more than an image may.
    """
    start = 0 if data.startswith(J2K_START) else _in_boxes(data)
    if not data.startswith(J2K_START, start) or len(data) < start + 45:
        raise BadImage(_DAMAGED)
    right, bottom, left, top, wide, high, x, y, components = struct.unpack_from(">8IH", data, start + 8)
    if right <= left or bottom <= top or not wide or not high:
        raise BadImage("has no pixels")
    found = Codestream(start, right - left, bottom - top, components, (data[start + 42] & 0x7F) + 1)
    check_size(found.columns, found.rows, _MEMORY * min(components, _COMPONENTS))
    if not 1 <= components <= _COMPONENTS:
        raise BadImage(f"its JPEG 2000 data have {components:,} values per pixel: 1 to {_COMPONENTS} can be read")
    tiles = -(-(right - min(x, left)) // wide) * -(-(bottom - min(y, top)) // high)
    check("image_parts", _TILE * tiles, f"{tiles:,} tiles")
    there = set()
    for marker, content in _segments(data, start + 2):
        if marker in (_COD, _COC):
            _check_coding(marker, content, found, tiles)
        elif marker == _SOT:
            there.add(content[:2])
    if len(there) < tiles:
        raise BadImage("truncated")
    return found


def _in_boxes(data: bytes) -> int:
    """Where the contents of the codestream's box begin (annex I.4)."""
    at, most = 0, limits.value("image_header_bytes")
    while at + 16 <= len(data):
        if at > most:
            check("image_header_bytes", at, "boxes before its JPEG 2000 data")
        length, name, longer = struct.unpack_from(">I4sQ", data, at)
        head, length = (16, longer) if length == 1 else (8, length)
        if name == b"jp2c":
            return at + head
        if length < head or at + length > len(data):
            break
        at += length
    raise BadImage(_DAMAGED)


def _segments(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The segments of the main header and of the tile-parts' headers."""
    parts, end = Parts("segments"), 0
    while at + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, at)
        parts.add()
        if marker == _SOT and at + 12 <= len(data):
            size = struct.unpack_from(">I", data, at + 6)[0]
            end = at + size if size >= 12 else len(data)
        if marker == _EOC or marker < 0xFF00:
            return
        if marker == _SOD:
            at = end
            continue
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)


def _check_coding(marker: int, content: bytes, found: Codestream, tiles: int) -> None:
    """Refuse more code blocks, precincts or packets than an image needs."""
    style, at = (content[:1], 5) if marker == _COD else (content[1:2], 2)
    if len(content) < at + 5 or not style:
        raise BadImage(_DAMAGED)
    levels, across, down = content[at], (content[at + 1] & 15) + 2, (content[at + 2] & 15) + 2
    if levels > 32:
        raise BadImage(_DAMAGED)
    layers = struct.unpack_from(">H", content, 2)[0] if marker == _COD else 1
    sizes = content[at + 5 :] if style[0] & 1 else b""
    blocks = precincts = 0
    for level in range(levels + 1):
        size = sizes[level] if level < len(sizes) else 0xFF
        width, height = (-(-side >> (levels - level)) for side in (found.columns, found.rows))
        wide, high = size & 15, size >> 4
        precincts += max(-(-width >> wide) * -(-height >> high), tiles)
        inner = 1 if level else 0
        block = min(across, max(wide - inner, 0)), min(down, max(high - inner, 0))
        blocks += max(-(-width >> block[0]) * -(-height >> block[1]), tiles)
    blocks, precincts = blocks * found.components, precincts * found.components
    check("image_parts", max(blocks, precincts), f"{max(blocks, precincts):,} code blocks or precincts")
    packets = layers * precincts
    check("image_parts", packets // _INCLUDED, f"{packets:,} packets")
