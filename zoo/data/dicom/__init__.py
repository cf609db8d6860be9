"""DICOM images: read, checked to be chest X-rays, and converted to grayscale uint8 as a viewer shows them.

Of a header only the attributes are read that say how to show the pixels and whether they are a chest X-ray; notes and
reasons repeat no value but terms that DICOM defines. pydicom is imported with the first DICOM file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data.formats import check, open_image, reason_of
from zoo.data.silence import silent_dicom

if TYPE_CHECKING:
    import numpy as np


def decode_dicom(file: Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one DICOM image to what a viewer shows: Modality LUT, then VOI LUT or window, bones white (PS3.3 C.11).

    Without a VOI LUT and window, images of up to 8 bits are shown as they are, and deeper ones from the 0.5th to the 99.5th
    percentile of their values: a few pixels, such as a lead marker's, must not set the contrast.

    Args:
        file: the DICOM file.
        views: the views to accept, of "PA", "AP" and "LATERAL"; None accepts any.
        force: accept images that are not chest X-rays, of another view, or in colour.

    Returns:
        uint8 pixels `(H, W)`, and a note of what was done or is not known; "" for a plain 8-bit image.

    Raises:
        BadImage: it is damaged, of several frames, too large, or not acceptable. The message quotes no value of the file but
            terms that DICOM defines.
        ZooError: a library of the extra `dicom` is missing.
    """
    try:
        with open_image(file) as (stream, size):
            return decode_open(stream, size, views, force)
    except OSError as error:
        raise BadImage(reason_of(error)) from None


def decode_open(stream: BinaryIO, size: int, views: frozenset[str] | None, force: bool) -> tuple[np.ndarray, str]:
    """As `decode_dicom`, of an open file of `size` bytes."""
    with _bad_dicom():
        check("dicom_bytes", size, "the file")
        from zoo.data.dicom.image import read

        return read(stream, size, views, force)


def check_views(stream: BinaryIO, size: int, views: frozenset[str] | None, force: bool) -> str:
    """A note of what a run that saw these views has not seen of an image, by its header; "" for nothing.

    Raises:
        BadImage: the run cannot take it.
        ZooError: a library of the extra `dicom` is missing.
    """
    with _bad_dicom():
        check("dicom_bytes", size, "the file")
        from zoo.data.dicom.checks import check_view
        from zoo.data.dicom.header import read_header

        return check_view(read_header(stream), views, force)


def claimed_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Columns and rows by the header of an open file, no pixel decoded; None if it does not say.

    Raises:
        BadImage: the header cannot be read.
        ZooError: a library of the extra `dicom` is missing.
    """
    with _bad_dicom():
        from zoo.data.dicom.header import read_header

        header = read_header(stream)
        columns, rows = header.integer("Columns"), header.integer("Rows")
        return (columns, rows) if columns and rows else None


@contextlib.contextmanager
def _bad_dicom() -> Iterator[None]:
    """Turn whatever the readers raise into a BadImage with a reason that quotes nothing of the file."""
    try:
        with silent_dicom():
            yield
    except (BadImage, ZooError):
        raise
    except ModuleNotFoundError as error:
        raise ZooError(f"DICOM files need {error.name}. Install it: pip install 'cxr-zoo[dicom]'") from None
    except RecursionError:
        raise BadImage("its sequences are nested too deeply") from None
    except MemoryError:
        raise BadImage("too large for the memory") from None
    except OSError as error:
        raise BadImage(reason_of(error) if error.strerror else "cannot be decoded") from None
    except Exception as error:  # a damaged file can make the readers raise anything; the text could quote the file
        raise BadImage(f"cannot be decoded (DICOM, {type(error).__name__})") from None
