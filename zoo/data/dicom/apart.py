"""Decoding in a process apart: GDCM ends its process on some damaged frames, and a page or a command must live on.

One such process serves for all frames of this one, one at a time. It costs some 0.1 s to start, and ends with its parent,
whose end closes its standard input.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from zoo.core.errors import ZooError
from zoo.core.records import BadImage

SECONDS = 60.0  # for one frame; an image of 20 megapixels takes some 2 s
_SCRIPT = Path(__file__).with_name("decoder.py")
_NAMES = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg"}


class _Decoder:
    """The process, started when first needed and again after a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the number of the process that started it, which may have forked since

    def decode(self, request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
        with self._lock:
            process = self._running()
            late = threading.Event()
            watch = threading.Timer(SECONDS, _give_up, (late, process))
            watch.daemon = True
            watch.start()
            try:
                return _converse(process, request, frame)
            except (OSError, ValueError, EOFError):
                self.stop()
                raise BadImage(
                    f"its decoder took over {SECONDS:.0f} s" if late.is_set() else "damaged: its decoder crashed on it"
                ) from None
            except BaseException:  # Ctrl-C amid an answer: the rest of it must not be taken for the next one
                self.stop()
                raise
            finally:
                watch.cancel()

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is None or self._owner != os.getpid() or process.poll() is not None:
            words = [sys.executable, "-P", str(_SCRIPT)]  # -P: the folder of the script is no place to import from
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen(words, start_new_session=os.name == "posix", **pipes)  # Ctrl-C is the parent's
            if self._owner != os.getpid():
                atexit.register(self.stop)
            self._process, self._owner = process, os.getpid()
        return process

    def stop(self) -> None:
        """End the process, if it is this one's."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # what it had not taken any more
                        continue


_decoder = _Decoder()


def decode(request: dict[str, Any], frame: bytes, size: int) -> bytes:
    """Decode a compressed frame to `size` bytes; `request` names the codec and what it needs to know (see decoder.py).

    Raises:
        BadImage: the frame is damaged.
        ZooError: the library is not installed.
    """
    answer, content = _decoder.decode({**request, "size": len(frame)}, frame)
    if "missing" in answer:
        name = _NAMES.get(answer["missing"], answer["missing"])
        raise ZooError(f"DICOM images compressed like this one need {name}. Install it: pip install 'cxr-zoo[dicom]'")
    if "error" in answer or len(content) != size:
        raise BadImage("its compressed pixel data are damaged")
    return content


def _give_up(late: threading.Event, process: subprocess.Popen[bytes]) -> None:
    late.set()
    process.kill()


def _converse(process: subprocess.Popen[bytes], request: dict[str, Any], frame: bytes) -> tuple[dict[str, Any], bytes]:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    process.stdin.write(json.dumps(request).encode() + b"\n" + frame)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    content = process.stdout.read(answer["size"])
    if len(content) != answer["size"]:
        raise EOFError
    return answer, content
