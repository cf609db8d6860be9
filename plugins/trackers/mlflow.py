"""MLflow: parameters, metrics of every epoch, results with intervals, small files of the run and its model."""

from __future__ import annotations

import json
import math
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo import Info, Observer, Tracker, UsageError, ZooError, hookimpl
from zoo.core.files import write_text

EXPERIMENT = "zoo"
REMEMBERED = "mlflow.json"  # in the run's folder: where it is tracked, for --resume
FILES = ("config.yaml", "data.json", "metrics.csv", "evaluation-*.json", "metrics-*.csv")
MODEL = "model.keras"
ENDS = {"complete": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}
PARAMETERS_AT_ONCE = 100  # what one request of MLflow's REST interface may hold
METRICS_AT_ONCE = 1000  # likewise
# give up on a server that is gone within seconds, unless the user has set these
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class MLflow(Tracker):
    """Logs a run to MLflow: by default to a SQLite file beside the runs, else to a server or database by its URI."""

    info = Info(
        name="mlflow",
        summary="MLflow: mlflow.db beside the runs, or a server by its URI (mlflow=http://host:5000)",
        licence="Apache-2.0",
    )

    def build(self, target: str) -> Observer:
        try:
            import mlflow.tracking  # noqa: F401  # is it installed?
            import sqlalchemy  # noqa: F401  # is it installed?
        except ImportError as error:
            raise UsageError(f"--track mlflow needs MLflow ({error}): pip install 'cxr-zoo[track]'.") from error
        return MLflowRun(target or os.environ.get("MLFLOW_TRACKING_URI", ""))


class MLflowRun(Observer):
    """One run in MLflow. A resumed run continues the same MLflow run and logs no epoch twice."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.folder: Path | None = None

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        folder = folder.resolve()
        uri = self.uri or f"sqlite:///{folder.parent / 'mlflow.db'}"
        with _quiet():
            from mlflow.tracking import MlflowClient

            try:
                self.client = MlflowClient(tracking_uri=uri)
                self.id = self._known(folder, uri) or self._new(folder, config, uri)
            except Exception as error:  # whatever the store raises
                reason = str(error).split(":")[0] if uri.startswith("http") else str(error)
                raise ZooError(
                    f"MLflow cannot be reached at {uri} ({reason}). Start the server, give another URI with --track mlflow=URI, or "
                    "leave out --track."
                ) from error
            self.folder = folder
            done = {metric.step for metric in self.client.get_metric_history(self.id, "loss")}
        for row in rows:
            if row["epoch"] not in done:
                self.on_epoch(row)

    def _known(self, folder: Path, uri: str) -> str | None:
        """The MLflow run that an earlier process started."""
        try:
            kept = json.loads((folder / REMEMBERED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if kept.get("uri") != uri:
            return None
        self.client.update_run(kept["run_id"], status="RUNNING")
        return str(kept["run_id"])

    def _new(self, folder: Path, config: Mapping[str, Any], uri: str) -> str:
        from mlflow.entities import Param

        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            place = None if uri.startswith("http") else (folder.parent / "mlflow-files").as_uri()
            number = self.client.create_experiment(EXPERIMENT, artifact_location=place)
        else:
            number = experiment.experiment_id
        tags = {"zoo.run": str(folder), "zoo.task": config["task"]}
        made: str = self.client.create_run(number, run_name=folder.name, tags=tags).info.run_id
        parameters = [Param(key, str(value)) for key, value in _flat(config)]
        for first in range(0, len(parameters), PARAMETERS_AT_ONCE):
            self.client.log_batch(made, params=parameters[first : first + PARAMETERS_AT_ONCE])
        write_text(folder / REMEMBERED, json.dumps({"uri": uri, "run_id": made}) + "\n")
        return made

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        self._log({key: value for key, value in row.items() if key != "epoch"}, int(row["epoch"]))

    def on_end(self, status: str) -> None:
        if self.folder is None:
            return  # it failed before it began
        if status == "complete":
            self._log(_results(self.folder), 0)
        with _quiet():
            self.client.set_tag(self.id, "zoo.status", status)
            for pattern in FILES:
                for file in sorted(self.folder.glob(pattern)):
                    self.client.log_artifact(self.id, str(file))
            if status == "complete":
                self.client.log_artifact(self.id, str(self.folder / MODEL), "model")
            self.client.set_terminated(self.id, ENDS[status])

    def _log(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        numbers = {k: float(v) for k, v in values.items() if isinstance(v, (int, float)) and math.isfinite(v)}
        metrics = [Metric(key, each, now, step) for key, each in numbers.items()]
        with _quiet():
            for first in range(0, len(metrics), METRICS_AT_ONCE):
                self.client.log_batch(self.id, metrics=metrics[first : first + METRICS_AT_ONCE])


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield above + key, value


def _results(folder: Path) -> dict[str, float]:
    """On validation and test the macro averages and the values of each finding, with the bounds of their 95% intervals.

    Those of a finding stand behind its name and a slash, by which MLflow groups metrics.
    """
    found: dict[str, float] = {}
    for split in ("val", "test"):
        results = json.loads((folder / f"evaluation-{split}.json").read_text(encoding="utf-8"))
        of = {"": results["averages"]["macro"]}
        of |= {f"{_plain(label)}/": values for label, values in results["per_label"].items()}
        for group, values in of.items():
            for metric, interval in values.items():
                name = f"{group}final_{split}_{metric}"
                found |= {name: interval["value"], f"{name}_low": interval["low"], f"{name}_high": interval["high"]}
    return found


def _plain(label: str) -> str:
    """A finding's name with the characters that MLflow takes."""
    return re.sub(r"[^\w. -]", "_", label, flags=re.ASCII)


@contextmanager
def _quiet() -> Iterator[None]:
    """MLflow uses parts of SQLAlchemy that are deprecated, and logs how it makes its tables: nothing a user can act on."""
    import logging

    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(before)


@hookimpl
def zoo_trackers() -> list[Tracker]:
    return [MLflow()]
