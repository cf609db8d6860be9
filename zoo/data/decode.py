"""Decoding one image file to grayscale uint8: a fast path for the usual 8-bit PNG, Pillow for everything else."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data.silence import without_warnings

# A digitised chest X-ray has at most some 20 megapixels; beyond this a small file is a decompression bomb.
MAX_PIXELS = 100_000_000
# Only raster formats that Pillow decodes itself: its EPS reader, for one, would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEAD = 33  # the signature and the whole IHDR chunk
_LOOK = 132  # what tells a DICOM file
_BLOCK = 1 << 20
# colour types of the fast path: kornia_rs' name, Pillow's name, channels
_COLOURS = {0: ("mono", "L", 1), 2: ("rgb", "RGB", 3), 6: ("rgba", "RGBA", 4)}
# the passes of an interlaced PNG: first column and row, steps between columns and rows (PNG specification, section 8.2)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

_NOTES = {
    "1": "1-bit, converted to gray",
    "P": "palette, converted to gray",
    "LA": "gray with alpha, alpha dropped",
}


def decode(file: Path, *, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one image.

    A DICOM file, known by its content, is read by `zoo.data.dicom` (`force` takes images its header says are no chest X-rays).

    Colour becomes gray by the ITU-R 601 luma weights (.299, .587, .114), alpha is dropped, 1 bit becomes 0 and 255.
    More than 8 bits per pixel are scaled linearly so that the image's own maximum becomes 255 (zero stays zero): files
    do not say how many of the bits they use. Of several frames the first is taken. A PNG whose pixel data does not fit its
    own CRC is damaged and refused, although some readers would show it.

    Returns:
        uint8 pixels `(H, W)`, and a note that is "" where nothing had to be normalised.

    Raises:
        BadImage: the file is missing, empty, not a regular file, no image, truncated, damaged or over `MAX_PIXELS`.
        ZooError: it is DICOM and a library that reads it is not installed.
    """
    from zoo.data.dicom import decode_dicom, is_dicom  # which imports this module

    with _reasons():
        size = check_file(file)
        with open(file, "rb") as stream:
            head = stream.read(_LOOK)
            if is_dicom(head) and not head.startswith(_SIGNATURE):
                return decode_dicom(file, force=force)
            stream.seek(0)
            return _decode_image(stream, size)


def decode_bytes(data: bytes) -> tuple[np.ndarray, str]:
    """Decode one image held in memory; as `decode`, but without DICOM."""
    with _reasons():
        if not data:
            raise BadImage("zero bytes")
        return _decode_image(io.BytesIO(data), len(data))


