"""Films that the tests of the server send, beside PNGs."""

from __future__ import annotations

import io

import numpy as np
import pytest


def dicom(view: str, height: int = 30, width: int = 20) -> bytes:
    """A chest film of this view in DICOM, with a patient's name in it."""
    pydicom = pytest.importorskip("pydicom", reason="needs the extra 'dicom'")
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    film = pydicom.Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.SOPClassUID = film.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    film.SOPInstanceUID = film.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    film.PatientName, film.PatientID = "Secret^Person", "secret-17"
    film.Modality, film.BodyPartExamined, film.ViewPosition = "CR", "CHEST", view
    film.Rows, film.Columns, film.SamplesPerPixel, film.PhotometricInterpretation = height, width, 1, "MONOCHROME2"
    film.BitsAllocated = film.BitsStored = 8
    film.HighBit, film.PixelRepresentation = 7, 0
    film.PixelData = (np.arange(height * width) % 256).astype(np.uint8).tobytes()
    stream = io.BytesIO()
    film.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
