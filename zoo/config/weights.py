"""Which weights a network can start from: the names and files that --weights takes."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zoo.core.contracts import ModelInfo
from zoo.core.errors import UsageError, unknown

RUN_FILES = ("model.keras", "checkpoints/best.weights.h5", "checkpoints/last.weights.h5")
_SUFFIXES = (".keras", ".weights.h5", ".h5", ".hdf5")


def check_weights(info: ModelInfo, weights: str | None) -> None:
    """Check, before anything is built, that a model has such weights or that there is such a file.

    Raises:
        UsageError: neither; says what is valid.
    """
    if weights is None or weights == "none" or weights in info.pretrained:
        return
    if _looks_like_a_name(weights):
        hint = "A path to a .keras, .weights.h5 or .h5 file or to a run is valid too."
        raise unknown(f"weights of {info.name}:", weights, ["none", *info.pretrained], hint)
    weights_file(weights)


def weights_file(path: str | Path) -> Path:
    """The weights file that a path means: itself, or of a run its final model, else its best or last checkpoint.

    Raises:
        UsageError: there is no such file, or it is of another kind.
    """
    path = Path(os.path.expanduser(path))  # ~ stays where there is no home folder
    if path.is_dir():
        for name in RUN_FILES:
            if (path / name).is_file():
                return path / name
        raise UsageError(f"the directory {path} has no weights: looked for {', '.join(RUN_FILES)}.")
    if not path.is_file():
        raise UsageError(
            f"there is no weights file {path}. Give a .keras, .weights.h5 or .h5 file, or a run directory."
        )
    if not path.name.endswith(_SUFFIXES):
        raise UsageError(f"{path} is not a weights file that can be read: it must end in {' or '.join(_SUFFIXES)}.")
    return path


def _looks_like_a_name(weights: str) -> bool:
    return re.fullmatch(r"[\w-]+", weights) is not None and not Path(weights).exists()
