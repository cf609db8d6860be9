"""The header of a DICOM file, as far as an image needs it: everything else, identifying values first of all, is skipped unread.

Values are taken from their raw bytes: pydicom's conversion of a value warns of it with the value in the text.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.core.records import BadImage
from zoo.data.formats import MAX_PIXELS

if TYPE_CHECKING:  # importing pydicom imports GDCM, which changes the environment: only when a file is met
    from pydicom.dataelem import RawDataElement
    from pydicom.dataset import Dataset

MAX_VALUE = 1 << 20  # bytes of one attribute; the longest of an image, a look-up table, has 128 KB
MAX_READS = 100_000  # a header has a few hundred attributes
_INFLATED = 4 * MAX_PIXELS

TRANSFER_SYNTAX = 0x00020010
MODALITY, SOP_CLASS, PRESENTATION_INTENT = 0x00080060, 0x00080016, 0x00080068
BODY_PART, REGIONS = 0x00180015, 0x00082218
VIEW, VIEW_CODES, PATIENT_POSITION = 0x00185101, 0x00540220, 0x00185100
CODE, SCHEME = 0x00080100, 0x00080102
SAMPLES, PHOTOMETRIC, PLANAR, FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS = 0x00280010, 0x00280011
ALLOCATED, STORED, HIGH_BIT, REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
PADDING, PADDING_LIMIT = 0x00280120, 0x00280121
CENTRE, WIDTH, INTERCEPT, SLOPE, FUNCTION = 0x00281050, 0x00281051, 0x00281052, 0x00281053, 0x00281056
MODALITY_LUT, VOI_LUT, DESCRIPTOR, LUT_DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006
SHAPE = 0x20500020
PIXELS = 0x7FE00010
_TAGS = [
    *(MODALITY, SOP_CLASS, PRESENTATION_INTENT, BODY_PART, REGIONS, VIEW, VIEW_CODES, PATIENT_POSITION),
    *(SAMPLES, PHOTOMETRIC, PLANAR, FRAMES, ROWS, COLUMNS, ALLOCATED, STORED, HIGH_BIT, REPRESENTATION),
    *(PADDING, PADDING_LIMIT, CENTRE, WIDTH, INTERCEPT, SLOPE, FUNCTION, MODALITY_LUT, VOI_LUT, SHAPE),
]
_TEXT = {"IS", "DS", "CS", "LO", "SH", "UI", "LT", "ST", "UT"}
_UNDEFINED = 0xFFFFFFFF
IMPLICIT, DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
_LONG = {b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"UN", b"SQ", b"UC", b"UR", b"UT"}


class Attributes:
    """Attributes of a data set by tag, from their raw bytes; what is absent or makes no sense is empty."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def _raw(self, tag: int) -> RawDataElement | None:
        from pydicom.dataelem import RawDataElement

        element = self._dataset.get_item(tag) if tag in self._dataset else None
        return element if isinstance(element, RawDataElement) else None

    def content(self, tag: int) -> bytes:
        """The bytes of a value."""
        element = self._raw(tag)
        value = None if element is None else element.value
        return bytes(value) if isinstance(value, (bytes, bytearray)) else b""

    def texts(self, tag: int) -> list[str]:
        """The values of a text, without padding; none where it is empty."""
        content = self.content(tag).decode("latin-1").strip(" \0")
        return [each.strip(" \0") for each in content.split("\\")] if content else []

    def text(self, tag: int) -> str:
        return next(iter(self.texts(tag)), "")

    def numbers(self, tag: int) -> list[float]:
        """The values of a decimal text, up to the first that is no finite number."""
        found: list[float] = []
        for each in self.texts(tag):
            try:
                value = float(each)
            except ValueError:
                break
            if not math.isfinite(value):
                break
            found.append(value)
        return found

    def integers(self, tag: int, signed: bool = False) -> list[int]:
        """The values of a binary integer."""
        element, content = self._raw(tag), self.content(tag)
        if element is None:
            return []
        if element.VR in _TEXT:
            return [int(value) for value in self.numbers(tag)]
        width = 4 if element.VR in ("UL", "SL") else 2
        order: Any = "little" if element.is_little_endian else "big"
        ends = range(width, len(content) + 1, width)
        return [int.from_bytes(content[end - width : end], order, signed=signed) for end in ends]

    def integer(self, tag: int, signed: bool = False) -> int | None:
        return next(iter(self.integers(tag, signed)), None)

    def count(self, tag: int) -> int | None:
        """A decimal text that is a whole number."""
        values = self.numbers(tag)
        return int(values[0]) if values else None

    def items(self, tag: int) -> list[Attributes]:
        """The items of a sequence."""
        from pydicom.dataset import Dataset

        if tag not in self._dataset:
            return []
        value = self._dataset[tag].value
        return [Attributes(each) for each in value or () if isinstance(each, Dataset)]

    def is_little_endian(self, tag: int) -> bool:
        element = self._raw(tag)
        return element is None or bool(element.is_little_endian)


