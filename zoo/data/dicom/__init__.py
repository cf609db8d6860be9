"""DICOM images: read, checked to be chest X-rays, and brought to grayscale uint8 as a viewer would show them.

Of a file's header only the few attributes that say how to show the pixels, and whether they are a chest X-ray, are ever
looked at; and only values that are DICOM's own defined terms are repeated in notes and reasons. pydicom is imported when
the first DICOM file is met.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data.formats import check_file, reason_of

if TYPE_CHECKING:
    import numpy as np

__all__ = ["claimed_size", "decode_dicom"]

MAX_BYTES = 1 << 29  # an image of `MAX_PIXELS` at 16 bits takes 200 MB; more is a clip, or a trap


def decode_dicom(file: Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one DICOM image to what a viewer shows: after Modality LUT, VOI LUT or window, bones white (PS3.3 C.11).

    Where the file gives no VOI LUT and no window, images of up to 8 bits are shown as they are, and deeper ones from the
    0.5th to the 99.5th percentile of their values: few pixels, such as a lead marker's, must not set the contrast.

    Args:
        file: the DICOM file.
        views: views the network has seen, of "PA", "AP" and "LATERAL"; an image of another kind of view is refused. None: any.
        force: take images that the header says are no chest X-rays, or of another view, or in colour.

    Returns:
        uint8 pixels `(H, W)`, and a note of what had to be done or is not known; "" for a plain 8-bit image.

    Raises:
        BadImage: it is damaged, of several frames, too large, or not an image to be used; names no value that is not a
            defined term of DICOM.
        ZooError: a library of the extra `dicom` is missing.
    """
    size = check_file(file)
    if size > MAX_BYTES:
        raise BadImage(f"over {MAX_BYTES >> 20} MB: too large for a single image")
    _need_pydicom()
    from zoo.data.dicom import image as image
    from zoo.data.dicom.quiet import quiet

    try:
        with quiet(), open(file, "rb") as stream:
            return image.read(stream, size, views, force)
    except (BadImage, ZooError):
        raise
    except RecursionError:
        raise BadImage("its sequences are nested too deeply") from None
    except MemoryError:
        raise BadImage("too large for the memory") from None
    except OSError as error:
        raise BadImage(reason_of(error) if error.strerror else "cannot be decoded") from None
    except Exception as error:  # whatever a damaged file makes the readers stumble over; the text could quote the file
        raise BadImage(f"cannot be decoded (DICOM, {type(error).__name__})") from None


def claimed_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Columns and rows by the header of an open file, with no pixel looked at; None where it has none that can be read.

    Raises:
        ZooError: pydicom is missing.
    """
    _need_pydicom()
    from zoo.data.dicom.header import COLUMNS, ROWS, read_header
    from zoo.data.dicom.quiet import quiet

    try:
        with quiet():
            header, _ = read_header(stream)
    except Exception:  # whatever is wrong with it, decoding it gives the reason
        return None
    columns, rows = header.integer(COLUMNS), header.integer(ROWS)
    return (columns, rows) if columns and rows else None


def _need_pydicom() -> None:
    try:
        import pydicom  # noqa: F401  # whether it is there
    except ModuleNotFoundError as error:
        raise ZooError(f"DICOM files need {error.name}. Install it: pip install 'cxr-zoo[dicom]'") from None
