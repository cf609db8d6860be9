"""What is said of an evaluation as a whole."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Evaluation, Interval, Predictions, evaluate, gap_verdict, verdict

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


def test_perfect_inverted_and_ordinary_predictors_are_called_so() -> None:
    predictions = make_images(BINARY, signal=30)
    perfect = run(predictions)
    assert perfect.headline == Interval(1.0, 1.0, 1.0)
    assert verdict(perfect) == (
        "AUROC on the test images is 1.000 [1.000, 1.000]: near-perfect, so check for leakage between training and these "
        "images."
    )
    inverted = run(replace(predictions, logits=-predictions.logits))
    assert inverted.headline == Interval(0.0, 0.0, 0.0)
    assert verdict(inverted).endswith(": worse than chance, labels or outputs may be swapped.")
    assert verdict(run(make_images(BINARY))).endswith(": better than chance.")
    assert verdict(run(make_images(BINARY, signal=0))).endswith(": no better than chance, the interval includes .5.")
    assert "without an interval" in verdict(run(make_images(BINARY), replicates=0))


@pytest.mark.parametrize("replicates", [0, 100])
@pytest.mark.parametrize("logit", [-1.0, 0.0, 30.0])
def test_the_same_output_on_every_image_is_told(logit: float, replicates: int) -> None:
    predictions = make_images(BINARY)
    constant = run(replace(predictions, logits=np.full((200, 1), logit)), replicates)
    assert constant.headline.value == 0.5
    assert verdict(constant).endswith(": the network gives every image the same output, which tells nothing.")
    assert ("No image is called positive, so precision is undefined." in constant.notes) == (logit < 0)
    nearly = np.full((200, 1), logit)
    nearly[7] += 1
    assert "same output" not in verdict(run(replace(predictions, logits=nearly)))


def test_labels_with_one_output_are_named_beside_the_macro_average() -> None:
    predictions = make_images(MULTILABEL, signal=3)
    predictions.logits[:, 1] = -2
    assert verdict(run(predictions)).endswith(": better than chance; Edema gets the same output on every image.")
    predictions.logits[:, 2] = 1
    assert verdict(run(predictions)).endswith("; Edema, Hernia get the same output on every image.")
    predictions.logits[:, 0] = 0
    assert verdict(run(predictions)).startswith("Macro AUROC on the test images is .500")
    assert verdict(run(predictions)).endswith("the network gives every image the same output, which tells nothing.")


def test_one_class_and_no_labels() -> None:
    predictions = make_images(BINARY)
    predictions.labels[:] = 1
    assert verdict(run(predictions)) == "AUROC on the test images is undefined: only one class is present."
    predictions.labels[:] = np.nan
    assert verdict(run(predictions)).endswith("is undefined: the labels are unknown on every image.")
    several = make_images(MULTILABEL)
    several.labels[:] = [0, 1, np.nan]
    assert verdict(run(several, split="val")) == (
        "Macro AUROC on the validation images is undefined: no label has images of both classes."
    )


def test_few_patients_decide_nothing() -> None:
    assert verdict(run(make_images(BINARY, 30, patients=3))).endswith(": too few patients (3) to say more.")
    assert "too few patients (3)" in verdict(run(make_images(BINARY, 30, signal=30, patients=3)))


def test_ten_images_are_not_taken_for_proof() -> None:
    perfect = of_ten([0] * 6 + [1] * 4, [float(i) for i in range(10)])
    assert perfect.headline == Interval(1.0, 1.0, 1.0)
    assert verdict(perfect).endswith("these images; with only 4 images of the rarer class it may also be luck.")
    mixed = of_ten([0, 1] * 5, [float(i) for i in range(10)])
    assert verdict(mixed).endswith(
        "cannot be told from chance with only 5 images of the rarer class, the interval includes .5."
    )
    good = of_ten([0, 0, 0, 0, 1, 0, 0, 1, 1, 1], [float(i) for i in range(10)])
    assert verdict(good).endswith("better than chance, as far as only 4 images of the rarer class can tell.")
    assert "same output" in verdict(of_ten([0] * 6 + [1] * 4, [1.0] * 10))
    rare = make_images(MULTILABEL, signal=6)
    rare.labels[:] = 0
    rare.labels[:3] = 1
    assert "at most 3 images of the rarer class per label" in verdict(run(rare))
    rare.labels[:30, 0] = 1
    assert "rarer class" not in verdict(run(rare))


def headline(split: str, value: float, low: float, high: float) -> Evaluation:
    found = run(make_images(BINARY, 40), 2, split=split)
    return replace(found, averages={"macro": {"auroc": Interval(value, low, high)}})


def test_gap_between_validation_and_test() -> None:
    val = headline("val", 0.8101, 0.78, 0.84)
    assert gap_verdict(val, headline("test", 0.6538, 0.62, 0.69)) == (
        "Test AUROC .654 is .156 below validation (.810): the validation figure does not carry over to the test images."
    )
    assert "though their intervals overlap" in str(gap_verdict(val, headline("test", 0.75, 0.6, 0.85)))
    assert gap_verdict(val, headline("test", 0.77, 0.76, 0.775)) is not None  # small, but the intervals are apart
    assert gap_verdict(val, headline("test", 0.76, 0.7, 0.82)) is None
    assert gap_verdict(val, headline("test", 0.9, 0.88, 0.92)) is None
    assert gap_verdict(val, headline("test", math.nan, math.nan, math.nan)) is None
