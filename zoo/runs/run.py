"""A run: the directory that holds everything one training left behind."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.errors import DataError, UsageError, ZooError, closest
from zoo.core.files import write_text
from zoo.core.locks import locked
from zoo.core.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from zoo.evaluation.predictions import Predictions

DEFAULT_RUNS_DIR = Path("runs")
LOCK = ".lock"


@dataclass(frozen=True)
class Run:
    """A run directory: config.yaml, run.json, data.json, images.csv, set_aside.csv, metrics.csv, checkpoints/, model.keras,
    predictions/ and evaluations.
    """

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, name: str | None, model: str, task: str) -> Run:
        """Make a new run directory, named by `name` or by date, model and task.

        Raises:
            UsageError: the name is taken or not a plain name.
            ZooError: the directory cannot be written.
        """
        if name is not None and (not re.fullmatch(r"[\w.+=@-]+", name) or name.strip(".") == ""):
            raise UsageError(
                f"a run's name is letters, digits and any of . _ + = @ -, not '{name}'; --runs-dir says where it lies."
            )
        stem = name or f"{time.strftime('%Y-%m-%d-%H%M%S')}-{model}-{task}"
        path = runs_dir / stem
        for number in range(2, 1000):
            try:
                path.mkdir(parents=True)
            except FileExistsError as error:
                if not path.exists():  # something else in the way, such as a link to nowhere
                    raise ZooError(
                        f"cannot write the run directory {path}: {error.strerror}. Choose another with --runs-dir."
                    ) from error
                if name is not None:
                    raise UsageError(
                        f"the run '{name}' exists already in {runs_dir}. Choose another --run NAME, or delete {path} first."
                    ) from error
                path = runs_dir / f"{stem}-{number}"
            except OSError as error:
                raise ZooError(
                    f"cannot write the run directory {path}: {error.strerror}. Choose another with --runs-dir."
                ) from error
            else:
                return cls(path)
        raise ZooError(f"{runs_dir} holds a thousand runs named {stem}. Choose another --run NAME.")

    @classmethod
    def find(cls, reference: str, runs_dir: Path = DEFAULT_RUNS_DIR) -> Run:
        """The run that a user means by a name or a path.

        Raises:
            UsageError: there is none, with the closest name and the folder that was searched; or an older zoo made it.
            DataError: one of its files is no regular file of its folder (`zoo.runs.checks.check_files`).
        """
        from zoo.runs.checks import check_files

        for path in (Path(reference), runs_dir / reference):
            if os.path.lexists(path / "config.yaml") and path.is_dir():
                check_files(path)
                if (path / "films.csv").is_file():  # what images.csv was called
                    raise UsageError(
                        f"the run {path} was made by an older zoo, whose runs cannot be read. Train it again."
                    )
                return cls(path)
        for path in (Path(reference), runs_dir / reference):
            if (path / LOCK).is_file():
                raise UsageError(
                    f"the run {path} ended before its configuration was written: there is nothing to go on from. Delete the "
                    "folder and train anew."
                )
        there = [p.parent.name for p in sorted(runs_dir.glob("*/config.yaml"))]
        near = closest(reference, there)
        hint = f" Did you mean '{near}'?" if near else ""
        seen = (
            f"{len(there)} run(s) lie in {runs_dir}."
            if there
            else f"No run lies in {runs_dir}: train one with 'zoo train'."
        )
        raise UsageError(
            f"there is no run '{reference}'.{hint} {seen} Use --runs-dir for another folder, or give a path."
        )

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def reference(self) -> str:
        """What a user types to mean this run: its name where it lies in the default folder of runs, else its path."""
        return self.name if self.path.parent == DEFAULT_RUNS_DIR else str(self.path)

    @property
    def model_file(self) -> Path:
        return self.path / "model.keras"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run, so that one process at a time trains it.

        Raises (on entering):
            ZooError: another process holds it, or the folder cannot be written.
        """
        return locked(self.path / LOCK, busy=f"the run {self.path} is being trained")

    def predictions_file(self, split: str) -> Path:
        return self.path / "predictions" / f"{split}.csv"

    def config(self) -> dict[str, Any]:
        """The resolved configuration.

        Raises:
            ZooError: the file is damaged.
        """
        from zoo.runs.checks import read_config

        return read_config(self.path)

    def setting(self, name: str) -> Any:
        """One setting of the resolved configuration.

        Raises:
            ZooError: the file is damaged, or has no such setting.
        """
        found = self.config()
        if name not in found:
            raise DataError(f"{self.path / 'config.yaml'} has no {name}: it was damaged. Restore it from a copy.")
        return found[name]

    def data(self) -> dict[str, Any]:
        """data.json: the dataset, its fingerprint and store, images and patients per split.

        Raises:
            ZooError: the file is missing or damaged.
        """
        from zoo.runs.checks import read_data

        return read_data(self.path)

    def known_data(self) -> dict[str, Any]:
        """As `data`; empty where the run has no data.json."""
        return self.data() if os.path.lexists(self.path / "data.json") else {}

    def info(self) -> dict[str, Any]:
        """run.json: status, labels, thresholds, times, versions.

        Raises:
            ZooError: the file is missing or damaged.
        """
        from zoo.runs.checks import read_info

        return read_info(self.path)

    def update_info(self, **values: Any) -> None:
        """Set keys of run.json, keeping the others."""
        before = self.info() if (self.path / "run.json").exists() else {}
        self.write_json("run.json", before | values)

    def task(self) -> Task:
        """The task the run was trained for."""
        info = self.info()
        if missing := [key for key in ("task", "labels") if key not in info]:
            raise DataError(f"{self.path / 'run.json'} lacks {' and '.join(missing)}: this is not a complete run.")
        return Task(info["task"], tuple(info["labels"]))

    def save_predictions(self, split: str, predictions: Predictions) -> None:
        """Write the predictions of one split, and their digest into run.json."""
        from zoo.evaluation.predictions import Predictions

        file = self.predictions_file(split)
        predictions.save(file)
        digest = Predictions.load(file, predictions.task).digest
        self.update_info(predictions={**self._digests(), split: digest})

    def predictions(self, split: str, *, accept_changed: bool = False) -> Predictions:
        """The saved predictions of one split of the run's own images, checked against run.json and images.csv.

        Args:
            split: "val" or "test".
            accept_changed: whether predictions that were changed since are read, with a note, instead of refused.

        Raises:
            ZooError: there are none, they cannot be read, or they were changed; see `zoo.runs.integrity.checked`.
        """
        from zoo.evaluation.predictions import Predictions, read_table
        from zoo.runs.integrity import COLUMNS, checked

        file, info = self.predictions_file(split), self.info()
        if not file.exists():
            status = info.get("status")
            what = f"Train it to the end: zoo train --resume {self.reference}"
            if status == "complete":
                config = self.path / "config.yaml"
                what = f"{file} was removed: restore it, or train the run anew: zoo train --config {config}"
            raise ZooError(f"the run {self.name} has no predictions for {split} (status: {status}). {what}")
        found = Predictions.load(file, self.task())
        table = self.path / "images.csv"
        images = read_table(table, ["image", "patient", "split"], COLUMNS) if table.exists() else None
        return checked(found, split, images, self._digests().get(split), self.name, accept_changed)

    def _digests(self) -> dict[str, str]:
        """The digests of the predictions by split, as far as the run keeps any."""
        info = self.info() if (self.path / "run.json").exists() else {}
        return dict(info.get("predictions") or {})

    def images(self) -> pd.DataFrame:
        """images.csv: image, patient, split, digest, what else is known of every image, and its labels (`label:NAME`).

        Raises:
            ZooError: the file is missing or damaged.
        """
        from zoo.evaluation.predictions import read_table

        return read_table(self.path / "images.csv", ["image", "patient", "split"])

    def write_json(self, name: str, value: Any) -> None:
        write_text(self.path / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
