"""Images for the benchmarks, written as NIH ChestX-ray14 was published, and Pillow's way of writing which it was not.

The published PNGs have the filter SUB in every row, are deflated at level 1 with the strategy RLE (what OpenCV writes at its
level 1), and lie in IDAT chunks of 8 KB: `published_png` gives back, byte for byte, the files of ../shared/data/nih-originals that
were never written anew. It matters: a decoder's time hangs on the filter, and Pillow would write others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ORIGINALS = Path(__file__).parents[2] / "shared" / "data" / "nih-originals" / "images"
CLASSES = ("negative", "positive")
_SUB, _IDAT = 1, 8192


def published_png(pixels: np.ndarray) -> bytes:
    """A PNG of uint8 gray pixels `(H, W)`, written as the published images are."""
    height, width = pixels.shape
    rows = np.empty((height, width + 1), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1] = pixels[:, 0]
    np.subtract(pixels[:, 1:], pixels[:, :-1], out=rows[:, 2:])
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_RLE)
    data = deflate.compress(rows.data) + deflate.flush()
    parts = [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    parts += [_chunk(b"IDAT", data[at : at + _IDAT]) for at in range(0, len(data), _IDAT)]
    return b"".join([*parts, _chunk(b"IEND", b"")])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def is_gray(file: Path) -> bool:
    """Whether a PNG is 8-bit gray, as its header says."""
    with file.open("rb") as stream:
        return stream.read(26)[24:] == b"\x08\x00"


def originals() -> list[Path]:
    """The gray originals at hand; none where ../shared is not there."""
    return [file for file in sorted(ORIGINALS.glob("*.png")) if is_gray(file)]


def made(number: int, side: int) -> np.ndarray:
    """An image without content, uint8 `(side, side)`: broad shadows and the noise that makes images hard to compress."""
    rng = np.random.default_rng(number)
    coarse = rng.uniform(60, 200, (6, 6))
    at = np.linspace(0, 5, side)
    across = np.stack([np.interp(at, np.arange(6), row) for row in coarse])
    shadows = np.stack([np.interp(at, np.arange(6), column) for column in across.T], axis=1)
    return np.clip(shadows + rng.normal(0, 2, (side, side)), 0, 255).astype(np.uint8)


def distinct(count: int, side: int) -> Iterator[np.ndarray]:
    """Images `(side, side)`, each different from all others: the originals turned and shifted, or made ones."""
    from PIL import Image

    files = originals()
    for number in range(count):
        if not files:
            yield made(number, side)
            continue
        with Image.open(files[number % len(files)]) as image:
            pixels = np.asarray(image if image.size == (side, side) else image.resize((side, side)))
        variant = number // len(files)
        pixels = np.roll(pixels[:, :: -1 if variant % 2 else 1], 7 * variant, axis=1)
        yield np.ascontiguousarray(pixels)


def write_folders(root: Path, side: int, counts: dict[str, int]) -> None:
    """Write ROOT/SPLIT/CLASS/NUMBER.png with so many images in each split; the classes take turns."""
    images = distinct(sum(counts.values()), side)
    for split, count in counts.items():
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
        for number in range(count):
            file = root / split / CLASSES[number % len(CLASSES)] / f"{number:05d}.png"
            file.write_bytes(published_png(next(images)))
