"""Everything measured on a run's split, from its saved files: made-up predictors each get the right conclusion."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zoo.core.errors import DataError, UsageError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions, ThresholdRule, conclude
from zoo.runs.leaks import Leak
from zoo.runs.results import evaluate_run
from zoo.runs.run import Run

IMAGES = {"train": 120, "val": 60, "test": 120}


def make_images(seed: int = 0) -> pd.DataFrame:
    """Two images a patient; age says a little about the label."""
    random = np.random.default_rng(seed)
    parts = []
    for split, count in IMAGES.items():
        age = random.integers(20, 90, count)
        label = (random.random(count) < age / 120).astype(float)
        names = [f"{split}{i}.png" for i in range(count)]
        patients = [f"{split}-{i // 2}" for i in range(count)]
        sex = random.choice(["F", "M"], count)
        parts.append(
            pd.DataFrame(
                {"image": names, "patient": patients, "split": split, "age": age, "sex": sex, "label:Abnormal": label}
            )
        )
    return pd.concat(parts, ignore_index=True)


def make_run(folder: Path, table: pd.DataFrame, logits: np.ndarray, kind: str = "binary") -> Run:
    """A finished run without a network: tables, predictions and what the other files say."""
    run = Run(folder / "made")
    (run.path / "predictions").mkdir(parents=True)
    (run.path / "config.yaml").write_text("seed: 0\nthreshold: {rule: fixed, value: 0.5}\n")
    run.write_json("run.json", {"status": "complete", "task": kind, "labels": ["Abnormal"], "model": "made"})
    table.to_csv(run.path / "images.csv", index=False)
    task = Task("binary", ("Abnormal",))
    for split in ("val", "test"):
        rows = (table["split"] == split).to_numpy()
        chosen = table[rows].reset_index(drop=True)
        labels = chosen[["label:Abnormal"]].to_numpy(np.float32)
        metadata = chosen.drop(columns="label:Abnormal")
        run.save_predictions(split, Predictions(task, metadata, labels, logits[rows, None]))
    return run


def noisy(table: pd.DataFrame, strength: float, seed: int = 4) -> np.ndarray:
    """Logits that rank the images by their label, by as much as `strength` says; 0 is noise alone."""
    noise = np.random.default_rng(seed).normal(size=len(table))
    return np.asarray(strength * (2 * table["label:Abnormal"] - 1) + noise, dtype=np.float32)


@pytest.mark.parametrize(
    ("strength", "kind"),
    [(1.0, "better_than_chance"), (0.0, "chance"), (-1.0, "worse_than_chance"), (50.0, "near_perfect")],
    ids=["useful", "noise", "inverted", "perfect"],
)
def test_each_predictor_gets_its_conclusion(tmp_path: Path, strength: float, kind: str) -> None:
    table = make_images()
    result = evaluate_run(make_run(tmp_path, table, noisy(table, strength)), replicates=200)
    assert conclude(result.evaluation).kind == kind
    assert result.leaks == ()


def test_a_constant_predictor_is_called_one(tmp_path: Path) -> None:
    table = make_images()
    result = evaluate_run(make_run(tmp_path, table, np.full(len(table), 0.3, np.float32)), replicates=200)
    assert conclude(result.evaluation).kind == "constant"
    assert result.evaluation.headline.value == 0.5


def test_a_leak_is_reported(tmp_path: Path) -> None:
    table = make_images()
    table.loc[table["image"] == "test0.png", "patient"] = "train-0"
    result = evaluate_run(make_run(tmp_path, table, noisy(table, 1.0)), replicates=200)
    assert result.leaks == (Leak("patient", "test", 1, 120, "test0.png"),)


def test_the_baseline_is_learned_from_the_training_images_and_measured_on_the_same_ones(tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    table = make_images()
    useful = evaluate_run(make_run(tmp_path / "a", table, noisy(table, 2.0)), replicates=200)
    noise = evaluate_run(make_run(tmp_path / "b", table, noisy(table, 0.0)), replicates=200)
    baseline = next(each for each in useful.baselines if each.name == "metadata only")
    test = table[table["split"] == "test"]
    assert abs(baseline.auroc.value - roc_auc_score(test["label:Abnormal"], test["age"])) < 0.06
    assert baseline.beaten
    assert not next(each for each in noise.baselines if each.name == "metadata only").beaten


def test_the_rule_is_applied_on_validation_and_shown_on_both(tmp_path: Path) -> None:
    table = make_images()
    logits = noisy(table, 1.0)
    run = make_run(tmp_path, table, logits)
    result = evaluate_run(run, rule=ThresholdRule("sensitivity", 0.9), prevalence=0.1, replicates=200)
    (point,) = result.operating
    assert result.evaluation.thresholds == {"Abnormal": point.threshold}
    for split, found in (("val", point.validation["sensitivity"]), ("test", point.test["sensitivity"].value)):
        rows = (table["split"] == split) & (table["label:Abnormal"] == 1)
        positive = 1 / (1 + np.exp(-logits[rows])) >= point.threshold
        assert found == pytest.approx(positive.mean())
    assert point.validation["sensitivity"] >= 0.9
    assert point.assumed_prevalence == 0.1


def test_without_labels_of_the_training_images_there_is_no_baseline(tmp_path: Path) -> None:
    table = make_images()
    run = make_run(tmp_path, table, noisy(table, 1.0))
    table.drop(columns="label:Abnormal").to_csv(run.path / "images.csv", index=False)
    assert evaluate_run(run, replicates=100).baselines == ()


def test_results_are_saved_as_json_and_csv(tmp_path: Path) -> None:
    table = make_images()
    result = evaluate_run(make_run(tmp_path, table, noisy(table, 1.0)), replicates=100)
    result.save(tmp_path / "kept")
    kept = json.loads((tmp_path / "kept" / "results-test.json").read_text())
    assert kept["evaluation"]["per_label"]["Abnormal"]["auroc"]["value"] == result.evaluation.headline.value
    assert kept["validation"]["images"] == IMAGES["val"]
    with (tmp_path / "kept" / "subgroups-test.csv").open() as file:
        rows = list(csv.DictReader(file))
    (women,) = [row for row in rows if (row["column"], row["name"]) == ("sex", "F")]
    assert int(women["images"]) == (table[table["split"] == "test"]["sex"] == "F").sum()
    assert float(women["auroc_low"]) <= float(women["auroc"]) <= float(women["auroc_high"])
    assert (tmp_path / "kept" / "operating-test.csv").is_file()


def test_validation_itself_can_be_measured(tmp_path: Path) -> None:
    table = make_images()
    result = evaluate_run(make_run(tmp_path, table, noisy(table, 1.0)), "val", replicates=100)
    assert (result.evaluation.images, result.validation) == (IMAGES["val"], None)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"calibration": "tempreature"}, "unknown calibration 'tempreature'"),
        ({"prevalence": 1.5}, "prevalence"),
        ({"columns": ["sexx"]}, "sexx"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, object], error: str) -> None:
    table = make_images()
    run = make_run(tmp_path, table, noisy(table, 1.0))
    with pytest.raises(UsageError, match=error):
        evaluate_run(run, replicates=10, **options)


def test_predictions_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    table = make_images()
    logits = noisy(table, 1.0)
    logits[-1] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        evaluate_run(make_run(tmp_path, table, logits), replicates=10)
