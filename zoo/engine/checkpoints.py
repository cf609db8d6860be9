"""Checkpoints: files that hold a whole training, written atomically, checked when read, the last two kept."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, ZooError
from zoo.core.files import open_regular, replacing
from zoo.core.npz import read_arrays

logger = logging.getLogger(__name__)

FORMAT = 1
KEPT = 2
_DIGEST = 32  # bytes
_HEADER = "header"  # the name under which the JSON part lies among the arrays
_NAME = re.compile(r"checkpoint-(\d{6,})\.npz")


class DamagedCheckpoint(ZooError):
    """A checkpoint is truncated, altered or of another format."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: plain values ready for JSON, and arrays by name."""

    state: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: an uncompressed .npz file without pickles, behind it its 32-byte BLAKE2b digest.

    NumPy reads the file as it is, since a zip archive may be followed by other bytes.

    Raises:
        OSError: the file cannot be written; what was there before is untouched.
    """
    header = json.dumps({"format": FORMAT, "state": dict(checkpoint.state)}).encode()
    # `savez` takes the names as keywords: a file object first, so that it does not add a suffix
    arrays: dict[str, Any] = {_HEADER: np.frombuffer(header, np.uint8), **checkpoint.arrays}
    with replacing(path) as partial:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        digest = _digest(partial, partial.stat().st_size)
        with partial.open("ab") as file:
            file.write(digest)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint whose digest is right; nothing of any other file is interpreted.

    Raises:
        DamagedCheckpoint: it cannot be read or is not what was written.
    """
    try:
        size = path.stat().st_size - _DIGEST
        with open_regular(path) as file:
            file.seek(max(size, 0))
            expected = file.read()
        if size <= 0 or _digest(path, size) != expected:
            raise DamagedCheckpoint("it is truncated or altered (its checksum is wrong)")
        arrays = read_arrays(path)
        header = json.loads(arrays.pop(_HEADER).tobytes())
    except (OSError, ValueError, DataError, KeyError, RecursionError) as error:
        raise DamagedCheckpoint(f"it cannot be read ({' '.join(str(error).split())})") from error
    if header["format"] != FORMAT:
        raise DamagedCheckpoint(f"its format is {header['format']}, this version of zoo reads {FORMAT}")
    return Checkpoint(header["state"], arrays)


def pack(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the bytes of its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.npz")
        write_checkpoint(file, checkpoint)
        return file.read_bytes()


def unpack(data: bytes) -> Checkpoint:
    """The checkpoint that `pack` turned into bytes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.npz")
        file.write_bytes(data)
        return read_checkpoint(file)


def _digest(path: Path, size: int) -> bytes:
    """BLAKE2b of the first `size` bytes of a file."""
    digest = hashlib.blake2b(digest_size=_DIGEST)
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, 1 << 20))):
            digest.update(block)
            size -= len(block)
    return digest.digest()


class CheckpointFolder:
    """The numbered checkpoints of a run. A new one is complete before the oldest goes, so two are always there to go on from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept: list[Path] = []  # those known to be good, oldest first

    def paths(self) -> list[Path]:
        """All checkpoints, the newest first."""
        found = [path for path in self.folder.glob("checkpoint-*.npz") if _NAME.fullmatch(path.name)]
        return sorted(found, key=_number, reverse=True)

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write the next checkpoint and remove all but it and the one before.

        Raises:
            OSError: it cannot be written; the others are untouched.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        there = self.paths()
        path = self.folder / f"checkpoint-{_number(there[0]) + 1 if there else 1:06d}.npz"
        write_checkpoint(path, checkpoint)
        self._kept = [*self._kept, path][-KEPT:]
        for old in there:
            if old not in self._kept:
                old.unlink(missing_ok=True)
        logger.debug(f"Saved {path}")
        return path

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; a warning names each damaged one. None where there is none."""
        found = self.paths()
        for place, path in enumerate(found):
            try:
                checkpoint = read_checkpoint(path)
            except DamagedCheckpoint as error:
                rest = "the one before it is used" if place + 1 < len(found) else "training starts from the beginning"
                logger.warning(f"the checkpoint {path} cannot be used, {error}: {rest}")
                continue
            self._kept = [path]
            return checkpoint
        return None


def _number(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else 0
