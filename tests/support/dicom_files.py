"""DICOM images made for tests: any layout of values, any attributes, every transfer syntax; and broken ones."""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jpeg_encoder import jpeg_12_bit, jpeg_lossless
from PIL import Image
from pydicom import uid
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

ROWS, COLUMNS = 64, 56
_y, _x = np.indices((ROWS, COLUMNS))


def image(bits: int = 12) -> np.ndarray:
    """A smooth image with some noise that uses most of the values of so many bits."""
    top = (1 << bits) - 1
    wave = 0.5 + 0.3 * np.sin(_x / 9) + 0.15 * np.cos(_y / 11)
    noise = np.random.default_rng(3).normal(0, top / 300, wave.shape)
    return np.clip(wave * top + noise, 0, top).astype(np.uint8 if bits <= 8 else np.uint16)


def dataset(values: np.ndarray, bits: int | None = None, **attributes: Any) -> Dataset:
    """A chest X-ray of these values, explicit little endian; attributes by keyword, None to leave one out."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    made.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.10.999.1"
    allocated = 8 * values.dtype.itemsize
    stored = bits or allocated
    given = {
        "SOPClassUID": uid.DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": "1.2.826.0.1.3680043.10.999.1",
        "Modality": "DX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "SamplesPerPixel": 1 if values.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if values.ndim == 2 else "RGB",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "BitsAllocated": allocated,
        "BitsStored": stored,
        "HighBit": stored - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        **({} if values.ndim == 2 else {"PlanarConfiguration": 0}),
        **attributes,
    }
    for name, value in given.items():
        if value is not None:
            element = DataElement(tag_for_keyword(name), dictionary_VR(name), value, validation_mode=IGNORE)
            made.add(element)
    made.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    made["PixelData"].VR = "OB" if allocated == 8 else "OW"
    return made


def lut(data: np.ndarray, first: int, bits: int, signed: bool = False) -> Dataset:
    """An item of a look-up table sequence."""
    item = Dataset()
    item.add_new(0x00283002, "SS" if signed else "US", [len(data) % 65536, first, bits])
    item.add_new(0x00283006, "OW", data.astype("u1" if bits == 8 else "<u2").tobytes())
    return item


def write(made: Dataset, file: Path, syntax: str = uid.ExplicitVRLittleEndian) -> Path:
    """Write an image, uncompressed, in one of the native transfer syntaxes."""
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    if syntax == uid.ExplicitVRBigEndian and made.BitsAllocated > 8:
        made.PixelData = np.frombuffer(made.PixelData, f"<u{made.BitsAllocated // 8}").byteswap().tobytes()
    made.save_as(file, enforce_file_format=True)
    return file


def write_frame(made: Dataset, frame: bytes, file: Path, syntax: str, **encapsulation: Any) -> Path:
    """Write an image whose compressed frame was made elsewhere."""
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.PixelData = encapsulate([frame], **encapsulation)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.save_as(file, enforce_file_format=True)
    return file


def by_gdcm(made: Dataset, file: Path, name: str, quality: int | None = None) -> Path:
    """Compress an image by GDCM, which calls the transfer syntax `name`."""
    import gdcm

    plain = write(made, file.with_suffix(".plain"))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    codec = gdcm.JPEGCodec()
    if quality is not None:
        codec.SetLossless(False)
        codec.SetQuality(quality)
        change.SetUserCodec(codec)
    assert change.Change()
    writer.SetFileName(str(file))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    plain.unlink()
    return file


def jpeg_2000(values: np.ndarray, bits: int, ratio: float | None = None) -> bytes:
    from openjpeg.utils import encode_array

    return bytes(encode_array(values, bits_stored=bits, compression_ratios=[ratio] if ratio else None))


def jpeg(values: np.ndarray, quality: int = 95) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def run_lengths(values: np.ndarray) -> bytes:
    """An RLE frame of runs of one value and literals, each at most 128 long (PS3.5 annex G)."""
    planes = values.reshape(values.size, 1).view(np.uint8).reshape(values.size, -1)[:, ::-1].T
    segments = []
    for plane in planes:
        data, at = bytearray(), 0
        content = plane.tobytes()
        while at < len(content):
            run = 1
            while run < 128 and at + run < len(content) and content[at + run] == content[at]:
                run += 1
            data += bytes([257 - run, content[at]]) if run > 1 else bytes([0, content[at]])
            at += run
        segments.append(bytes(data) + b"\x80" * (len(data) % 2))
    starts = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return struct.pack("<16I", len(segments), *starts.tolist(), *[0] * (15 - len(segments))) + b"".join(segments)


def content(made: Dataset) -> bytes:
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def nested(depth: int) -> bytes:
    """An element that is a sequence within a sequence and so on, each of undefined length."""
    inner = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return inner * depth


def broken() -> Iterator[tuple[str, bytes, str]]:
    """Broken DICOM files: a name, the content, and a pattern of the reason that must be given."""
    values = image(12)
    whole = content(dataset(values, 12))
    any_reason = "."
    for i, at in enumerate(np.linspace(132, len(whole) - 2, 12).astype(int)):
        yield f"cut-{i}", whole[:at], "truncated|has no|none that is known|decoded"
    yield "only-preamble", bytes(128) + b"DICM", "no pixel data|decoded"
    yield "noise", bytes(128) + b"DICM" + np.random.default_rng(1).bytes(5000), any_reason
    yield "zeros", bytes(128) + b"DICM" + bytes(5000), any_reason
    yield "no-meta", bytes(128) + b"DICM" + nested(1), any_reason
    for name, changes, reason in [
        ("no-rows", {"Rows": None}, "no rows"),
        ("zero-columns", {"Columns": 0}, "no rows or no columns"),
        ("no-photometric", {"PhotometricInterpretation": None}, "PhotometricInterpretation is none that is known"),
        (
            "odd-photometric",
            {"PhotometricInterpretation": "DOE^JANE"},
            "PhotometricInterpretation is none that is known",
        ),
        ("palette", {"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ("no-bits", {"BitsAllocated": None, "BitsStored": None, "HighBit": None}, "2 to 16 bits"),
        ("one-bit", {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "2 to 16 bits"),
        ("many-bits", {"BitsStored": 17, "HighBit": 16}, "2 to 16 bits"),
        ("high-bit", {"HighBit": 16}, "2 to 16 bits"),
        ("low-high-bit", {"HighBit": 3}, "2 to 16 bits"),
        ("12-allocated", {"BitsAllocated": 12}, "2 to 16 bits"),
        ("taller", {"Rows": ROWS + 1}, "truncated"),
        ("lower", {"Rows": ROWS // 4}, "longer than rows and columns say"),
        ("bomb", {"Rows": 65535, "Columns": 65535}, "decompression bomb"),
        ("frames", {"NumberOfFrames": 7}, "has 7 frames"),
        ("three-samples", {"SamplesPerPixel": 3}, "with 3 value"),
        ("two-samples", {"SamplesPerPixel": 2}, "with 2 value"),
    ]:
        yield name, content(dataset(values, 12, **changes)), reason
    without = dataset(values, 12)
    del without.PixelData
    yield "no-pixels", content(without), "has no pixel data"
    without.FloatPixelData = values.astype("<f4").tobytes()
    yield "float-pixels", content(without), "has no pixel data"
    yield from _broken_syntaxes(values)
    yield from _broken_structure(whole)


def _broken_syntaxes(values: np.ndarray) -> Iterator[tuple[str, bytes, str]]:
    def framed(frame: bytes, syntax: str, **attributes: Any) -> bytes:
        made = dataset(values, 12, **attributes)
        stream = io.BytesIO()
        made.file_meta.TransferSyntaxUID = uid.UID(syntax)
        made.PixelData = encapsulate([frame]) if frame else b"\xfe\xff\x00\xe0" + bytes(4)  # or no fragment at all
        made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
        made.save_as(stream, enforce_file_format=True)
        return stream.getvalue()

    lossless, wavelet, runs = jpeg_lossless(values, 12), jpeg_2000(values, 12), run_lengths(values)
    plain = content(dataset(values, 12))
    yield "video", framed(lossless, uid.MPEG2MPML), "transfer syntax is not read: MPEG2"
    yield "strange-syntax", plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.DOE.JANE.2.1"), "none that DICOM defines"
    made = dataset(values, 12)
    made.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    deflated = content(made)
    yield "deflated-half", deflated[: len(deflated) // 2], "truncated"
    yield "deflated-noise", deflated[:400] + b"\xff" * 900, "damaged|truncated"
    for name, frame, syntax in [
        ("lossless", lossless, uid.JPEGLosslessSV1),
        ("12-bit", jpeg_12_bit(values), uid.JPEGExtended12Bit),
        ("wavelet", wavelet, uid.JPEG2000Lossless),
        ("runs", runs, uid.RLELossless),
    ]:
        yield f"{name}-half", framed(frame[: len(frame) // 4 * 2], syntax), "truncated|damaged"
        yield f"{name}-head", framed(frame[:20], syntax), "truncated|damaged|do not fit"
        yield f"{name}-noise", framed(np.random.default_rng(2).bytes(900), syntax), "damaged|do not fit"
        yield f"{name}-of-another-size", framed(frame, syntax, Rows=ROWS * 2), "its header says|truncated"
        yield (
            f"{name}-of-three",
            framed(frame, syntax, SamplesPerPixel=3, PhotometricInterpretation="RGB"),
            "bits of each",
        )
        yield f"{name}-missing", framed(b"", syntax), "truncated|damaged"
    for name, frame, syntax in [("lossless", lossless, uid.JPEGLossless), ("wavelet", wavelet, uid.JPEG2000)]:
        at = frame.index(b"\xff\xc3") + 5 if name == "lossless" else frame.index(b"\xff\x51") + 6
        yield (
            f"{name}-bomb",
            framed(frame[:at] + b"\x7f\xff" * 4 + frame[at + 8 :], syntax),
            "its header says|decompression bomb",
        )
    yield "swallowed", framed(lossless + bytes(3 << 20), uid.JPEGLossless), "longer than its pixels"


def _broken_structure(whole: bytes) -> Iterator[tuple[str, bytes, str]]:
    pixels = whole.index(struct.pack("<HH", 0x7FE0, 0x0010))
    for depth in (500, 5000, 60_000):
        yield f"nested-{depth}", whole[:pixels] + nested(depth), "nested too deeply|no pixel data|decoded"
    for i, length in enumerate((0xFFFFFFFE, 0x7FFFFFFF, ROWS * COLUMNS * 2 + 1 << 8)):
        yield f"length-{i}", whole[: pixels + 8] + struct.pack("<I", length) + whole[pixels + 12 :], "longer than rows"
    yield "length-short", whole[: pixels + 8] + struct.pack("<I", 10) + whole[pixels + 12 :], "truncated"
    yield "undefined", whole[: pixels + 8] + struct.pack("<I", 0xFFFFFFFF) + whole[pixels + 12 :], "in fragments"
    rows = whole.index(struct.pack("<HH2s", 0x0028, 0x0010, b"US"))
    yield "rows-long", whole[: rows + 6] + b"\xff\xff" + whole[rows + 8 :], "."
    huge = struct.pack("<HH2sHI", 0x0028, 0x3010, b"SQ", 0, 0x7FFFFFF0)
    yield "lut-long", whole[:rows] + huge + whole[rows:], "absurdly long"
    tiny = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 0)
    yield "attributes", whole[:rows] + tiny * 120_000, "too many attributes"


def view_code(value: str, scheme: str = "SCT") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "GEHEIM^ANNA"
    return [item]


SECRETS = {
    "PatientName": "GEHEIM^ANNA",
    "PatientID": "GEHEIM4711",
    "PatientBirthDate": "19470917",
    "InstitutionName": "GEHEIM Hospital",
    "AccessionNumber": "GEHEIM0815",
    "PatientComments": "GEHEIM comment",
    "StudyDescription": "GEHEIM study",
    "ReferringPhysicianName": "GEHEIM^DOKTOR",
    "SpecificCharacterSet": "GEHEIM_CHARSET",
    "OperatorsName": "GEHEIM^OP\\\\",
    "StudyDate": "19470917",
    "PatientAge": "GEHEIM",
}
# the numbers with their neighbours: four digits alone stand in many a checksum
WORDS = re.compile(r"geheim|anna|doktor|47110815|19470917", re.IGNORECASE)


def planted(**attributes: Any) -> Dataset:
    """An image that bears a patient's name and more in every place where that can stand."""
    made = dataset(image(12), 12, **SECRETS, **attributes)
    block = made.private_block(0x0019, "GEHEIM CREATOR", create=True)
    block.add_new(0x01, "LO", "GEHEIM private")
    inner = Dataset()
    inner.PatientName, inner.PatientID = "GEHEIM^SEQUENCE", "GEHEIM4711"
    made.RequestAttributesSequence = [inner]
    made.OtherPatientIDsSequence = [inner]
    return made


