"""A saved network in a process that has not built it: what predict, export and serve find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from zoo.core.registry import registry
from zoo.engine.load import custom_layers, load_file


def logits_elsewhere(file: Path, pixels: np.ndarray) -> np.ndarray | None:
    """The logits of a `.keras` file for `pixels` `(N, S, S, 1)` in a fresh process; None for one of Keras' own layers alone,
    which any process can load.

    Raises:
        AssertionError: it cannot be loaded there; says why.
    """
    import keras

    if not custom_layers(file):
        return None
    images, logits = file.with_name("pixels.npy"), file.with_name("logits.npy")
    np.save(images, pixels)
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(file), str(images), str(logits)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    assert done.returncode == 0, f"in a fresh process, as for zoo predict: {last.rpartition('ZooError: ')[2]}"
    return np.asarray(np.load(logits))


def _main(file: str, images: str, logits: str) -> None:
    import keras

    network = load_file(Path(file), registry())
    np.save(logits, keras.ops.convert_to_numpy(network(np.load(images), training=False)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
