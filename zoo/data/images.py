"""Decoding films: every published file form to grayscale uint8, with a note where it had to be normalised."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from zoo.data.records import BadImage, ImageSource

# A digitised chest film has at most some 20 megapixels; beyond this a small file is a decompression bomb.
MAX_PIXELS = 100_000_000
# Only raster formats that Pillow decodes itself: its EPS reader, for one, would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")

_NOTES = {
    "1": "1-bit, converted to gray",
    "P": "palette, converted to gray",
    "LA": "gray with alpha, alpha dropped",
}


def decode(file: Path) -> tuple[np.ndarray, str]:
    """Decode one film.

    Colour becomes gray by the ITU-R 601 luma weights (.299, .587, .114), alpha is dropped, 1 bit becomes 0 and 255.
    More than 8 bits per pixel are scaled linearly so that the film's own maximum becomes 255 (zero stays zero): files
    do not say how many of the bits they use. Of several frames the first is taken.

    Returns:
        uint8 pixels `(H, W)`, and a note that is "" where nothing had to be normalised.

    Raises:
        BadImage: the file is missing, empty, not a regular file, no image, truncated or over `MAX_PIXELS`.
    """
    try:
        _check_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; the limit below is ours
            with Image.open(file, formats=FORMATS) as image:
                return _pixels(image)
    except BadImage:
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image") from None
    except Image.DecompressionBombError:
        raise BadImage(f"decompression bomb: over {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise BadImage(_reason(error)) from None


def _check_file(file: Path) -> None:
    """Refuse what must not be opened: opening a FIFO would wait for ever."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage("missing file") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("a directory, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    if status.st_size == 0:
        raise BadImage("zero bytes")


def _reason(error: Exception) -> str:
    text = str(error)
    if "truncated" in text.lower():
        return "truncated"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be decoded ({type(error).__name__}: {text[:80]})" if text else "cannot be decoded"


def _pixels(image: Image.Image) -> tuple[np.ndarray, str]:
    width, height = image.size
    if width * height > MAX_PIXELS:
        megapixels = MAX_PIXELS // 10**6
        raise BadImage(f"decompression bomb: {width}×{height} pixels, over {megapixels} megapixels")
    mode = image.mode
    frames = int(getattr(image, "n_frames", 1))
    notes = [f"first of {frames} frames"] if frames > 1 else []
    if mode == "L":
        pixels = np.array(image, dtype=np.uint8)
    elif mode.startswith(("I", "F")):
        pixels, note = _scaled(np.asarray(image))
        notes.insert(0, note)
    else:
        # CMYK, YCbCr and the like reach gray only by way of RGB
        rgb = image if mode in ("1", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
        pixels = np.array(rgb.convert("L"), dtype=np.uint8)
        notes.insert(0, _NOTES.get(mode, f"{mode}, converted to gray"))
    return pixels, ", ".join(notes)


def _scaled(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale gray values of more than 8 bits so that the maximum becomes 255; negative values become 0."""
    if not np.isfinite(values).all():
        raise BadImage("has pixels that are not finite")
    top = float(values.max())
    depth = "floating-point" if values.dtype.kind == "f" else "16-bit" if top < 2**16 else "32-bit"
    if top <= 0:
        return np.zeros(values.shape, np.uint8), f"{depth}, no pixel above zero"
    scaled = np.clip(np.rint(values.astype(np.float64) * (255.0 / top)), 0, 255).astype(np.uint8)
    return scaled, f"{depth}, scaled by its maximum"


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def _stamp(file: str) -> str:
    """Size and time of a file as text; "missing" where there is none."""
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class FileSource(ImageSource):
    """Films that are files under `root`; a film's path is relative to it."""

    root: str

    def read(self, path: str) -> tuple[np.ndarray, str]:
        try:
            file = Path(self.root, path).resolve()
            inside = file.is_relative_to(Path(self.root).resolve())
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
            raise BadImage(_reason(error)) from None
        if not inside:
            raise BadImage("outside the root")
        return decode(file)

    def fingerprint(self, paths: Sequence[str]) -> str:
        return _digest(f"{path} {_stamp(os.path.join(self.root, path))}" for path in paths)


@functools.lru_cache(maxsize=3)  # the three splits of one file; a compressed array can only be read whole
def _array(file: str, stamp: str, key: str) -> np.ndarray:
    # opened here, as NumPy leaves a damaged file open
    with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        found: np.ndarray = arrays[key]
    return found


@dataclass(frozen=True)
class ArraySource(ImageSource):
    """Films that are rows of arrays in one .npz `file`: the path "train/12" is `train_images[12]`.

    Arrays are `(N, H, W)` or `(N, H, W, 3)`, read when first needed and kept once per process, outside the instance.
    """

    file: str

    def read(self, path: str) -> tuple[np.ndarray, str]:
        part, _, index = path.rpartition("/")
        if not part or not (index.isascii() and index.isdecimal()):
            raise BadImage(f"'{path}' is not of the form split/number")
        try:
            films = _array(self.file, _stamp(self.file), f"{part}_images")
        except FileNotFoundError:
            raise BadImage("missing file") from None
        except KeyError:
            raise BadImage(f"the file has no array {part}_images") from None
        except Exception as error:  # zip, zlib and NumPy each have their own errors for a damaged file
            raise BadImage(_reason(error)) from None
        if int(index) >= len(films):
            raise BadImage(f"{part}_images has {len(films)} films only")
        return _gray(films[int(index)])

    def fingerprint(self, paths: Sequence[str]) -> str:
        return _digest([_stamp(self.file), *paths])


def _gray(film: np.ndarray) -> tuple[np.ndarray, str]:
    """One array row to uint8 `(H, W)`."""
    if film.ndim == 3 and film.shape[2] == 1:
        film = film[:, :, 0]
    if film.ndim == 3 and film.shape[2] == 3 and film.dtype == np.uint8:
        return np.array(Image.fromarray(film).convert("L"), dtype=np.uint8), "RGB, converted to gray"
    if film.ndim != 2 or film.size == 0 or film.dtype.kind not in "uif":
        raise BadImage(f"an array {film.shape} of {film.dtype} is not a film")
    return (film.copy(), "") if film.dtype == np.uint8 else _scaled(film)
