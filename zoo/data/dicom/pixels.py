"""Pixel data of every transfer syntax to stored values: unsigned numbers of `BitsStored` bits."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from zoo.core.records import BadImage
from zoo.data import jpeg2000
from zoo.data.claims import check_claims
from zoo.data.dicom.header import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, Header, PixelElement
from zoo.data.dicom.subprocess_decoder import decode, decode_gdcm, decode_openjpeg
from zoo.data.formats import J2K_START, Kind, Parts

_JPEG = "1.2.840.10008.1.2.4."
NATIVE = {IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN}
RLE = "1.2.840.10008.1.2.5"
JPEG = {_JPEG + last for last in ("50", "51", "57", "70")}
JPEG_LS = {_JPEG + last for last in ("80", "81")}
JPEG_2000 = {_JPEG + last for last in ("90", "91", "201", "202", "203")}  # the last three: high-throughput
_SLACK = 1 << 20  # bytes that compressed data may take beyond twice the pixels
_NO_SIZE = (0xC4, 0xC8, 0xCC)  # among the markers C0 to CF, those that are no start of frame
_SOF_LS, _SOS, _SEQUENTIAL = 0xF7, 0xDA, (0xC0, 0xC1)
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclass(frozen=True)
class Layout:
    """How stored values lie in the pixel data (PS3.3 C.7.6.3.1)."""

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
    def size(self) -> int:
        """Bytes of the pixels when they are not compressed."""
        return self.rows * self.columns * self.samples * self.allocated // 8


def read(header: Header, element: PixelElement, layout: Layout) -> np.ndarray:
    """The stored values of the only frame, `(H, W)` or `(H, W, 3)`; uint8, or uint16 if more than 8 bits are stored.

    Raises:
        BadImage: the pixel data are truncated, damaged, of several frames, or do not match the header; or their transfer
            syntax is not supported.
        ZooError: a library that decodes them is not installed.
    """
    from pydicom.uid import UID

    syntax = header.syntax
    if syntax in NATIVE:
        content = _native(element, layout)
        return _codes(_unpacked(content, layout, BIG_ENDIAN if syntax == BIG_ENDIAN else EXPLICIT, element.vr), layout)
    if syntax not in {RLE, *JPEG, *JPEG_LS, *JPEG_2000}:
        raise BadImage(f"its transfer syntax is not read: {UID(syntax).name}")
    frame = _frame(element, layout)
    if syntax == RLE:
        return _codes(_unpacked(_run_lengths(frame, layout), replace(layout, planar=True)), layout)
    content, bits = _jpeg_2000(frame, layout) if syntax in JPEG_2000 else _jpeg(frame, syntax, layout)
    decoded = replace(layout, allocated=8 if bits <= 8 else 16, high=layout.stored - 1, planar=False)
    return _codes(_unpacked(content, decoded), decoded)


def _unpacked(content: bytes, layout: Layout, syntax: str = EXPLICIT, vr: str = "OW") -> np.ndarray:
    """Uncompressed pixel data as unsigned containers of `allocated` bits, `(H, W)` or `(H, W, 3)`."""
    from pydicom.pixels import get_decoder

    array, _ = get_decoder(syntax).as_array(
        content,
        raw=True,
        view_only=True,
        rows=layout.rows,
        columns=layout.columns,
        number_of_frames=1,
        samples_per_pixel=layout.samples,
        planar_configuration=int(layout.planar),
        photometric_interpretation="MONOCHROME2" if layout.samples == 1 else "RGB",
        bits_allocated=layout.allocated,
        bits_stored=layout.allocated,
        pixel_representation=0,
        pixel_keyword="PixelData",
        pixel_vr=vr,
    )
    return array


def _codes(values: np.ndarray, layout: Layout) -> np.ndarray:
    """The stored bits of each container, the highest being bit `high`."""
    if layout.stored < layout.allocated:
        values = (values >> (layout.high + 1 - layout.stored)) & ((1 << layout.stored) - 1)
    return values.astype(np.uint8 if layout.stored <= 8 else np.uint16, copy=False)


def _native(element: PixelElement, layout: Layout) -> bytes:
    """The bytes of pixel data that are not compressed."""
    if element.length is None:
        raise BadImage("its pixel data are in fragments although they are not compressed")
    if layout.photometric not in ("MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL"):
        raise BadImage(f"its colours are subsampled: (0028,0004) PhotometricInterpretation is {layout.photometric}")
    if element.length >= 2 * layout.size + 2:
        raise BadImage("its pixel data are longer than rows and columns say (7FE0,0010)")
    padded = layout.size + layout.size % 2
    content = element.read(padded)
    if min(element.length, len(content)) < layout.size:
        raise BadImage("truncated")
    return content.ljust(padded, b"\0")  # the last one of bytes in big-endian words lies in the padding


def _frame(element: PixelElement, layout: Layout) -> bytes:
    """The compressed data of the only frame, joined from its fragments (PS3.5 A.4)."""
    limit = 2 * layout.size + _SLACK
    if element.length is not None:
        raise BadImage("its pixel data are not in fragments although they are compressed")
    content = element.read(limit + 1)
    if len(content) > limit:
        raise BadImage("its compressed pixel data are longer than its pixels would be")
    fragments: list[bytes] = []
    at, parts = 0, Parts("fragments")
    while at + 8 <= len(content):
        group, number, length = struct.unpack_from("<HHI", content, at)
        if (group, number) == _DELIMITER:
            break
        if (group, number) != _ITEM or length > len(content) - at - 8:
            raise BadImage("the fragments of its pixel data are damaged")
        fragments.append(content[at + 8 : at + 8 + length])
        if len(fragments) == 1 and length > 4:  # the first holds where each frame begins
            raise BadImage(f"has {length // 4} frames: a single image is needed")
        parts.add()
        at += 8 + length
    frame = b"".join(fragments[1:])
    if not frame:
        raise BadImage("truncated")
    return frame


def _run_lengths(frame: bytes, layout: Layout) -> bytes:
    """RLE (PS3.5 annex G): a segment for each byte of a value, the highest first, packed as by PackBits.

    By Pillow, which stops at the pixels wanted; pydicom's decoder is in Python, and would fill the memory on a hostile file.
    """
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
    return planes.tobytes()


def _jpeg(frame: bytes, syntax: str, layout: Layout) -> tuple[bytes, int]:
    """Decoded JPEG or JPEG-LS, and the bits of each value."""
    kind, precision, rows, columns, components = _start_of_frame(frame)
    _check_frame(frame, layout, rows, columns, components, precision)
    check_claims(Kind.JPEG, io.BytesIO(frame), len(frame))
    if kind in _SEQUENTIAL and precision == 8 and syntax not in JPEG_LS:
        try:
            with Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
                if image.size != (columns, rows):
                    raise BadImage("its compressed pixel data are damaged")
                return image.convert("L" if components == 1 else "RGB").tobytes(), 8
        except (OSError, SyntaxError, ValueError):
            raise BadImage("its compressed pixel data are damaged") from None
    size = rows * columns * components * (1 if precision <= 8 else 2)
    given: dict[str, int] = {"rows": rows, "columns": columns, "samples": components, "bits": precision}
    return decode(decode_gdcm, frame, size, syntax=syntax, **given), precision


def _start_of_frame(frame: bytes) -> tuple[int, int, int, int, int]:
    """The marker that starts a JPEG or JPEG-LS frame, with its precision, rows, columns and components."""
    at, found = 2, None
    while frame.startswith(b"\xff\xd8") and at + 10 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NO_SIZE) or marker == _SOF_LS:
            if found:
                break  # two sizes, of which each decoder would take another
            found = marker, *struct.unpack_from(">BHHB", frame, at + 4)
        elif marker == _SOS and found:
            return found
        at += 2 + length
    raise BadImage("its JPEG data are damaged: they do not begin as such")


def _jpeg_2000(frame: bytes, layout: Layout) -> tuple[bytes, int]:
    """Decoded JPEG 2000, and the bits of each value."""
    start = max(0, frame.find(J2K_START))  # bare or in a file of its own
    found = jpeg2000.read(frame[start:])
    bits = found.bits
    _check_frame(frame, layout, found.rows, found.columns, found.components, bits)
    size = layout.rows * layout.columns * layout.samples * (1 if bits <= 8 else 2)
    return decode(decode_openjpeg, frame[start:], size), bits


def _check_frame(frame: bytes, layout: Layout, rows: int, columns: int, components: int, precision: int) -> None:
    """Refuse compressed data of another size than the header says, before memory is taken for them, and truncated ones."""
    if (rows, columns) != (layout.rows, layout.columns):
        raise BadImage(
            f"its compressed data are {columns}×{rows} pixels, its header says {layout.columns}×{layout.rows}"
        )
    if components != layout.samples:
        raise BadImage(f"its compressed data have {components} value(s) per pixel, its header says {layout.samples}")
    if not 2 <= precision <= 16:
        raise BadImage(f"its compressed data have {precision} bits per value: 2 to 16 can be read")
    if b"\xff\xd9" not in frame[-16:]:  # the end of the image; few decoders say that it is missing
        raise BadImage("truncated")
