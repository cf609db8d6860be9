"""The header of a DICOM file. Only the attributes that an image needs are read; the others, which name the patient, are not."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.core import limits
from zoo.core.records import BadImage
from zoo.data.formats import HEAD, check, dicom_start

if TYPE_CHECKING:  # importing pydicom imports GDCM, which changes the environment: only when a file is met
    from pydicom.dataset import Dataset

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
_ITEM, _DELIMITER = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_BLOCK = 1 << 16


@dataclass(frozen=True)
class PixelElement:
    """Where the pixel data lie: `length` is None for encapsulated data, which are in fragments."""

    stream: BinaryIO | Inflated
    start: int
    length: int | None
    vr: str

    def read(self, limit: int) -> bytes:
        """At most so many bytes of the value.

        Raises:
            BadImage: the file is deflated, and damaged or truncated from here on.
        """
        if isinstance(self.stream, Inflated):
            return self.stream.read_last(self.start, limit)
        self.stream.seek(self.start)
        return self.stream.read(limit)


def _check_items(data: bytes, order: str, keyword: str) -> None:
    """Refuse a sequence whose items do not fill it, or are more than pydicom reads in a moment."""
    at, count, most = 0, 0, limits.value("dicom_items")
    while at + 8 <= len(data):
        group, number, length = struct.unpack_from(f"{order}HHI", data, at)
        if (group, number) == _DELIMITER or ((group, number) == _ITEM and length == _UNDEFINED):
            return
        if (group, number) != _ITEM or length > len(data) - at - 8:
            raise BadImage(f"its {keyword} is damaged")
        at, count = at + 8 + length, count + 1
        if count > most:
            check("dicom_items", count, f"its {keyword} has too many items")


class Inflated:
    """A deflated stream as one of bytes, inflated as far as it is read: what a header claims is checked before the rest."""

    def __init__(self, stream: BinaryIO) -> None:
        self._source, self._inflate = stream, zlib.decompressobj(-zlib.MAX_WBITS)
        self._data, self._at = bytearray(), 0

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence else 0)
        return self._at

    def read(self, count: int) -> bytes:
        """So many bytes, or all to the end; raises BadImage beyond the limit `dicom_header_bytes`."""
        end = self._at + count
        check("dicom_header_bytes", min(end, self._grow(end)) if end > len(self._data) else 0, "its deflated header")
        found = bytes(self._data[self._at : end])
        self._at += len(found)
        return found

    def read_last(self, start: int, count: int) -> bytes:
        """So many bytes from `start`; the rest is inflated to its end, and not kept."""
        self._grow(start + count, start + count)
        found = bytes(self._data[start : start + count])
        self._data.clear()
        left = count + limits.value("dicom_header_bytes")
        while (block := self._next(_BLOCK)) and left > 0:
            left -= len(block)
        if left <= 0:
            raise BadImage("decompression bomb: its deflated data are larger than any image")
        return found

    def _grow(self, end: int, most: int | None = None) -> int:
        """Inflate as far as `end`, or to just beyond what is allowed; gives how much there is."""
        most = limits.value("dicom_header_bytes") if most is None else most
        while len(self._data) < min(end, most + 1) and (block := self._next(_BLOCK)):
            self._data += block
        return len(self._data)

    def _next(self, most: int) -> bytes:
        """Some more bytes, none at the end of the stream; raises BadImage where it ends before, or is damaged."""
        while not self._inflate.eof:
            data = self._inflate.unconsumed_tail or self._source.read(_BLOCK)
            try:
                block = self._inflate.decompress(data, most)
            except zlib.error:
                raise BadImage("its deflated data are damaged") from None
            if block:
                return block
            if not data:
                raise BadImage("truncated")
        return b""


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

    def needed(self, keyword: str) -> str:
        """As `text`, of an attribute that decides whether the image may be taken.

        Raises:
            BadImage: it is there, and cannot be read as text.
        """
        try:
            value = self.dataset.get(keyword)
        except Exception:  # the message could quote it
            value = b""
        if isinstance(value, (bytes, float, int)):
            raise BadImage(f"its {keyword} cannot be read")
        return self.text(keyword)

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
        """The items of a sequence; raises BadImage where it is none."""
        from pydicom.dataelem import RawDataElement
        from pydicom.dataset import Dataset
        from pydicom.sequence import Sequence

        raw = self.dataset.get_item(keyword)
        if isinstance(raw, RawDataElement) and raw.VR in (None, "SQ") and raw.value:
            _check_items(raw.value, "<" if raw.is_little_endian else ">", keyword)
        value = self.dataset.get(keyword)
        if value and not isinstance(value, Sequence):
            raise BadImage(f"its {keyword} is no sequence")
        if value:
            yield from (Header(item) for item in value if isinstance(item, Dataset))


class _Reader:
    """A file as pydicom reads its header. The reads are counted: millions of tiny attributes would take minutes."""

    def __init__(self, stream: BinaryIO | Inflated) -> None:
        from pydicom.datadict import tag_for_keyword

        self.stream, self.seek, self.tell, self._reads = stream, stream.seek, stream.tell, 0
        self._most, self._longest = limits.value("dicom_reads"), limits.value("dicom_value_bytes")
        self.tags = {tag_for_keyword(keyword) for keyword in KEYWORDS}
        self.pixels: PixelElement | None = None

    def read(self, count: int = -1) -> bytes:
        self._reads += 1
        if self._reads > self._most:
            check("dicom_reads", self._reads, "its header has too many attributes")
        return self.stream.read(count)

    def after_header(self, tag: int, vr: str | None, length: int) -> bool:
        """Whether an attribute that is about to be read is no longer part of the header."""
        if tag in self.tags and self._longest < length < _UNDEFINED:
            check("dicom_value_bytes", length, f"its attribute ({tag >> 16:04X},{tag & 0xFFFF:04X}) is absurdly long")
        if tag == _PIXELS:
            self.pixels = PixelElement(self.stream, self.tell(), None if length == _UNDEFINED else length, vr or "OW")
        return tag >> 16 >= _PIXEL_GROUP


def read_header(stream: BinaryIO) -> Header:
    """Read the attributes of an image, up to its pixel data.

    Raises:
        BadImage: the transfer syntax is not known, or it is over a limit.
    """
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID_dictionary

    stream.seek(0)
    stream.seek(dicom_start(stream.read(HEAD)) or 0)
    meta = read_dataset(_Reader(stream), False, True, stop_when=_after_meta)
    syntax = Header(meta).text("TransferSyntaxUID") or _guess_syntax(stream)
    if UID_dictionary.get(syntax, ("", ""))[1] != "Transfer Syntax":
        raise BadImage("its transfer syntax (0002,0010) is none that DICOM defines")
    reader = _Reader(Inflated(stream) if syntax == DEFLATED else stream)
    dataset = read_dataset(
        reader, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=reader.after_header, specific_tags=list(reader.tags)
    )
    return Header(dataset, syntax, reader.pixels)


def _after_meta(tag: int, vr: str | None, length: int) -> bool:
    if tag >> 16 == _META_GROUP and length < _UNDEFINED:
        check("dicom_value_bytes", length, f"its attribute (0002,{tag & 0xFFFF:04X}) is absurdly long")
    return tag >> 16 != _META_GROUP


def _guess_syntax(stream: BinaryIO) -> str:
    """The transfer syntax of a file that does not name it, by its first attribute."""
    start, head = stream.tell(), stream.read(6)
    stream.seek(start)
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return IMPLICIT
    return BIG_ENDIAN if head[:1] == b"\0" else EXPLICIT
