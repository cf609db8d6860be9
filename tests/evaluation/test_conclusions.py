"""Conclusions from an evaluation as a whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Conclusion, Evaluation, Predictions, conclude, evaluate

BINARY = Task("binary", ("abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Edema", "Hernia"))


def make_images(task: Task, number: int = 200, signal: float = 1.0, patients: int = 60) -> Predictions:
    rng = np.random.default_rng(0)
    labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    table = pd.DataFrame(
        {"image": [f"{i}.png" for i in range(number)], "patient": [str(p) for p in rng.integers(0, patients, number)]}
    )
    return Predictions(task, table, labels, signal * (labels - 0.5) + rng.normal(size=labels.shape))


def run(predictions: Predictions, replicates: int = 100, split: str = "test") -> Evaluation:
    thresholds = dict.fromkeys(predictions.task.labels, 0.5)
    return evaluate(predictions, thresholds, split=split, replicates=replicates)


def of_ten(labels: list[int], logits: list[float]) -> Evaluation:
    names = [f"{i}.png" for i in range(10)]
    table = pd.DataFrame({"image": names, "patient": names})
    return run(Predictions(BINARY, table, np.array(labels, dtype=float)[:, None], np.array(logits)[:, None]), 200)


def test_perfect_inverted_and_ordinary_predictors() -> None:
    predictions = make_images(BINARY, signal=30)
    perfect = run(predictions)
    assert 0.85 < perfect.headline.low < perfect.headline.value == perfect.headline.high == 1
    assert conclude(perfect) == Conclusion("near_perfect")
    inverted = run(replace(predictions, logits=-predictions.logits))
    assert 0 == inverted.headline.value < inverted.headline.high < 0.15
    assert conclude(inverted) == Conclusion("worse_than_chance")
    assert conclude(run(make_images(BINARY))) == Conclusion("better_than_chance")
    assert conclude(run(make_images(BINARY, signal=0))) == Conclusion("chance")
    two = make_images(BINARY)
    two.labels[:] = np.arange(len(two))[:, None] < 2
    assert conclude(run(two)) == Conclusion("no_interval")


@pytest.mark.parametrize("replicates", [0, 100])
@pytest.mark.parametrize("logit", [-1.0, 0.0, 30.0])
def test_the_same_output_on_every_image(logit: float, replicates: int) -> None:
    predictions = make_images(BINARY)
    constant = run(replace(predictions, logits=np.full((200, 1), logit)), replicates)
    assert constant.headline.value == 0.5
    assert conclude(constant) == Conclusion("constant")
    assert ("no_predicted_positives" in {note.kind for note in constant.notes}) == (logit < 0)
    nearly = np.full((200, 1), logit)
    nearly[7] += 1
    assert conclude(run(replace(predictions, logits=nearly))).kind != "constant"


def test_some_labels_with_one_output_do_not_decide() -> None:
    predictions = make_images(MULTILABEL, signal=3)
    predictions.logits[:, 1:] = -2
    found = run(predictions)
    assert (conclude(found), found.constant) == (Conclusion("better_than_chance"), ("Edema", "Hernia"))
    predictions.logits[:, 0] = 0
    found = run(predictions)
    assert (conclude(found), found.headline.value) == (Conclusion("constant"), 0.5)


def test_one_class_and_no_labels_are_undefined() -> None:
    predictions = make_images(BINARY)
    for value in (1, np.nan):
        predictions.labels[:] = value
        assert conclude(run(predictions)) == Conclusion("undefined")
    several = make_images(MULTILABEL)
    several.labels[:] = [0, 1, np.nan]
    assert conclude(run(several)) == Conclusion("undefined")


def test_few_patients_decide_nothing() -> None:
    for signal in (1, 30):
        assert conclude(run(make_images(BINARY, 30, signal=signal, patients=3))) == Conclusion("few_patients")


def test_ten_images_are_not_taken_for_proof() -> None:
    order = [float(i) for i in range(10)]
    perfect = of_ten([0] * 6 + [1] * 4, order)
    assert perfect.headline.low < 0.5 < perfect.headline.value == 1
    assert conclude(perfect) == Conclusion("near_perfect", 4)
    assert conclude(of_ten([0, 1] * 5, order)) == Conclusion("chance", 5)
    assert conclude(of_ten([0, 0, 0, 0, 1, 0, 0, 1, 1, 1], order)) == Conclusion("chance", 4)  # .917, of four images
    assert conclude(of_ten([0] * 6 + [1] * 4, [1.0] * 10)) == Conclusion("constant")
    rare = make_images(MULTILABEL, signal=6)
    rare.labels[:] = 0
    rare.labels[:3] = 1
    assert conclude(run(rare)).rarer == 3
    rare.labels[:30, 0] = 1
    assert conclude(run(rare)).rarer is None
