"""TIFF: its directories, checked before a library reads them, and the white-is-zero files that Pillow does not read."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from zoo.core.records import BadImage
from zoo.data.formats import check, check_size

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_WIDTH, _TILE_WIDTH = (256, 257), (322, 323)  # each with the height after it
_STRIPS, _SAMPLES, _ROWS, _PLANAR, _TILES, _SEPARATE = 273, 277, 278, 284, 324, 2
_BASELINE = range(254, 533)  # tags whose values Pillow makes Python numbers of
_SPARE = 1 << 20  # bytes of values beyond the file's size: some files point twice at the same
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BYTES = (1, 2, 6, 7)  # types whose values stay bytes
_WHOLE = {1: "B", 3: "H", 4: "I", 16: "Q"}


@dataclass(frozen=True)
class _Layout:
    """How numbers lie in a TIFF: struct formats, in its byte order, of an offset, of a count of entries and of an entry."""

    order: str
    offset: str
    count: str
    entry: str

    def read(self, stream: BinaryIO, form: str) -> tuple[int, ...]:
        size = struct.calcsize(self.order + form)
        data = stream.read(size)
        return struct.unpack(self.order + form, data) if len(data) == size else ()


def _begin(stream: BinaryIO) -> tuple[_Layout, int]:
    """The layout, and where the first directory lies."""
    head = stream.read(16).ljust(16, b"\0")
    order = "<" if head.startswith(b"II") else ">"
    if head[2:4] in (b"+\0", b"\0+"):
        return _Layout(order, "Q", "Q", "HHQ"), struct.unpack_from(f"{order}Q", head, 8)[0]
    return _Layout(order, "I", "H", "HHI"), struct.unpack_from(f"{order}I", head, 4)[0]


def check_directories(stream: BinaryIO, size: int, *, first_only: bool = False) -> None:
    """Refuse a TIFF, or EXIF data, whose directories ask for more than its `size` in bytes, are too many, or go in a circle.

    Raises:
        BadImage: for one of these reasons, or it has more pixels than may be.
    """
    layout, at = _begin(stream)
    seen: set[int] = set()
    entries = loaded = 0
    while 0 < at < size:
        if at in seen:
            raise BadImage("damaged: its directories lead in a circle")
        seen.add(at)
        check("image_frames", len(seen), f"{len(seen):,} directories")
        stream.seek(at)
        (count,) = layout.read(stream, layout.count) or (0,)
        entries += count
        check("image_parts", entries, f"{entries:,} entries in its directories")
        found: dict[int, int] = {}
        counts: dict[int, int] = {}
        for tag, kind, number, value in _entries(stream, layout, count):
            loaded += _bytes_read(layout, kind, number, value, size)
            if tag in _BASELINE and kind not in _BYTES:
                check("image_parts", number, f"{number:,} values of the tag {tag}")
            counts.setdefault(tag, number)
            if kind in _WHOLE and number == 1:
                found[tag] = max(found.get(tag, 0), *struct.unpack_from(layout.order + _WHOLE[kind], value))
        if loaded > size + _SPARE:
            raise BadImage("decompression bomb: its directories read the same bytes many times over")
        if len(seen) == 1:
            _check_pieces(found, counts)
        at = 0 if first_only else (layout.read(stream, layout.offset) or (0,))[0]


def _check_pieces(found: dict[int, int], counts: dict[int, int]) -> None:
    """Check the sizes of image and tiles, and that no strip or tile is missing: its pixels would be black."""
    for width, height in (_WIDTH, _TILE_WIDTH):
        if width in found and height in found:
            check_size(found[width], found[height])
    width, height = (found.get(tag, 0) for tag in _WIDTH)
    across, down = (found.get(tag, 0) for tag in _TILE_WIDTH)
    planes = found.get(_SAMPLES, 1) if found.get(_PLANAR) == _SEPARATE else 1
    if across and down:
        needed, there = -(-width // across) * -(-height // down), counts.get(_TILES)
    else:
        needed, there = -(-height // (found.get(_ROWS) or max(height, 1))), counts.get(_STRIPS)
    if there is not None and there < needed * planes:
        raise BadImage("truncated")


def _entries(stream: BinaryIO, layout: _Layout, count: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Tag, type, number of values, and the field that holds them or says where they lie."""
    for _ in range(count):
        entry = layout.read(stream, layout.entry)
        field = stream.read(struct.calcsize(layout.order + layout.offset))
        if not entry or not field:
            return
        yield entry[0], entry[1], entry[2], field.ljust(8, b"\0")


def _bytes_read(layout: _Layout, kind: int, number: int, field: bytes, size: int) -> int:
    """How many bytes a reader takes for the values of an entry that lie elsewhere."""
    wanted = _UNITS.get(kind, 0) * number
    if wanted <= struct.calcsize(layout.order + layout.offset):
        return 0
    (start,) = struct.unpack_from(layout.order + layout.offset, field)
    return min(wanted, max(0, size - start))


def black_is_zero(stream: BinaryIO) -> BinaryIO | None:
    """A copy of a white-is-zero TIFF that says the opposite, as Pillow reads not all of them; None of any other."""
    stream.seek(0)
    layout, at = _begin(stream)
    if layout.offset == "Q":
        return None
    stream.seek(at)
    (count,) = layout.read(stream, layout.count) or (0,)
    for number, (tag, _, _, value) in enumerate(_entries(stream, layout, count)):
        if tag == _PHOTOMETRIC and struct.unpack_from(f"{layout.order}H", value)[0] == _WHITE_IS_ZERO:
            stream.seek(0)
            data = bytearray(stream.read())
            struct.pack_into(f"{layout.order}H", data, at + 2 + 12 * number + 8, 1)
            return io.BytesIO(data)
    return None
