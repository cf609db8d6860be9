"""`zoo train --track`: what the trackers hold after a whole training, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import PHANTOM, refused, zoo

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_both_trackers_hold_the_training_and_mlflow_its_results() -> None:
    from mlflow.tracking import MlflowClient

    result = zoo("train", *PHANTOM, "--track", "tensorboard", "--track", "mlflow", "--run", "seen", "--json")
    assert result.exit_code == 0, result.output
    run = Path("runs/seen")
    assert json.loads((run / "run.json").read_text())["track"] == ["tensorboard", "mlflow"]
    assert len(list((run / "tensorboard").glob("events.out.tfevents.*"))) == 1
    kept = json.loads((run / "mlflow.json").read_text())
    assert Path(kept["uri"].removeprefix("sqlite:///")) == Path("runs/mlflow.db").resolve()
    found = MlflowClient(tracking_uri=kept["uri"]).get_run(kept["run_id"])
    assert (found.info.status, found.data.tags["zoo.status"]) == ("FINISHED", "complete")
    test = json.loads(result.stdout)["test"]["averages"]["macro"]["auroc"]
    for group in ("", "Abnormal/"):  # of a single finding the average is its own value
        told = [found.data.metrics[f"{group}final_test_auroc{bound}"] for bound in ("", "_low", "_high")]
        assert told == pytest.approx([test["value"], test["low"], test["high"]])
    (model,) = MlflowClient(tracking_uri=kept["uri"]).list_artifacts(kept["run_id"], "model")
    assert model.file_size == (run / "model.keras").stat().st_size


def test_trackers_that_are_not_there_are_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    refused(zoo("train", *PHANTOM, "--track", "wandb"), 2, "unknown tracker 'wandb'", "mlflow, tensorboard")
    refused(zoo("train", *PHANTOM, "--track", "mlflow=http://127.0.0.1:9"), 1, "MLflow cannot be reached at")
