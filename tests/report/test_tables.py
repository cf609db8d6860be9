"""Result tables as they come out of a pipe of 80 columns."""

from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from rich.table import Table

from zoo.core.tasks import Task
from zoo.evaluation import Evaluation, Predictions, evaluate
from zoo.evaluation.interval import UNDEFINED, short
from zoo.report.tables import evaluation_table, like_for_like, results_table

NIH = [
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
]


def render(table: Table, width: int = 80) -> list[str]:
    written = io.StringIO()
    Console(width=width, file=written).print(table)
    return written.getvalue().splitlines()


def evaluation(task: Task, split: str = "test", number: int = 1200, unknown: float = 0.0) -> Evaluation:
    rng = np.random.default_rng(len(split))
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
        labels[rng.random(labels.shape) < unknown] = np.nan
    logits = np.nan_to_num(labels) - 0.5 + rng.normal(size=labels.shape)
    names = [f"{i}.png" for i in range(number)]
    table = pd.DataFrame({"image": names, "patient": [str(i) for i in rng.integers(0, 5000, number)]})
    return evaluate(
        Predictions(task, table, labels, logits), dict.fromkeys(task.labels, 0.5), split=split, replicates=20
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.934, ".934"),
        (1.0, "1.000"),
        (0.9996, "1.000"),
        (0.9994, ".999"),
        (0.0, ".000"),
        (-0.12, "-.120"),
        (-0.0001, ".000"),
        (-1.0, "-1.000"),
        (math.nan, "–"),
    ],
)
def test_short(value: float, text: str) -> None:
    assert short(value) == text


def test_results_of_a_binary_task() -> None:
    task = Task("binary", ("abnormal",))
    val, test = evaluation(task, "val", 800), evaluation(task, "test")
    lines = render(results_table(val, test))
    assert lines[0].split() == ["validation", "test"]
    assert lines[1].split() == ["800", "images", "1,200", "images"]
    assert lines[2].split() == [str(val.patients), "patients", f"{test.patients:,}", "patients"]
    assert [line.split()[0] for line in lines[4:]] == ["AUROC", "AUPRC", "sensitivity", "specificity", "F1", "accuracy"]
    assert lines[4].split("  ")[-1].strip() == str(test.headline)
    assert str(val.headline) in lines[4]
    assert not any("\x1b" in line for line in lines)


def test_results_of_one_split_have_one_column() -> None:
    task = Task("binary", ("abnormal",))
    lines = render(results_table(None, evaluation(task)))
    assert lines[0].split() == ["test"]
    with pytest.raises(ValueError, match="no evaluation"):
        results_table(None, None)


def test_results_of_fourteen_findings_give_means_then_labels() -> None:
    task = Task("multilabel", tuple(NIH))
    found = evaluation(task)
    lines = render(results_table(found, found))
    assert lines[4].startswith("macro AUROC")
    assert str(found.averages["macro"]["auroc"]) in lines[4]
    assert [line.split()[1] for line in lines if line.startswith("AUROC ")] == NIH
    assert all(len(line) <= 80 and "…" not in line for line in lines)


def test_means_over_different_labels_are_given_over_those_of_both() -> None:
    task = Task("multilabel", ("Mass", "Edema", "Hernia"))
    val, test = evaluation(task, "val"), evaluation(task)
    assert like_for_like(val, test) is None
    assert like_for_like(None, test) is None
    undefined = dict.fromkeys(test.per_label["Hernia"], UNDEFINED)
    found = like_for_like(val, dataclasses.replace(test, per_label={**test.per_label, "Hernia": undefined}))
    means = [short(float(np.mean([e.per_label[n]["auroc"].value for n in ("Mass", "Edema")]))) for e in (val, test)]
    assert found is not None
    assert f"Over those defined on both, validation and test: AUROC {means[0]} and {means[1]} (2 labels), " in found


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_evaluation_of_fourteen_findings_keeps_numbers_whole(unknown: float) -> None:
    found = evaluation(Task("multilabel", tuple(NIH)), unknown=unknown)
    lines = render(evaluation_table(found))
    assert lines[0].split() == ["test:", "1,200", "images,", f"{found.patients:,}", "patients"]
    rows = {line.split()[0]: line for line in lines[3:] if line.strip()}
    for label in NIH:
        row = rows[label]
        values = found.per_label[label]
        assert f"{values['auroc']} {values['auprc']} {short(values['sensitivity'].value)} " in row
        count = str(found.positives[label]) + (f"/{found.known[label]}" if unknown else "")
        assert row.split()[1] == count
        assert row.rstrip().endswith(" .500")
    assert set(rows) >= {"(macro)", "(micro)", "(weighted)"}
    assert all(len(line) <= 80 and "…" not in line for line in lines)


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_a_wide_terminal_gets_the_whole_classification_report(unknown: float) -> None:
    found = evaluation(Task("multilabel", tuple(NIH)), unknown=unknown)
    lines = render(evaluation_table(found, 90), 90)
    assert lines[1].split()[2:] == ["AUROC", "AUPRC", "sens", "spec", "prec", "F1", "at"]
    rows = {line.split()[0]: line.split() for line in lines[3:] if line.strip()}
    for label in NIH:
        values = found.per_label[label]
        assert rows[label][-3:-1] == [short(values["precision"].value), short(values["f1"].value)]
    assert set(rows) == {*NIH, "(macro)", "(micro)", "(weighted)", "(samples)", "(samples_zero)"}
    samples = found.averages["samples"]
    assert rows["(samples)"][1:] == [short(samples[m].value) for m in ("sensitivity", "specificity", "precision", "f1")]
    assert all(len(line) <= 90 and "…" not in line for line in lines)


def test_evaluation_of_classes_shows_no_threshold_and_folds_long_names() -> None:
    task = Task("multiclass", ("normal", "an exceedingly long name of a class that nobody would type [twice]"))
    found = evaluation(task)
    lines = render(evaluation_table(found))
    assert lines[1].split() == ["label", "pos.", "AUROC", "AUPRC", "sens", "spec"]
    assert any(str(found.per_label[task.labels[1]]["auroc"]) in line for line in lines)
    assert "[twice]" in "".join(line[:30] for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_undefined_is_a_dash() -> None:
    task = Task("binary", ("abnormal",))
    names = list("abcdefghij")
    predictions = Predictions(
        task, pd.DataFrame({"image": names, "patient": names}), np.zeros((10, 1)), np.ones((10, 1))
    )
    found = evaluate(predictions, {"abnormal": 0.5}, split="test", replicates=10)
    row = render(evaluation_table(found))[-1]
    assert row.split() == ["abnormal", "0", "–", "[–,", "–]", "–", "[–,", "–]", "–", ".000", ".500"]
