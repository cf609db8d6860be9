"""A run's evaluation as it stands: what is saved, unless it is of other predictions or thresholds."""

from __future__ import annotations

from pathlib import Path

import pytest
from comparable import make_run

from zoo.core.errors import DataError
from zoo.evaluation import Evaluation, Predictions, ThresholdRule, choose_thresholds
from zoo.runs.current import current_evaluation
from zoo.runs.run import Run

YOUDEN = ThresholdRule("youden")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(make_run("run", folder=str(tmp_path)))


def test_what_is_saved_is_used_while_it_is_current(run: Run) -> None:
    for split in ("val", "test"):
        assert current_evaluation(run, split) == (Evaluation.load(run.path, split), True)
        assert current_evaluation(run, split, ThresholdRule("fixed"))[1]
        assert current_evaluation(run, split, accept_changed=True)[1]


def test_another_rule_is_applied_without_writing(run: Run) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    found, saved = current_evaluation(run, "test", YOUDEN)
    assert not saved
    assert found.rule == YOUDEN
    assert found.thresholds == choose_thresholds(run.predictions("val"), YOUDEN) != {"Abnormal": 0.5}
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_thresholds_stored_since_are_those_of_the_evaluation(run: Run) -> None:
    thresholds = choose_thresholds(run.predictions("val"), YOUDEN)
    run.update_info(thresholds=thresholds, threshold_rule={"rule": "youden", "value": 0.5})
    found, saved = current_evaluation(run, "test")
    assert (saved, found.thresholds, found.rule) == (False, thresholds, YOUDEN)
    assert (found.seed, found.replicates) == (0, 100)  # those of the saved one
    found.save(run.path)
    assert current_evaluation(run, "test")[1]


def test_predictions_made_since_are_those_of_the_evaluation(run: Run) -> None:
    old = run.predictions("test")
    run.save_predictions("test", Predictions(old.task, old.table, old.labels, -old.logits))
    found, saved = current_evaluation(run, "test")
    assert not saved
    assert found.headline.value == pytest.approx(1 - Evaluation.load(run.path, "test").headline.value)
    assert found.predictions_digest == run.info()["predictions"]["test"]
    assert current_evaluation(run, "val")[1]


def test_an_evaluation_of_an_older_zoo_is_measured_again(run: Run) -> None:
    saved = Evaluation.load(run.path, "test").to_dict()
    del saved["predictions_digest"], saved["rule"]
    run.write_json("evaluation-test.json", saved)
    assert not current_evaluation(run, "test")[1]


def test_without_a_saved_evaluation_there_is_none(run: Run) -> None:
    (run.path / "evaluation-test.json").unlink()
    with pytest.raises(DataError, match="no evaluation at"):
        current_evaluation(run, "test")
