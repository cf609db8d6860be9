"""Decoding images in a process of its own: one that kills or hangs its decoder costs a process, not the server."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.serve.limits import Limits

if TYPE_CHECKING:
    import numpy as np

Views = frozenset[str] | None
PICTURE_SIDE = 1024  # pixels: enough for a screen
_START_S = 60.0
_BYTES_PER_PIXEL = 24  # what reading takes at the worst: 16-bit colour, scaled in float64
_SPARE_BYTES = 1 << 30


@dataclass(frozen=True)
class Order:
    """What to make of an image: squares of these sides, and a picture; each of `views` is checked on its own."""

    sizes: tuple[int, ...]
    views: tuple[Views, ...]
    picture: bool


@dataclass(frozen=True)
class Image:
    """An image as read: its size, what had to be normalised, its squares by side, and a PNG where asked for.

    `refused` holds the views whose networks cannot take it, with the reason.
    """

    width: int
    height: int
    note: str
    squares: dict[int, np.ndarray]
    picture: bytes = b""
    refused: dict[Views, str] = field(default_factory=dict)


class TooManyPixels(ValueError):
    """An image whose header claims more pixels than the limit."""


class Unreadable(ValueError):
    """An image that cannot be read, with the reason."""


class Decoder:
    """Reads images in another process, which is started anew when it dies. For one thread at a time."""

    def __init__(self, limits: Limits, force: bool = False) -> None:
        self.limits, self.force = limits, force
        self.restarts = 0
        self._process: Any = None
        self._line: Connection | None = None

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            RuntimeError: it does not come up.
        """
        context = multiprocessing.get_context("spawn")  # a fork would copy the threads and locks of TensorFlow
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.limits.max_pixels, self.force), daemon=True)
        self._process.start()
        theirs.close()
        try:
            if not self._line.poll(_START_S):
                raise EOFError
            self._line.recv()
        except (EOFError, OSError):
            self.close()
            raise RuntimeError("the process that decodes images does not start") from None

    @property
    def pid(self) -> int | None:
        """The process's number; None while there is none."""
        return None if self._process is None else int(self._process.pid)

    def read(self, data: bytes, order: Order) -> Image:
        """Read the file `data`.

        Raises:
            TooManyPixels: by its header.
            Unreadable: with the reason, which is "the decoder crashed on it" where its process died.
        """
        if self._process is None or not self._process.is_alive():
            self.close()
            self.start()
        assert self._line is not None
        try:
            self._line.send(order)
            self._line.send_bytes(data)
            if not self._line.poll(self.limits.decode_s):
                self._give_up()
                raise Unreadable(f"decoding it takes longer than {self.limits.decode_s:g} s")
            answer = self._line.recv()
        except (EOFError, OSError):
            self._give_up()
            raise Unreadable("the decoder crashed on it") from None
        if isinstance(answer, Exception):
            raise answer
        image: Image = answer
        return image

    def _give_up(self) -> None:
        self.restarts += 1
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._line = self._process = None


def _work(line: Connection, max_pixels: int, force: bool) -> None:
    """The process: images in, squares out, until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    silence = os.open(os.devnull, os.O_WRONLY)  # libraries print what a file holds, which may name a patient
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    from PIL import Image

    import zoo.inference.intake  # noqa: F401  (loaded now, not with the first image)

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, see `read`
    _limit_memory(max_pixels * _BYTES_PER_PIXEL + _SPARE_BYTES)
    with suppress(EOFError, OSError):
        line.send("ready")
        while True:
            order = line.recv()
            data = line.recv_bytes()
            try:
                answer: Any = read(data, order, max_pixels, force)
            except (TooManyPixels, Unreadable) as error:
                answer = error
            except MemoryError:
                answer = Unreadable("reading it takes more memory than the server gives it")
            except Exception as error:  # the message may quote the file
                answer = Unreadable(f"cannot be decoded ({type(error).__name__})")
            line.send(answer)
            del data, answer


def _limit_memory(further: int) -> None:
    """Let this process take only so many bytes more than it has."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + further, resource.getrlimit(resource.RLIMIT_AS)[1]))


def read(data: bytes, order: Order, max_pixels: int, force: bool = False) -> Image:
    """Read one image in this process; arguments and errors as for `Decoder`."""
    from zoo.core.errors import ZooError
    from zoo.core.records import BadImage
    from zoo.data.decode import claimed_size
    from zoo.data.formats import HEAD, is_dicom
    from zoo.data.resize import square
    from zoo.inference.intake import read_image

    size = claimed_size(io.BytesIO(data))
    if size is not None and size[0] * size[1] > max_pixels:
        limit = f"{max_pixels / 1e6:g} megapixels"
        raise TooManyPixels(f"{size[0]:,} × {size[1]:,} pixels: the limit is {limit}")
    pixels, note, refused = None, "", {}
    with _as_file(data) as file:
        for views in order.views if is_dicom(data[:HEAD]) else order.views[:1]:
            try:
                pixels, note = read_image(file, views=views, force=force)
            except (BadImage, ZooError) as error:  # the latter names the extra that DICOM needs
                refused[views] = str(error)
    if pixels is None:
        raise Unreadable(next(iter(refused.values())))
    try:
        squares = {side: square(pixels, side) for side in order.sizes}
    except BadImage as error:
        raise Unreadable(str(error)) from None
    height, width = pixels.shape
    return Image(width, height, note, squares, _picture(pixels) if order.picture else b"", refused)


def _picture(pixels: np.ndarray) -> bytes:
    """A PNG for a screen."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=3)
    return stream.getvalue()


@contextmanager
def _as_file(data: bytes) -> Iterator[Path]:
    """A path to read the data from: in memory where the system can, else a private file, removed at once."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("image")
        try:
            with open(number, "wb", closefd=False) as stream:
                stream.write(data)
            yield Path(f"/proc/self/fd/{number}")
        finally:
            os.close(number)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "image")
        file.write_bytes(data)
        yield file
