"""Pixel data of each transfer syntax to stored values: `BitsStored` bits, as unsigned numbers."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image

from zoo.core.records import BadImage
from zoo.data.dicom.header import IMPLICIT, PixelElement, syntax_name
from zoo.data.dicom.subprocess_decoder import decode, decode_gdcm, decode_openjpeg

_PREFIX = "1.2.840.10008.1.2."
NATIVE = {"", IMPLICIT, *(_PREFIX + last for last in ("1", "1.99", "2"))}
RLE = _PREFIX + "5"
JPEG = {_PREFIX + "4." + last for last in ("50", "51", "57", "70")}
JPEG_LS = {_PREFIX + "4." + last for last in ("80", "81")}
JPEG_2000 = {_PREFIX + "4." + last for last in ("90", "91", "201", "202", "203")}  # the last three: high-throughput
_SLACK = 1 << 20  # bytes that compressed data may take beyond twice the pixels
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # among the markers C0 to CF, those that are no start of frame
_SOF_LS, _SOS, _SEQUENTIAL = 0xF7, 0xDA, (0xC0, 0xC1)


@dataclass(frozen=True)
class Layout:
    """How stored values lie in the pixel data: PS3.3 C.7.6.3.1."""

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    planar: bool
    photometric: str

    @property
    def count(self) -> int:
        return self.rows * self.columns * self.samples

    @property
    def size(self) -> int:
        """Bytes of the pixels where they are not compressed."""
        return self.count * self.allocated // 8

    def shaped(self, values: np.ndarray, planar: bool = False) -> np.ndarray:
        """Values in the order of the pixel data as `(H, W)`, or `(H, W, 3)`."""
        if self.samples == 1:
            return values.reshape(self.rows, self.columns)
        if planar:
            return np.moveaxis(values.reshape(self.samples, self.rows, self.columns), 0, 2)
        return values.reshape(self.rows, self.columns, self.samples)

    def codes(self, values: np.ndarray, low: int) -> np.ndarray:
        """The stored bits of each value, of which the lowest is bit `low`, as uint8 or uint16."""
        bits = values.view(f"u{values.dtype.itemsize}")
        if low or self.stored < 8 * bits.dtype.itemsize:
            bits = (bits >> low) & ((1 << self.stored) - 1)
        return bits.astype(np.uint8 if self.stored <= 8 else np.uint16, copy=False)


def read(element: PixelElement, layout: Layout) -> np.ndarray:
    """The stored values of an image's only frame, `(H, W)` or `(H, W, 3)`; uint8, or uint16 where over 8 bits are stored.

    Raises:
        BadImage: the pixel data are truncated, damaged, or do not fit the header; or their transfer syntax is not read.
        ZooError: a library that it takes is not installed.
    """
    if element.syntax in NATIVE:
        return _native(element, layout)
    if element.syntax not in {RLE, *JPEG, *JPEG_LS, *JPEG_2000}:
        raise BadImage(f"its transfer syntax is not read: {syntax_name(element.syntax)}")
    frame = _frame(element, layout)
    if element.syntax == RLE:
        return layout.codes(_run_lengths(frame, layout), layout.high + 1 - layout.stored)
    if element.syntax in JPEG_2000:
        return layout.codes(_jpeg_2000(frame, layout), 0)
    return layout.codes(_jpeg(frame, element.syntax, layout), 0)


def is_ybr(element: PixelElement, layout: Layout) -> bool:
    """Whether the channels of a colour picture are luma and chroma, after `read`."""
    return layout.photometric.startswith("YBR_FULL") and element.syntax not in JPEG


def _native(element: PixelElement, layout: Layout) -> np.ndarray:
    if element.length is None:
        raise BadImage("its pixel data are in fragments although they are not compressed")
    if layout.photometric not in ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL"):
        raise BadImage(f"its colours are subsampled: (0028,0004) PhotometricInterpretation is {layout.photometric}")
    if element.length >= 2 * layout.size + 2:
        raise BadImage("its pixel data are longer than rows and columns say (7FE0,0010)")
    content = element.stream.read(layout.size)
    if len(content) < layout.size or element.length < layout.size:
        raise BadImage("truncated")
    order = "<" if element.little_endian else ">"
    if layout.allocated == 8 and element.words and not element.little_endian:  # bytes lie in words, each the other way
        content = (
            np.frombuffer(content[: len(content) // 2 * 2], "<u2").byteswap().tobytes()
            + content[len(content) // 2 * 2 :]
        )
    values = np.frombuffer(content, f"{order}u{layout.allocated // 8}")
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return layout.shaped(layout.codes(native, layout.high + 1 - layout.stored), layout.planar)


def _frame(element: PixelElement, layout: Layout) -> bytes:
    """The compressed data of the only frame, which may lie in several fragments."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    limit = 2 * layout.size + _SLACK
    if element.length is not None and element.syntax != "":
        raise BadImage("its pixel data are not in fragments although they are compressed")
    content = io.BytesIO(element.stream.read(limit + 1))
    if len(content.getbuffer()) > limit:
        raise BadImage("its compressed pixel data are longer than its pixels would be")
    try:
        offsets = parse_basic_offsets(content)
        frame = b"".join(generate_fragments(content))
    except (ValueError, struct.error):
        raise BadImage("the fragments of its pixel data are damaged") from None
    if len(offsets) > 1:
        raise BadImage(f"has {len(offsets)} frames: a single image is needed")
    if not frame:
        raise BadImage("truncated")
    return frame


