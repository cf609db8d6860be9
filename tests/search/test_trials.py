"""What a trial came to is of its run's present predictions and thresholds."""

from __future__ import annotations

from pathlib import Path

from comparable import make_run

from zoo.evaluation import Evaluation, ThresholdRule, choose_thresholds
from zoo.runs.run import Run
from zoo.search.trials import measured


def test_results_at_earlier_thresholds_are_measured_again(tmp_path: Path) -> None:
    run = Run(make_run("trial", folder=str(tmp_path)))
    before = measured(run, "f1")
    assert before["val"]["f1"]["value"] == Evaluation.load(run.path, "val").averages["macro"]["f1"].value
    thresholds = choose_thresholds(run.predictions("val"), ThresholdRule("f1"))
    run.update_info(thresholds=thresholds, threshold_rule={"rule": "f1", "value": 0.5})
    after = measured(run, "f1")
    assert after["thresholds"] == thresholds
    assert after["val"]["f1"]["value"] > before["val"]["f1"]["value"]