@dataclass(frozen=True)
class PixelElement:
    """Where a file's pixel data begin: `stream` stands at the value, of `length` bytes or, if None, in fragments."""

    stream: BinaryIO
    length: int | None
    syntax: str
    little_endian: bool
    words: bool  # of value representation OW


class _Metered:
    """A stream that is read a bounded number of times: a header of millions of tiny attributes would take minutes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read, self.seek, self.tell, self._left = stream.read, stream.seek, stream.tell, MAX_READS

    def read(self, count: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise BadImage("its header has too many attributes")
        return self._read(count)


def read_header(stream: BinaryIO) -> tuple[Attributes, PixelElement | None]:
    """Read the attributes of an image before its pixel data; None where no pixel data follow.

    Raises:
        BadImage: the transfer syntax is not known, or an attribute is absurdly long.
    """
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID_dictionary

    stream.seek(128)
    if stream.read(4) != b"DICM":
        stream.seek(0)
    meta = read_dataset(_Metered(stream), False, True, stop_when=lambda tag, vr, length: _guard(tag, length) != 2)
    syntax = Attributes(meta).text(TRANSFER_SYNTAX)
    if not syntax:
        implicit, little = _guess(stream)
    elif UID_dictionary.get(syntax, ("", ""))[1] == "Transfer Syntax":
        implicit, little = syntax == IMPLICIT, syntax != BIG_ENDIAN
    else:
        raise BadImage("its transfer syntax (0002,0010) is none that DICOM defines")
    if syntax == DEFLATED:
        stream = _inflated(stream)
    dataset = read_dataset(
        _Metered(stream),
        implicit,
        little,
        stop_when=lambda tag, vr, length: _guard(tag, length) >= 0x7FE0,
        specific_tags=_TAGS,
    )
    implicit, little = (bool(value) for value in dataset.original_encoding)
    return Attributes(dataset), _pixel_element(stream, syntax, implicit, little)


def syntax_name(syntax: str) -> str:
    """What a transfer syntax is called."""
    from pydicom.uid import UID_dictionary

    return str(UID_dictionary[syntax][0])


def _guard(tag: int, length: int) -> int:
    """The group of an attribute that is about to be read, if it may be."""
    if tag in _TAGS and MAX_VALUE < length < _UNDEFINED:
        raise BadImage(f"its attribute ({tag >> 16:04X},{tag & 0xFFFF:04X}) is absurdly long")
    return tag >> 16


def _guess(stream: BinaryIO) -> tuple[bool, bool]:
    """Implicit or not, and little-endian or not, by the first attribute: the file does not say."""
    start, head = stream.tell(), stream.read(6)
    stream.seek(start)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return not explicit, not (explicit and head[:1] == b"\0")


def _inflated(stream: BinaryIO) -> BinaryIO:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = inflate.decompress(stream.read(), _INFLATED)
    except zlib.error:
        raise BadImage("its deflated data are damaged") from None
    if inflate.unconsumed_tail:
        raise BadImage("decompression bomb: its deflated data are larger than any image")
    if not inflate.eof:
        raise BadImage("truncated")
    return io.BytesIO(content)


def _pixel_element(stream: BinaryIO, syntax: str, implicit: bool, little: bool) -> PixelElement | None:
    order: Any = "little" if little else "big"
    head = stream.read(8)
    if len(head) < 8:
        return None
    tag = int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)
    if tag != PIXELS:
        return None
    vr = b"OW" if implicit else head[4:6]
    size = stream.read(4) if vr in _LONG and not implicit else head[4 if implicit else 6 :]
    if len(size) < 2:
        raise BadImage("truncated")
    length = int.from_bytes(size, order)
    return PixelElement(stream, None if length == _UNDEFINED else length, syntax, little, vr == b"OW")
