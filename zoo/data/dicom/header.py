"""The header of a DICOM file. Only the attributes that an image needs are read; the others, which name the patient, are not."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.core.records import BadImage
from zoo.data.formats import MAX_PIXELS

if TYPE_CHECKING:  # importing pydicom imports GDCM, which changes the environment: only when a file is met
    from pydicom.dataset import Dataset

MAX_VALUE = 1 << 20  # bytes of one attribute; the longest of an image, a look-up table, has 128 KB
MAX_READS = 100_000  # a header has a few hundred attributes
_INFLATED = 4 * MAX_PIXELS

KEYWORDS = (
    *("Modality", "PresentationIntentType", "BodyPartExamined", "AnatomicRegionSequence"),
    *("ViewPosition", "ViewCodeSequence", "PatientPosition"),
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction", "PresentationLUTShape"),
)
IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (f"1.2.840.10008.1.2{end}" for end in ("", ".1", ".1.99", ".2"))
_META_GROUP, _PIXEL_GROUP, _PIXELS = 0x0002, 0x7FE0, 0x7FE00010
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel data lie: `length` is None for encapsulated data, which are in fragments."""

    stream: BinaryIO
    start: int
    length: int | None
    vr: str

    def read(self, limit: int) -> bytes:
        """At most so many bytes of the value."""
        self.stream.seek(self.start)
        return self.stream.read(limit)


@dataclass(frozen=True)
class Header:
    """Attributes of an image by keyword, or of an item of a sequence. Absent and malformed values are empty."""

    dataset: Dataset
    syntax: str = ""
    pixels: PixelElement | None = None

    def values(self, keyword: str) -> list[Any]:
        """All values, converted by pydicom."""
        from pydicom.multival import MultiValue

        try:
            value = self.dataset.get(keyword)
        except Exception:  # malformed; the message could quote it
            return []
        if isinstance(value, (list, MultiValue)):
            return list(value)
        return [] if value is None or value == "" else [value]

    def text(self, keyword: str) -> str:
        """The first value as text in upper case."""
        return next((str(value).strip(" \0").upper() for value in self.values(keyword)), "")

    def numbers(self, keyword: str) -> list[float]:
        """The values up to the first that is not a finite number."""
        found: list[float] = []
        for value in self.values(keyword):
            try:
                number = float(value)
            except (TypeError, ValueError):
                break
            if not math.isfinite(number):
                break
            found.append(number)
        return found

    def integer(self, keyword: str) -> int | None:
        """The first value as a whole number."""
        return next((int(value) for value in self.numbers(keyword)), None)

    def items(self, keyword: str) -> Iterator[Header]:
        """The items of a sequence."""
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        value = self.dataset.get(keyword)
        if isinstance(value, Sequence):
            yield from (Header(item) for item in value if isinstance(item, Dataset))


class _Reader:
    """A file as pydicom reads its header. The reads are counted: millions of tiny attributes would take minutes."""

    def __init__(self, stream: BinaryIO) -> None:
        from pydicom.datadict import tag_for_keyword

        self.stream, self.seek, self.tell, self._left = stream, stream.seek, stream.tell, MAX_READS
        self.tags = {tag_for_keyword(keyword) for keyword in KEYWORDS}
        self.pixels: PixelElement | None = None

    def read(self, count: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise BadImage("its header has too many attributes")
        return self.stream.read(count)

    def after_header(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether an attribute that is about to be read is no longer part of the header."""
        if tag in self.tags and MAX_VALUE < length < _UNDEFINED:
            raise BadImage(f"its attribute ({tag >> 16:04X},{tag & 0xFFFF:04X}) is absurdly long")
        if tag == _PIXELS:
            self.pixels = PixelElement(self.stream, self.tell(), None if length == _UNDEFINED else length, vr or "OW")
        return tag >> 16 >= _PIXEL_GROUP


def read_header(stream: BinaryIO) -> Header:
    """Read the attributes of an image, up to its pixel data.

    Raises:
        BadImage: the transfer syntax is not known, or an attribute is absurdly long.
    """
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID_dictionary

    stream.seek(128)
    if stream.read(4) != b"DICM":
        stream.seek(0)
    meta = read_dataset(_Reader(stream), False, True, stop_when=lambda tag, vr, length: tag >> 16 != _META_GROUP)
    syntax = Header(meta).text("TransferSyntaxUID") or _guess_syntax(stream)
    if UID_dictionary.get(syntax, ("", ""))[1] != "Transfer Syntax":
        raise BadImage("its transfer syntax (0002,0010) is none that DICOM defines")
    reader = _Reader(_inflated(stream) if syntax == DEFLATED else stream)
    dataset = read_dataset(
        reader, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=reader.after_header, specific_tags=list(reader.tags)
    )
    return Header(dataset, syntax, reader.pixels)


def _guess_syntax(stream: BinaryIO) -> str:
    """The transfer syntax of a file that does not name it, by its first attribute."""
    start, head = stream.tell(), stream.read(6)
    stream.seek(start)
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return IMPLICIT
    return BIG_ENDIAN if head[:1] == b"\0" else EXPLICIT


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
