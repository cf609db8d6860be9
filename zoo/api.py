"""The Python face of zoo: `zoo.load`, `zoo.train` and `zoo.list_models`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from zoo.config.arguments import TrainingArguments, layers, with_settings
from zoo.core.errors import unknown
from zoo.runs.run import DEFAULT_RUNS_DIR, Run

if TYPE_CHECKING:
    from zoo.evaluation import Evaluation
    from zoo.inference.classifier import Classifier


@dataclass(frozen=True)
class Trained:
    """A finished training: the run, and what was measured on its test images and on its validation images."""

    run: Run
    results: Evaluation
    validation: Evaluation

    def load(self, **options: Any) -> Classifier:
        """The trained classifier; options as in `zoo.load`."""
        return load(self.run, **options)


def load(
    run: str | Path | Run,
    *,
    runs_dir: str | Path = DEFAULT_RUNS_DIR,
    runtime: str = "auto",
    device: str = "auto",
    force: bool = False,
) -> Classifier:
    """Load a finished run: `zoo.load("NAME").predict("image.png")`.

    Args:
        run: a name in `runs_dir`, or a path.
        runs_dir: the folder of runs.
        runtime: what computes: auto (the fastest that is installed and ready), keras, litert or onnx.
        device: auto, cpu, gpu or gpu:N.
        force: read DICOM files whose tags say that they are no images the network knows.

    Raises:
        UsageError: there is no such run, runtime or device.
        ZooError: the run is not finished, or damaged.
    """
    from zoo.inference.classifier import Classifier

    found = run if isinstance(run, Run) else Run.find(str(run), Path(runs_dir))
    return Classifier.open(found, runtime=runtime, device=device, force=force)


@with_settings
def train(
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    run: str | None = None,
    runs_dir: str | Path = DEFAULT_RUNS_DIR,
    checkpoint_every: int | None = None,
    **settings: Unpack[TrainingArguments],
) -> Trained:
    """Train a network: `zoo.train(model="tiny-cnn", data={"name": "phantom", "patients": 40}, epochs=1)`.

    Args:
        config: configuration to start from: a YAML file such as RUN/config.yaml, or a mapping like it.
        run: name of the run; None: date, model and task.
        runs_dir: folder of runs.
        checkpoint_every: save after this many steps too; None: after every epoch only.
        settings: the settings of `zoo train` and of config.yaml; `zoo info train` lists them. A strategy (`data`, `model`,
            `loss`, `augment`, `optimizer`, `schedule`) is a name, names joined by `+`, or a mapping with `name` and options;
            `threshold` is the name of a rule, a fixed threshold, or a mapping with `rule` and `value`. None means the default.

    Returns:
        The run with its results on test and validation images.

    Raises:
        UsageError: a setting, name, option or combination is not valid; the message says what is.
        ZooError: the data or the folder of runs cannot be used, or the training diverged.
        Interrupted: Ctrl-C (a KeyboardInterrupt); the run is kept, and `zoo train --resume` continues it.
    """
    from zoo.config.resolve import read_file, resolve
    from zoo.core.registry import registry
    from zoo.inference.training import train as train_run

    below = [] if config is None else [config if isinstance(config, Mapping) else read_file(Path(config))]
    resolved = resolve([*below, *layers(settings, Path(runs_dir))], registry())
    outcome = train_run(resolved, registry(), Path(runs_dir), run, checkpoint_every=checkpoint_every)
    return Trained(outcome.run, outcome.test, outcome.validation)


def list_models(task: str | None = None) -> list[str]:
    """Names of the registered models, in alphabetical order; with `task` of those that serve it.

    Raises:
        UsageError: there is no such task.
    """
    from zoo.core.registry import registry
    from zoo.core.tasks import TASKS

    if task is not None and task not in TASKS:
        raise unknown("task", task, TASKS)
    return sorted(
        entry.name for entry in registry().entries("model") if task is None or task in entry.strategy.info.tasks
    )
