"""Fits a run's OOD detector on its validation images: at the end of training or later."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.core.registry import Registry
from zoo.data.pipeline import ImageSet
from zoo.inference.ood import FILE, LEAST, OODDetector, choose, fit_detector
from zoo.runs.run import Run

logger = logging.getLogger(__name__)


def fit_after_training(network: Any, images: ImageSet, run: Run, batch_size: int) -> None:
    """Fit and save the OOD detector of a run that has just been trained.

    There is none if the validation images are too few or the network has no features.
    """
    rows = images.of("val")
    (run.path / FILE).unlink(missing_ok=True)
    if len(rows) < LEAST:
        return
    try:
        detector = _fit(network, images.store.images, images.rows[rows], images.table["patient"].iloc[rows], batch_size)
    except ZooError:
        return
    detector.save(run.path / FILE)


def fit_for_run(run: Run, registry: Registry) -> OODDetector:
    """Fit and save the OOD detector of a finished run on the validation images of its dataset.

    Args:
        run: a finished run.
        registry: where its dataset's reader is.

    Raises:
        ZooError: the dataset was moved, its images changed, or they are too few.
    """
    from zoo.data.run_images import run_images
    from zoo.engine import devices
    from zoo.engine.load import load_network

    if not run.model_file.exists():
        raise ZooError(f"the run {run.name} has no trained network ({run.model_file} is missing).")
    config = run.config()
    found = run_images(run, "val", registry)
    with devices.session("auto", config["precision"], config["seed"]):
        network = load_network(run)
        patients = found.listed["patient"].fillna(found.listed["image"])  # as in training, where they are not known
        detector = _fit(network, found.images, found.rows, patients, config["batch_size"])
    detector.save(run.path / FILE)
    logger.info(
        f"OOD detector: fitted on {detector.images:,} validation images; {detector.rate:.1%} of such images will be flagged"
    )
    return detector


def _fit(network: Any, images: np.ndarray, rows: np.ndarray, patients: Any, batch_size: int) -> OODDetector:
    chosen = choose(len(rows))
    rows = rows[chosen]
    return fit_detector(features_of(network, images, rows, batch_size), images[rows], np.asarray(patients)[chosen])


def features_of(network: Any, images: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Features `(len(rows), D)` of the given rows of the store."""
    from zoo.data.checked import naming_damage
    from zoo.engine.feed import inference_feed
    from zoo.inference.features import with_features
    from zoo.nn.fused_norm import fused_batch_norm

    steps = -(-len(rows) // batch_size)
    with fused_batch_norm(network), naming_damage(images):
        outputs = with_features(network).predict(inference_feed(images, rows, batch_size), steps=steps, verbose=0)
    return np.asarray(outputs[1])[: len(rows)]
