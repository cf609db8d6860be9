"""Decoding images in a subprocess: an image that crashes or hangs its decoder costs a process, not the server."""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.core import limits
from zoo.core.processes import Worker, WorkerDied, WorkerTimeout, limit_memory
from zoo.serve.limits import Limits

if TYPE_CHECKING:
    import numpy as np

Views = frozenset[str] | None
PICTURE_SIDE = 1024  # pixels: enough for a screen
_BYTES_PER_PIXEL = 24  # what reading takes at the worst: 16-bit colour, scaled in float64
_SPARE_BYTES = 1 << 30


@dataclass(frozen=True)
class Request:
    """What to make of an image: squares of these sides, and a picture for a screen; each of `views` is checked on its own."""

    sizes: tuple[int, ...]
    views: tuple[Views, ...]
    picture: bool


@dataclass(frozen=True)
class Image:
    """An image as read: its size, what had to be normalised, its squares by side, and a PNG where asked for.

    `rejected` holds the views whose networks cannot take it, with the reason, and `notes` what networks of the others have not
    seen of it.
    """

    width: int
    height: int
    note: str
    squares: dict[int, np.ndarray]
    picture: bytes = b""
    rejected: dict[Views, str] = field(default_factory=dict)
    notes: dict[Views, str] = field(default_factory=dict)


class TooManyPixels(ValueError):
    """An image whose header claims more pixels than the limit."""


class Unreadable(ValueError):
    """An image that cannot be read, with the reason."""


class NoDecoder(Exception):
    """The process that reads images cannot be started, or the decoder was closed."""


class Decoder:
    """Reads images in a subprocess, which is started anew when it dies. For one thread at a time."""

    def __init__(self, limits: Limits, force: bool = False) -> None:
        self.limits, self.force = limits, force
        self._closed = False
        self.worker = Worker(setup=partial(_set_up, limits.max_pixels))

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            RuntimeError: it does not come up.
        """
        try:
            self.worker.start()
        except WorkerDied as error:
            raise RuntimeError(f"the process that decodes images does not start: {error}") from None

    def read(self, data: bytes, request: Request) -> Image:
        """Read the file `data`.

        Raises:
            TooManyPixels: by its header.
            Unreadable: with the reason, which is "the decoder crashed on it, twice" where two processes died.
            NoDecoder: no fault of the image's.
        """
        for last in (
            False,
            True,
        ):  # a process that ends may have been killed by others: a fresh one shows whose fault it is
            try:
                return self._read(data, request)
            except WorkerTimeout:
                raise Unreadable(f"decoding it takes longer than {self.limits.decode_s:g} s") from None
            except WorkerDied:
                if last:
                    raise Unreadable("the decoder crashed on it, twice") from None
        raise AssertionError

    def _read(self, data: bytes, request: Request) -> Image:
        for last in (False, True):
            if self._closed:
                raise NoDecoder
            try:
                self.worker.start()
                break
            except (WorkerDied, OSError) as error:
                if last:
                    raise NoDecoder from error
        seconds = self.limits.decode_s
        return self.worker.call(_read_safely, data, request, self.limits.max_pixels, self.force, seconds=seconds)

    def close(self) -> None:
        """End the process, also amid an image, and start no other."""
        self._closed = True
        self.worker.close()


def _set_up(max_pixels: int) -> None:
    """Set up the process: import what reading takes, and limit memory."""
    warnings.simplefilter("ignore")
    from PIL import Image

    import zoo.inference.intake  # noqa: F401  # loaded now, not with the first image

    Image.MAX_IMAGE_PIXELS = None  # the limit is ours, see `read`
    limit_memory(max_pixels * _BYTES_PER_PIXEL + _SPARE_BYTES)


def _read_safely(data: bytes, request: Request, max_pixels: int, force: bool) -> Image:
    """As `read`, with every error as one of its own."""
    try:
        return read(data, request, max_pixels, force)
    except (TooManyPixels, Unreadable):
        raise
    except MemoryError:
        raise Unreadable("reading it takes more memory than the server gives it") from None
    except Exception as error:  # the message may quote the file
        raise Unreadable(f"cannot be decoded ({type(error).__name__})") from None


def read(data: bytes, request: Request, max_pixels: int, force: bool = False) -> Image:
    """Read one image in this process; arguments and errors as for `Decoder`."""
    from zoo.core.errors import ZooError
    from zoo.core.records import BadImage
    from zoo.data import formats
    from zoo.data.decode import check_views
    from zoo.data.resize import square
    from zoo.inference.intake import read_image

    notes, rejected = {}, {}
    with _as_file(data) as file, _limited(max_pixels):
        for views in request.views:
            try:
                notes[views] = check_views(file, views, force)
            except (BadImage, ZooError) as error:  # the latter names the extra that DICOM needs
                rejected[views] = str(error)
        if not notes:
            raise Unreadable(next(iter(rejected.values())))
        try:
            pixels, note = read_image(file, force=force)
        except formats.TooManyPixels as error:
            _, width, height = error.args
            raise TooManyPixels(
                f"{width:,} × {height:,} pixels: the limit is {max_pixels / 1e6:g} megapixels"
            ) from None
        except (BadImage, ZooError) as error:
            raise Unreadable(str(error)) from None
    try:
        squares = {side: square(pixels, side) for side in request.sizes}
    except BadImage as error:
        raise Unreadable(str(error)) from None
    height, width = pixels.shape
    return Image(width, height, note, squares, _picture(pixels) if request.picture else b"", rejected, notes)


@contextmanager
def _limited(max_pixels: int) -> Iterator[None]:
    """Let images have so many pixels, whatever the environment says."""
    name = limits.TABLE["pixels"].variable
    before = os.environ.get(name)
    os.environ[name] = str(max_pixels)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


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