FREE_TEXT: list[dict[str, Any]] = [
    {},
    {"BodyPartExamined": "GEHEIM ANNA"},
    {"BodyPartExamined": "HAND", "Modality": "GEHEIM"},
    {"BodyPartExamined": "HAND GEHEIM"},
    {"Modality": "CT GEHEIM"},
    {"ViewPosition": "GEHEIM"},
    {"PatientPosition": "GEHEIM", "ViewPosition": None},
    {"PhotometricInterpretation": "GEHEIM^ANNA"},
    {"WindowCenter": "777777", "WindowWidth": "8888"},
    {"RescaleSlope": "777777", "RescaleIntercept": "8888"},
    {"NumberOfFrames": "777777"},
    {"VOILUTFunction": "GEHEIM", "WindowCenter": 2000, "WindowWidth": 900},
    {"PresentationLUTShape": "GEHEIM"},
    {"PresentationIntentType": "GEHEIM"},
    {"NumberOfFrames": "47110815"},
    {"ViewCodeSequence": view_code("GEHEIM"), "ViewPosition": None},
    {"AnatomicRegionSequence": view_code("GEHEIM"), "BodyPartExamined": None},
    {"Rows": 9999},
    {"ImageComments": "GEHEIM " * 500},
]


def write_planted(file: Path, **attributes: Any) -> Path:
    """Write a planted image, in which the number 777777 becomes GEHEIM and 8888 becomes ANNA."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the values
        write(planted(**attributes), file)
    file.write_bytes(file.read_bytes().replace(b"777777", b"GEHEIM").replace(b"8888", b"ANNA"))
    return file


def planted_files(root: Path) -> list[Path]:
    """Planted images, sound and broken."""
    files = [write_planted(root / f"{i}.dcm", **attributes) for i, attributes in enumerate(FREE_TEXT)]
    content = files[0].read_bytes()
    cut = [content[:at] for at in (400, 700, 900, len(content) - 50)]
    cut.append(content.replace(b"1.2.840.10008.1.2.1\0", b"GEHEIM.ANNA.GEHEIM.A"))
    cut.append(content.replace(b"CS\x02\0DX", b"CS\x80\0DX"))
    cut.append(re.sub(rb"PN..GEHEIM", b"XX\xff\xffGEHEIM", content))
    for i, each in enumerate(cut):
        files.append(root / f"cut-{i}.dcm")
        files[-1].write_bytes(each)
    return files