def _run_lengths(frame: bytes, layout: Layout) -> np.ndarray:
    """RLE (PS3.5 annex G): a segment for each byte of a value, the highest first, packed as by PackBits."""
    wanted, width = layout.rows * layout.columns, layout.allocated // 8
    count, *offsets = struct.unpack_from("<16I", frame) if len(frame) >= 64 else (0, 0)
    if count != width * layout.samples or offsets[0] != 64:
        raise BadImage("its RLE data do not fit its header")
    ends = [*offsets[1:count], len(frame)]
    planes = np.empty((layout.samples, wanted, width), np.uint8)
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        try:
            plane = Image.frombytes("L", (wanted, 1), frame[start:end], "packbits", "L")
        except ValueError:
            raise BadImage("truncated") from None
        sample, byte = divmod(number, width)
        planes[sample, :, width - 1 - byte] = np.asarray(plane).reshape(-1)
    return layout.shaped(planes.view(f"<u{width}").reshape(-1), planar=True)


def _jpeg(frame: bytes, syntax: str, layout: Layout) -> np.ndarray:
    kind, precision, rows, columns, components = _start_of_frame(frame)
    _compare(layout, rows, columns, components, precision)
    if b"\xff\xd9" not in frame[-16:]:  # the end of the image; few decoders say that it is missing
        raise BadImage("truncated")
    if kind in _SEQUENTIAL and precision == 8 and syntax not in JPEG_LS:
        try:
            with Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
                return np.array(image.convert("L" if components == 1 else "RGB"))
        except (OSError, SyntaxError, ValueError):
            raise BadImage("its compressed pixel data are damaged") from None
    width = 1 if precision <= 8 else 2
    shape = {"rows": rows, "columns": columns, "samples": components}
    content = decode(decode_gdcm, frame, layout.count * width, syntax=syntax, bits=precision, **shape)
    return layout.shaped(np.frombuffer(content, f"<u{width}"))


def _start_of_frame(frame: bytes) -> tuple[int, int, int, int, int]:
    """The marker that starts a JPEG or JPEG-LS frame with its precision, rows, columns and components."""
    at = 2
    while frame.startswith(b"\xff\xd8") and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_SIZE) or marker == _SOF_LS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            return marker, precision, rows, columns, components
        if marker == _SOS:
            break
        at += 2 + length
    raise BadImage("its JPEG data are damaged: they do not begin as such")


def _jpeg_2000(frame: bytes, layout: Layout) -> np.ndarray:
    start = frame.find(b"\xff\x4f\xff\x51")  # a codestream, bare or in a file of its own
    if start < 0 or len(frame) < start + 45:
        raise BadImage("its JPEG 2000 data are damaged: they do not begin as such")
    right, bottom, left, top = struct.unpack_from(">IIII", frame, start + 8)
    components, precision = struct.unpack_from(">HB", frame, start + 40)
    bits = (precision & 0x7F) + 1  # the highest bit says that values are signed
    _compare(layout, bottom - top, right - left, components, bits)
    if b"\xff\xd9" not in frame[-16:]:
        raise BadImage("truncated")
    width = 1 if bits <= 8 else 2
    content = decode(decode_openjpeg, frame[start:], layout.count * width)
    return layout.shaped(np.frombuffer(content, f"<u{width}"))


def _compare(layout: Layout, rows: int, columns: int, components: int, precision: int) -> None:
    """Refuse compressed data that are of another size than the header says, before memory is taken for them."""
    if (rows, columns) != (layout.rows, layout.columns):
        raise BadImage(
            f"its compressed data are {columns}×{rows} pixels, its header says {layout.columns}×{layout.rows}"
        )
    if components != layout.samples:
        raise BadImage(f"its compressed data have {components} value(s) per pixel, its header says {layout.samples}")
    if not 2 <= precision <= 16:
        raise BadImage(f"its compressed data have {precision} bits per value: 2 to 16 can be read")
