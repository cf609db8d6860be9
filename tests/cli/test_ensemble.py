"""`zoo ensemble`: finished runs become one that every other command accepts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import zoo
from scipy.special import expit

from zoo.evaluation.predictions import Predictions
from zoo.runs.run import Run

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def two(finished: Finished, task: str = "binary") -> None:
    """Two finished runs of which the second is twice as sure as the first."""
    import keras

    for name in ("one", "two"):
        finished(name, task)
    run = Run(Path("runs/two"))
    network = keras.saving.load_model(run.model_file, compile=False)
    network.get_layer("logits").set_weights([2 * w for w in network.get_layer("logits").get_weights()])
    network.save(run.model_file)
    for split in ("val", "test"):
        saved = run.predictions(split)
        run.save_predictions(split, Predictions(saved.task, saved.table, saved.labels, 2 * saved.logits))


def test_the_mean_of_two_runs_is_a_run(finished: Finished) -> None:
    two(finished)
    result = zoo("ensemble", "one", "two", "--run", "both", "--youden", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["ensemble"]["by"] == "mean"
    one, both = Run(Path("runs/one")), Run(Path("runs/both"))
    for split in ("val", "test"):
        logits = one.predictions(split).logits.astype(float)
        expected = (expit(logits) + expit(2 * logits)) / 2
        assert np.abs(both.predictions(split).probabilities - expected).max() <= 1e-6
    assert both.info()["threshold_rule"]["rule"] == "youden"
    assert both.info()["status"] == "complete"
    shown = zoo("evaluate", "both", "--replicates", "20")
    assert shown.exit_code == 0, shown.output
    compared = zoo("compare", "one", "two", "both")
    assert compared.exit_code == 0, compared.output
    assert "both" in compared.stdout
    report = zoo("report", "both", "--no-images")
    assert report.exit_code == 0, report.output
    assert "Nothing was trained" in Path("runs/both/model-card.md").read_text()
    again = zoo("train", "--config", "runs/both/config.yaml")
    assert again.exit_code == 2
    assert "zoo ensemble" in again.stderr


@pytest.mark.slow
def test_weights_and_features_and_what_others_do_with_them(finished: Finished) -> None:
    two(finished, "multilabel")
    given = zoo("ensemble", "one", "two", "--weights", "3,1", "--run", "given")
    assert given.exit_code == 0, given.output
    logits = Run(Path("runs/one")).predictions("test").logits.astype(float)
    expected = 0.75 * expit(logits) + 0.25 * expit(2 * logits)
    assert np.abs(Run(Path("runs/given")).predictions("test").probabilities - expected).max() <= 1e-6
    fitted = zoo("ensemble", "one", "two", "--weights", "fitted", "--run", "fitted")
    assert fitted.exit_code == 0, fitted.output
    assert "Weights fitted to" in fitted.stderr
    assert "too optimistic" in fitted.stderr
    head = zoo("ensemble", "one", "two", "--by", "features", "--epochs", "2", "--run", "head")
    assert head.exit_code == 0, head.output
    assert len(Path("runs/head/metrics.csv").read_text().splitlines()) == 3
    for run in ("given", "head"):
        for form in ("litert", "onnx", "savedmodel"):
            exported = zoo("export", run, "--format", form, "--images", "8")
            assert exported.exit_code == 0, exported.output
        explained = zoo("explain", run, "--split", "test", "--limit", "2")
        assert explained.exit_code == 0, explained.output


@pytest.mark.slow
def test_an_ensemble_loads_where_there_is_no_zoo(finished: Finished, run_python: Callable[..., Any]) -> None:
    two(finished)
    assert zoo("ensemble", "one", "two", "--run", "both").exit_code == 0
    code = (
        "import sys; sys.modules['zoo'] = None; import keras, numpy as np; "
        f"n = keras.saving.load_model({str(Path('runs/both/model.keras').resolve())!r}); "
        "print(n.predict(np.zeros((2, 32, 32, 1), 'uint8'), verbose=0).shape)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("(2, 1)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["one"], "at least two runs"),
        (["one", "one"], "named twice"),
        (["one", "thre"], "there is no run 'thre'"),
        (["one", "two", "--weights", "1"], "1 numbers for 2 runs"),
        (["one", "two", "--weights", "1,0"], "numbers above 0"),
        (["one", "two", "--weights", "a,b"], "'a,b'"),
        (["one", "two", "--by", "mean", "--weights", "1,2"], "goes with --by weighted"),
        (["one", "two", "--epochs", "3"], "trains nothing"),
    ],
)
def test_what_makes_no_ensemble_is_refused(finished: Finished, words: list[str], message: str) -> None:
    finished("one")
    finished("two")
    result = zoo("ensemble", *words, "--run", "new")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not Path("runs/new").exists()


def test_runs_of_two_tasks_are_refused(finished: Finished) -> None:
    finished("one")
    finished("several", "multilabel")
    result = zoo("ensemble", "one", "several", "--run", "new")
    assert result.exit_code == 1
    assert "same labels" in result.stderr
