"""Subprocess decoder for compressed frames: GDCM ends its process on some damaged ones, and a command or a server must live on.

One worker process serves for all frames of this one, one at a time. It is started with the first frame, in some 0.3 s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from zoo.core import limits
from zoo.core.errors import ZooError
from zoo.core.processes import Worker, WorkerDied, WorkerTimeout, limit_memory
from zoo.core.records import BadImage

_PACKAGES = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg"}


def _limit() -> None:
    """An image of 100 megapixels takes some 2 GB in OpenJPEG; one of 20 takes some 2 s."""
    limit_memory(limits.value("dicom_frame_memory"))


worker = Worker(setup=_limit)


def decode(codec: Callable[..., bytes], frame: bytes, size: int, **layout: str | int) -> bytes:
    """Decode a compressed frame to `size` bytes by `decode_gdcm` or `decode_openjpeg`, which `layout` is for.

    Raises:
        BadImage: the frame is damaged.
        ZooError: the library is not installed.
    """
    seconds = limits.value("dicom_frame_seconds")
    try:
        content = worker.call(partial(codec, **layout), frame, seconds=seconds)
    except ModuleNotFoundError as error:
        name = _PACKAGES.get(str(error.name), error.name)
        raise ZooError(
            f"DICOM images compressed like this one need {name}. Install it: pip install 'cxr-zoo[dicom]'"
        ) from None
    except WorkerTimeout:
        raise BadImage(f"its decoder took over {seconds} s") from None
    except WorkerDied:
        raise BadImage("damaged: its decoder crashed on it") from None
    except Exception:  # the message may quote the file
        raise BadImage("its compressed pixel data are damaged") from None
    if len(content) != size:
        raise BadImage("its compressed pixel data are damaged")
    return content


def decode_gdcm(frame: bytes, *, syntax: str, rows: int, columns: int, samples: int, bits: int) -> bytes:
    """Decode JPEG lossless, JPEG of 12 bits and JPEG-LS."""
    import gdcm

    for trace in (gdcm.Trace.WarningOff, gdcm.Trace.ErrorOff, gdcm.Trace.DebugOff):
        trace()
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.MONOCHROME2 if samples == 1 else gdcm.PhotometricInterpretation.RGB
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, 8 if bits <= 8 else 16, bits, bits - 1, 0))
    decoded = image.GetBuffer()
    return b"" if decoded is None else decoded.encode("utf-8", "surrogateescape")  # GDCM gives bytes as text


def decode_openjpeg(frame: bytes) -> bytes:
    """Decode JPEG 2000, high-throughput too."""
    from openjpeg import decode

    return bytes(decode(frame, reshape=False).tobytes())