@contextlib.contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever a decoder stumbles over into a BadImage that says why."""
    try:
        yield
    except (BadImage, ZooError):
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image") from None
    except Image.DecompressionBombError:
        raise BadImage(f"decompression bomb: over {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them stumble over
        raise BadImage(reason_of(error)) from None


def _decode_image(stream: BinaryIO, size: int) -> tuple[np.ndarray, str]:
    head = stream.read(_LOOK)
    if head.startswith(_SIGNATURE):
        found = _decode_fast(head, stream, size)
        if found is not None:
            return found
        _check_png(stream)
    stream.seek(0)
    with without_warnings(), Image.open(stream, formats=FORMATS) as image:
        return _pixels(image)


def check_file(file: Path) -> int:
    """Refuse what must not be opened (opening a FIFO would wait for ever); returns the size in bytes."""
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage("missing file") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("a directory, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    if status.st_size == 0:
        raise BadImage("zero bytes")
    return status.st_size


def reason_of(error: Exception) -> str:
    """The reason in words for an image that an exception set aside."""
    text = str(error)
    if "truncated" in text.lower():
        return "truncated"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be decoded ({type(error).__name__}: {text[:80]})" if text else "cannot be decoded"


@functools.cache
def fast_png() -> Callable[[bytes, tuple[int, int], str], Any] | None:
    """The PNG decoder of kornia_rs: bytes, (height, width) and mode to `(H, W, C)` uint8. None where it is not installed.

    Its pixels are Pillow's. It checks the CRC of the chunks, but not the Adler-32 sum inside them.
    """
    try:
        from kornia_rs.io import decode_image_png_u8
    except Exception:  # a library that does not fit this machine raises other things than ImportError
        return None
    decoder: Callable[[bytes, tuple[int, int], str], Any] = decode_image_png_u8
    return decoder


def _decode_fast(head: bytes, stream: BinaryIO, size: int) -> tuple[np.ndarray, str] | None:
    """Decode an 8-bit gray, RGB or RGBA PNG without interlace, frames or transparent colour; None: leave it to Pillow."""
    decoder = fast_png()
    if decoder is None or len(head) < _HEAD:
        return None
    length, name, width, height, depth, colour, *rest = struct.unpack_from(">I4sIIBBBBB", head, len(_SIGNATURE))
    if (length, name, depth, rest) != (13, b"IHDR", 8, [0, 0, 0]) or colour not in _COLOURS:
        return None
    mode, pillow_mode, channels = _COLOURS[colour]
    raw = width * height * channels
    if not 0 < width * height <= MAX_PIXELS or size > raw + raw // 8 + _BLOCK:
        return None
    data = head + stream.read(size)  # no more than was there when it was looked at
    if not _is_plain(data):
        return None
    try:
        found = decoder(data, (height, width), mode)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return None
    pixels = np.asarray(found)
    if colour == 0:
        return pixels.reshape(height, width), ""
    return np.array(Image.fromarray(pixels).convert("L"), dtype=np.uint8), f"{pillow_mode}, converted to gray"


def _is_plain(data: bytes) -> bool:
    """Whether no chunk before the pixels makes the file animated or gives it a transparent colour."""
    at = _HEAD
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            return True
        if name in (b"acTL", b"tRNS"):
            return False
        at += 12 + length
    return False


def _check_png(stream: BinaryIO) -> None:
    """Refuse a PNG in which a chunk that the pixels need does not fit its CRC, or that holds fewer rows than it claims.

    Pillow reads such files: it shows other pixels where the damage left the data decodable, and black for missing rows.
    """
    stream.seek(len(_SIGNATURE))
    inflate, missing = zlib.decompressobj(), 0
    while len(start := stream.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        crc, first = zlib.crc32(name), True
        while length and (block := stream.read(min(length, _BLOCK))):
            crc = zlib.crc32(block, crc)
            length -= len(block)
            if name == b"IHDR" and first:
                missing = _raw_bytes(block)
            elif name == b"IDAT" and missing > 0:
                missing -= _inflated(inflate, block, missing)
            first = False
        expected = stream.read(4)
        if length or len(expected) < 4:
            break
        needed = not name[0] & 0x20  # a capital letter: no decoder may skip the chunk
        if needed and crc != int.from_bytes(expected, "big"):
            raise BadImage(f"damaged: the checksum of its {name.decode('ascii', 'backslashreplace')} chunk is wrong")
        if name == b"IEND":
            break
    if missing > 0:
        raise BadImage("truncated")


def _inflated(inflate: Any, block: bytes, wanted: int) -> int:
    """How many bytes a block of compressed data gives, up to `wanted`; held in memory by small pieces."""
    count = 0
    while block and count < wanted and not inflate.eof:
        count += len(inflate.decompress(block, _BLOCK))
        block = inflate.unconsumed_tail
    return count


def _raw_bytes(header: bytes) -> int:
    """The size of the uncompressed rows that a PNG's header calls for; 0 where it makes no sense, or claims a bomb."""
    if len(header) != 13:
        return 0
    width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", header)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0)
    if not 0 < width * height <= MAX_PIXELS or not bits:
        return 0
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    sizes = ((-((x - width) // dx), -((y - height) // dy)) for x, y, dx, dy in passes)
    return sum(h * (1 + (w * bits + 7) // 8) for w, h in sizes if w > 0 and h > 0)


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
        pixels, note = scaled(np.asarray(image))
        notes.insert(0, note)
    else:
        # CMYK, YCbCr and the like reach gray only by way of RGB
        rgb = image if mode in ("1", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
        pixels = np.array(rgb.convert("L"), dtype=np.uint8)
        notes.insert(0, _NOTES.get(mode, f"{mode}, converted to gray"))
    if pixels.ndim != 2 or not pixels.size:
        raise BadImage("has no pixels")
    return pixels, ", ".join(notes)


def scaled(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale gray values of more than 8 bits so that the maximum becomes 255; negative values become 0."""
    if not values.size:
        raise BadImage("has no pixels")
    if not np.isfinite(values).all():
        raise BadImage("has pixels that are not finite")
    top = float(values.max())
    depth = "floating-point" if values.dtype.kind == "f" else "16-bit" if top < 2**16 else "32-bit"
    if top <= 0:
        return np.zeros(values.shape, np.uint8), f"{depth}, no pixel above zero"
    gray = np.clip(np.rint(values.astype(np.float64) * (255.0 / top)), 0, 255).astype(np.uint8)
    return gray, f"{depth}, scaled by its maximum"
