"""Shared by the corpora of images: a case is a name, a file's bytes or what makes them, and the words of its refusal."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness import Case

Entry = tuple[str, bytes | Callable[[], bytes], str | None]
NAME = "image"
BOMB, PARTS, FRAMES = "decompression bomb", r"over the limit of 100,000 parts", "over the limit of 5,000 frames"


def write(folder: Path, content: bytes | Callable[[], bytes]) -> None:
    (folder / NAME).write_bytes(content if isinstance(content, bytes) else content())


def read(folder: Path) -> Any:
    """As `zoo predict` and `zoo data prepare` read a file."""
    from zoo.data.resize import square
    from zoo.inference.intake import read_image

    pixels, _ = read_image(folder / NAME)
    return pixels.dtype.name == "uint8" and square(pixels, 32).shape == (32, 32)


def cases(kind: str, entries: Iterable[Entry]) -> Iterator[Case]:
    for name, content, refused in entries:
        yield Case(f"{kind}: {name}", partial(write, content=content), read, refused)


def cuts(content: bytes, places: dict[str, int], refused: str) -> Iterator[Entry]:
    """A file that ends early, at each of the places that have a name."""
    for name, at in places.items():
        yield f"ends {name}", content[:at], refused


def zeros(size: int, wrapped: bool = True) -> bytes:
    """So many zeros, in whole megabytes, deflated to a thousandth; with the head and sum of zlib where `wrapped`."""
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = squeeze.compress(bytes(1 << 20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    data = block * (size >> 20) + b"\3\0"
    return b"\x78\xda" + data + struct.pack(">HH", size % 65_521, 1) if wrapped else data


def patched(content: bytes, at: int, data: bytes) -> bytes:
    return content[:at] + data + content[at + len(data) :]
