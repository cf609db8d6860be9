"""The pause between the last batch of an epoch and the start of validation, in a training by `zoo train`.

    python benchmarks/epoch_gap.py [EPOCHS [IMAGE_SIZE]]

One training of MobileNetV3Small on phantom images (420 in batches of 32, at 96 pixels) for EPOCHS (20). Before it validates, zoo
sees some training batches again to re-estimate the statistics of batch normalisation: that is computing, and not a pause. So
there are two pauses: from the end of the last step to the first of those batches, and from the end of the last of them to
the first batch of validation. A line of benchmarks/results/epoch_gap.csv for each epoch:

- `gap_ms`: both pauses, in which no batch is computed;
- `idle_ms`: what of them was spent without using the processor: asleep, or waiting for the disk or for other programs;
- `statistics_ms`: the re-estimation between them;
- `to_validation_ms`: from the end of the last step to the first batch of validation, all in all.

A batch begins when Keras is given it. In the first epoch TensorFlow then traces the function that computes it, which counts as
computing: it is in `statistics_ms` of that epoch, and for validation behind what is measured here.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from common import machine, write_csv

BATCH, IMAGES = 32, 600
Moment = tuple[float, float]


def now() -> Moment:
    return time.perf_counter(), time.process_time()


class Moments:
    """The four moments of each epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, Moment]] = []

    def first(self, name: str) -> None:
        self.epochs[-1].setdefault(name, now())

    def last(self, name: str) -> None:
        self.epochs[-1][name] = now()


def train(epochs: int, size: int) -> Moments:
    """Train with the moments taken."""
    import keras

    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.engine.batch_norm import BatchStatistics
    from zoo.engine.steps import Steps
    from zoo.inference.training import train as zoo_train

    moments = Moments()
    begin, after, predict = Steps.begin_epoch, Steps.after, keras.Model.predict_on_batch

    def begin_epoch(self: Steps) -> None:
        moments.epochs.append({})
        begin(self)

    def after_step(self: Steps, loss: Any) -> None:
        after(self, loss)
        moments.last("stepped")

    def watched_predict(self: keras.Model, images: Any) -> Any:
        name = "statistics" if isinstance(self, BatchStatistics) else "validation"
        if not moments.epochs:
            return predict(self, images)
        moments.first(name)
        found = predict(self, images)
        moments.last(f"{name} done")
        return found

    data = {"name": "phantom", "patients": IMAGES}
    layer = {"model": {"name": "mobilenetv3"}, "data": data, "limit": IMAGES, "weights": "none", "batch_size": BATCH}
    config = resolve([{**layer, "epochs": epochs, "image_size": size, "augment": "none"}], registry())
    with (
        tempfile.TemporaryDirectory() as runs,
        mock.patch.object(Steps, "begin_epoch", begin_epoch),
        mock.patch.object(Steps, "after", after_step),
        mock.patch.object(keras.Model, "predict_on_batch", watched_predict),
    ):
        zoo_train(config, registry(), Path(runs), "run")
    return moments


def line(number: int, found: dict[str, Moment]) -> dict[str, Any]:
    pauses = [(found["stepped"], found["statistics"]), (found["statistics done"], found["validation"])]
    gap = sum(end[0] - start[0] for start, end in pauses)
    idle = sum(max(0.0, (end[0] - start[0]) - (end[1] - start[1])) for start, end in pauses)
    return {
        "epoch": number,
        "gap_ms": f"{gap * 1e3:.1f}",
        "idle_ms": f"{idle * 1e3:.1f}",
        "statistics_ms": f"{(found['statistics done'][0] - found['statistics'][0]) * 1e3:.1f}",
        "to_validation_ms": f"{(found['validation'][0] - found['stepped'][0]) * 1e3:.1f}",
    }


def main() -> None:
    epochs, size = (int(sys.argv[at]) if len(sys.argv) > at else n for at, n in ((1, 20), (2, 96)))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ZOO_CACHE"] = cache
        moments = train(epochs, size)
    write_csv(
        "epoch_gap",
        [
            {**line(number, found), "model": "mobilenetv3", "image_size": size, **machine()}
            for number, found in enumerate(moments.epochs, 1)
        ],
    )


if __name__ == "__main__":
    main()
