"""Loading the trained network of a run."""

from __future__ import annotations

from typing import Any

from zoo.core.errors import ZooError
from zoo.engine import devices
from zoo.runs.run import Run


def load_network(run: Run) -> Any:
    """Load the run's trained network in Keras' safe mode.

    Raises:
        ZooError: the file is damaged.
    """
    keras = devices.import_keras()
    try:
        return keras.saving.load_model(run.model_file, compile=False, safe_mode=True)
    except Exception as error:
        raise ZooError(f"{run.model_file} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
