"""A process that decodes compressed frames by libraries in C, for `apart`: a damaged frame may crash it.

It is run as a script and imports nothing of zoo. On standard input comes a line of JSON with the request and its `size`, then as
many bytes; on standard output goes a line of JSON with `size`, then as many bytes, or with `error` or `missing`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

SECONDS = 90  # for one frame, longer than the parent waits: the end of a decoder that hangs when its parent is gone
MEMORY = 4 << 30  # bytes; an image of 100 megapixels takes some 2 GB in OpenJPEG


def by_gdcm(frame: bytes, request: dict[str, Any]) -> bytes:
    """JPEG lossless, JPEG of 12 bits and JPEG-LS."""
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
    image.SetDimensions((request["columns"], request["rows"], 1))
    image.SetDataElement(element)
    gray = gdcm.PhotometricInterpretation.MONOCHROME2
    colour = gdcm.PhotometricInterpretation.RGB
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gray if request["samples"] == 1 else colour))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(request["syntax"])))
    bits = request["bits"]
    image.SetPixelFormat(gdcm.PixelFormat(request["samples"], 8 if bits <= 8 else 16, bits, bits - 1, 0))
    decoded = image.GetBuffer()
    return b"" if decoded is None else decoded.encode("utf-8", "surrogateescape")  # GDCM gives bytes as text


def by_openjpeg(frame: bytes, request: dict[str, Any]) -> bytes:
    """JPEG 2000, high-throughput too."""
    from openjpeg import decode

    return bytes(decode(frame, reshape=False).tobytes())


CODECS = {"gdcm": by_gdcm, "openjpeg": by_openjpeg}


def main() -> None:
    """Answer requests until there are no more."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not get among the answers
    limit_memory()
    while line := requests.readline():
        request = json.loads(line)
        frame = requests.read(request["size"])
        content, answer = b"", {}
        alarm(SECONDS)
        try:
            content = CODECS[request["codec"]](frame, request)
        except ModuleNotFoundError as error:
            answer["missing"] = error.name
        except Exception as error:
            answer["error"] = type(error).__name__
        alarm(0)
        answers.write(json.dumps({"size": len(content), **answer}).encode() + b"\n" + content)
        answers.flush()


def alarm(seconds: int) -> None:
    """End this process after so many seconds, whatever it is in; 0 calls that off."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def limit_memory() -> None:
    """Make taking absurd memory an error of this process, where the system can."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    main()
