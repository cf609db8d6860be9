"""Images and sources that tests of the store share; importable by its worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from zoo.core.records import BadImage, ImageSource, Records
from zoo.data.images import FileSource

SUPPORT = Path(__file__).parent  # for the processes that tests start

# a preparation of 60 images, slow enough to be killed amid its work
KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from prepared import Wounded, records_of
from zoo.data import store
if __name__ == "__main__":
    store.CHUNK = 4
    names = [f"{i}.png" for i in range(60)]
    records = records_of(names, Wounded(sys.argv[2], slow=0.03, log=sys.argv[4]))
    store.prepare(records, 16, Path(sys.argv[3]), workers=2)
"""


def write_images(root: Path, count: int, size: int = 40) -> list[str]:
    """Images of noise, named by number; the same for the same number."""
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (size, size), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.png")
    return [f"{i}.png" for i in range(count)]


def records_of(names: Sequence[str], source: ImageSource) -> Records:
    table = pd.DataFrame({"image": list(names), "path": list(names), "patient": list(names), "Mass": 0.0})
    return Records(table, ("Mass",), source)


@dataclass(frozen=True)
class Wounded(ImageSource):
    """Reads files, except that some kill the process as a broken decoder does; `slow` seconds for each image.

    Every image that is read leaves a line in `log`, and the number of the process in `log`.pids.
    """

    root: str
    deadly: tuple[str, ...] = ()
    slow: float = 0.0
    log: str = ""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        if path in self.deadly:
            os._exit(3)
        time.sleep(self.slow)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{path}\n")
            with open(f"{self.log}.pids", "a") as file:
                file.write(f"{os.getpid()}\n")
        return FileSource(self.root).read(path)

    def fingerprint(self, paths: Sequence[str]) -> str:
        return FileSource(self.root).fingerprint(paths)

    def image_keys(self, paths: Sequence[str]) -> list[str]:
        return FileSource(self.root).image_keys(paths)


class NoPixels(ImageSource):
    """A source for tests of tables, of which nothing can be read."""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        raise BadImage("no pixels here")

    def fingerprint(self, paths: Sequence[str]) -> str:
        return ""
