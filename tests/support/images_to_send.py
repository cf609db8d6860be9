"""Images that the tests of the server send."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from bad_files import SIGNATURE, chunk, header
from PIL import Image


def dicom(view: str, height: int = 30, width: int = 20) -> bytes:
    """A chest X-ray of this view in DICOM, with a patient's name in it."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    image = pydicom.Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.PatientName, image.PatientID = "Secret^Person", "secret-17"
    image.Modality, image.BodyPartExamined, image.ViewPosition = "CR", "CHEST", view
    image.Rows, image.Columns, image.SamplesPerPixel, image.PhotometricInterpretation = height, width, 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    image.PixelData = (np.arange(height * width) % 256).astype(np.uint8).tobytes()
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def deflated(height: int, width: int) -> bytes:
    """A chest X-ray in DICOM whose attributes and pixels are deflated."""
    from pydicom import dcmread
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    found = dcmread(io.BytesIO(dicom("PA", height, width)))
    found.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    found.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def image(width: int = 120, height: int = 90) -> bytes:
    """A PNG of waves of gray."""
    rows, columns = np.indices((height, width))
    gray = (110 + 60 * np.sin(columns / 17) + 60 * np.cos(rows / 13)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(gray).save(stream, "PNG")
    return stream.getvalue()


def huge() -> bytes:
    """A sound PNG of 200 megapixels in some 200 kB."""
    side = 14_143
    squeeze = zlib.compressobj(9)
    row = bytes(side + 1)
    data = b"".join(squeeze.compress(row) for _ in range(side)) + squeeze.flush()
    return SIGNATURE + header(side, side) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
