"""The sentences made from facts: each kind once, as a reader sees it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from reportable import BINARY, SEVERAL, make_results, make_run

from zoo.core.text import count_of, duration, listed
from zoo.evaluation import Drop, Evaluation, Interval, Note, Predictions, ThresholdRule, evaluate
from zoo.evaluation.baselines import Baseline
from zoo.report import sentences
from zoo.runs.leaks import Leak
from zoo.runs.results import Results
from zoo.runs.statements import Statement


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make_results(make_run(tmp_path_factory.mktemp("several"), SEVERAL))


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make_results(make_run(tmp_path_factory.mktemp("binary"), BINARY))


def with_headline(results: Results, *interval: float, **changes: Any) -> Evaluation:
    return replace(results.evaluation, averages={"macro": {"auroc": Interval(*interval)}}, **changes)


def test_counts_lists_and_durations() -> None:
    assert [count_of(n, "image") for n in (0, 1, 2048)] == ["0 images", "1 image", "2,048 images"]
    assert count_of(2, "trial was", "trials were") == "2 trials were"
    assert [listed(list("abcd"[:n])) for n in (0, 1, 2, 3)] == ["", "a", "a and b", "a, b and c"]
    assert listed(list("abcd"), 2) == "a, b and 2 more"
    assert [duration(s) for s in (4.24, 42, 225, 7510)] == ["4.2 s", "42 s", "3 min 45 s", "2 h 5 min"]
    assert [sentences.p_text(p) for p in (0.0123, 1.0, 0.00001, math.nan)] == [".012", "1.000", "<.001", "–"]


@pytest.mark.parametrize(
    ("interval", "changes", "end"),
    [
        ((0.8, 0.7, 0.9), {}, ".800 [.700, .900]: better than chance."),
        ((0.5, 0.4, 0.6), {}, "no better than chance, the interval includes .5."),
        ((0.2, 0.1, 0.3), {}, "worse than chance, labels or outputs may be swapped."),
        ((1.0, 1.0, 1.0), {}, "near-perfect, so check for leakage between training and these images."),
        ((0.8, math.nan, math.nan), {}, ".800: without an interval it is unknown whether that is better than chance."),
        ((0.8, 0.7, 0.9), {"patients": 3}, "too few patients (3) for a conclusion."),
        ((0.5, 0.5, 0.5), {"constant": BINARY.labels}, "every image the same output, so it carries no information."),
        ((math.nan,) * 3, {}, "AUROC on the test images is undefined: only one class is present."),
        ((0.8, 0.7, 0.9), {"positives": {"Abnormal": 4}}, "better than chance; there are only 4 images of the rarer class."),
        ((1.0, 1.0, 1.0), {"positives": {"Abnormal": 1}}, "with only 1 image of the rarer class it may also be chance."),
    ],
)  # fmt: skip
def test_conclusions(binary: Results, interval: tuple[float, ...], changes: dict[str, Any], end: str) -> None:
    said = sentences.conclusion(with_headline(binary, *interval, **changes))
    assert said.startswith("AUROC on the test images is ")
    assert said.endswith(end)


def with_drop(results: Results, *difference: float, left_out: tuple[str, ...] = ()) -> Results:
    task = results.evaluation.task
    labels = tuple(label for label in task.labels if label not in left_out)
    value = Interval(*difference)
    found = Drop(Interval(0.81, 0.78, 0.84), Interval(0.81 - value.value, 0.6, 0.7), value, labels, left_out)
    return replace(results, drop=found)


def said_of(results: Results, kind: str) -> list[tuple[str, str]]:
    return [(each.severity, text) for each, text in sentences.summary(results) if each.kind == kind]


def test_a_drop_from_validation(binary: Results, several: Results) -> None:
    assert said_of(with_drop(binary, 0.15, 0.1, 0.2), "drop") == [
        (
            "bad",
            "Test AUROC (.660 [.600, .700]) is .150 [.100, .200] below validation (.810 [.780, .840]): the validation figure "
            "does not carry over to the test images.",
        )
    ]
    assert said_of(with_drop(binary, 0.15, -0.01, 0.2), "drop") == [
        (
            "note",
            "On the validation images AUROC is .810 [.780, .840]: the test result is not clearly lower (validation minus test: "
            ".150 [-.010, .200]).",
        )
    ]
    assert said_of(with_drop(binary, 0.15, math.nan, math.nan), "drop")[0][1].endswith("unknown whether test is lower.")
    assert said_of(replace(binary, drop=None), "drop") == []
    mass = several.evaluation.task.labels[0]
    fewer = with_drop(several, 0.15, 0.1, 0.2, left_out=(mass,))
    ((_, text),) = said_of(fewer, "drop")
    assert text.startswith("Test macro AUROC over the 2 of 3 labels defined on both (.660 [.600, .700]) is .150")
    assert said_of(fewer, "left_out") == [
        (
            "caution",
            "Validation and test are compared over the 2 of 3 labels defined on both: without Mass, defined on one of them "
            "only.",
        )
    ]


def test_notes_on_an_evaluation_of_several_labels(several: Results) -> None:
    mass, nodule = several.evaluation.task.labels[:2]
    evaluation = replace(
        several.evaluation,
        images=200,
        positives={**several.evaluation.positives, mass: 0, nodule: 3},
        known={**several.evaluation.known, mass: 0, nodule: 200},
        notes=(
            Note("undefined_auroc", (mass,)),
            Note("few_images", (nodule,)),
            Note("no_predicted_positives", (nodule,)),
            Note("constant_output", (nodule,)),
            Note("worse_than_chance", (nodule,)),
            Note("unknown_patients", counts=(10,)),
            Note("duplicate_images", counts=(4, 2)),
            Note("few_patients", counts=(3,)),
            Note("no_interval", (nodule,)),
        ),
    )
    found = replace(several, evaluation=evaluation, threshold_notes=())
    said = [sentences.sentence(Statement("note", "note", place), found) for place in range(len(evaluation.notes))]
    assert said == [
        f"AUROC is undefined for these labels, which its means leave out: {mass} (unknown on every image).",
        f"Fewer than 10 images of a class, so read these with care: {nodule} (3 positive, 197 negative).",
        f"No image is predicted positive for {nodule}: precision is undefined there and left out of its means.",
        f"The output is the same on every image for {nodule}: it carries no information there.",
        f"Worse than chance, so labels or outputs may be swapped: {nodule}.",
        "The patient of 10 of 200 images is unknown, so each counts as a patient of its own: where such images share a "
        "patient, the intervals are too narrow.",
        "4 images have the same pixels as another one under another name (2 of them under different patients, so the "
        "intervals are too narrow); each is counted.",
        "There are only 3 patients, so the intervals are not reliable.",
        f"Too few patients to say how uncertain the results for {nodule} are, so they have no interval.",
    ]


def test_one_class_of_a_binary_task(binary: Results) -> None:
    evaluation = replace(
        binary.evaluation, positives={"Abnormal": 40}, known={"Abnormal": 40}, notes=(Note("undefined_auroc", ("Abnormal",)),)
    )  # fmt: skip
    said = said_of(replace(binary, evaluation=evaluation), "note")
    assert said == [("note", "AUROC is undefined: Abnormal (all 40 images are positive).")]


def test_notes_on_thresholds_and_on_another_dataset(binary: Results) -> None:
    label = binary.evaluation.task.labels[0]
    results = replace(
        binary,
        rule=ThresholdRule("sensitivity", 0.9),
        evaluation=replace(binary.evaluation, notes=()),
        notes=(Note("any_finding", ("Mass", "Edema")), Note("near_duplicates_unchecked")),
        threshold_notes=(
            Note("undetermined_threshold", ("Hernia",)),
            Note("target_by_one_decision", ("Mass",)),
            Note("target_on_few_images", ("Edema",), (4,)),
            Note("threshold_on_few_images", ("Edema", "Mass"), (4, 9)),
            Note("logit_threshold", ("Fibrosis",)),
        ),
    )
    said = [*said_of(results, "data_note"), *said_of(results, "threshold_note")]
    assert [text for _, text in said] == [
        "The images that the network was trained on could not be read: near-duplicates of them may be among these.",
        f"The dataset has no label {label}: an image with any of Mass, Edema counts as {label}.",
        "The validation images do not determine a threshold for Hernia: .5 is used.",
        "On validation the target sensitivity .9 is only reached by predicting every image positive: Mass.",
        "The target sensitivity .9 rests on fewer than 10 positive validation images: Edema (4).",
        "The threshold rests on fewer than 10 validation images of a class: Edema (4), Mass (9).",
        "The threshold of Fibrosis is a logit: the probabilities of the images that it parts round to 1.",
    ]
    assert [severity for severity, _ in said] == ["caution", "note", "caution", "caution", "note", "note", "note"]


@pytest.mark.parametrize(
    ("shared", "what"),
    [
        ("patient", "belong to patients"),
        ("pixels", "are, pixel for pixel, images"),
        ("name", "have the names of images"),
        ("near", "are near-duplicates of images"),
    ],
)
def test_leaks(shared: Any, what: str) -> None:
    assert sentences.leak(Leak(shared, "test", 3, 1200, "a.png")) == (
        f"Leak: 3 of the 1,200 test images {what} that the network was trained or chosen on (for example a.png): the result "
        "is too good."
    )


def make_baseline(difference: Interval | None, *features: str) -> Baseline:
    auroc, auprc, brier = (Interval(v, v - 0.1, v + 0.1) for v in (0.6, 0.4, 0.2))
    name = "metadata only" if features else "prevalence"
    beaten = None if difference is None or math.isnan(difference.low) else difference.low > 0
    return Baseline(name, features, auroc, auprc, brier, difference, beaten, Interval(-0.02, -0.03, -0.01))


@pytest.mark.parametrize(
    ("difference", "end"),
    [
        (Interval(0.2, 0.1, 0.3), ": the network is better by .200 [.100, .300]."),
        (Interval(-0.2, -0.3, -0.1), ": the network is worse, its difference is -.200 [-.300, -.100]."),
        (Interval(0.0, -0.1, 0.1), ": the network is not clearly better, its difference is .000 [-.100, .100]."),
        (Interval(0.1, math.nan, math.nan), ": the network differs by .100, without an interval."),
        (None, "AUROC is undefined on these images, so the network cannot be compared with a baseline."),
    ],
)
def test_baselines(difference: Interval | None, end: str) -> None:
    both = sentences.baseline(make_baseline(difference, "age", "follow_up"), BINARY)
    one = sentences.baseline(make_baseline(difference, "sex"), SEVERAL)
    none = sentences.baseline(make_baseline(difference), SEVERAL)
    assert all(said.endswith(end) for said in (both, one, none))
    if difference is not None:
        assert both.startswith("Age and follow-up alone reach AUROC .600 [.500, .700]")
        assert one.startswith("Sex alone reaches macro AUROC .600")
        assert none.startswith(
            "The training prevalence as the prediction for every image has AUROC .600, macro AUPRC .400 and"
        )


@pytest.mark.parametrize(
    ("trained", "calibrated", "end", "bad"),
    [
        (Interval(0.02, 0.01, 0.03), None, ".300], but its Brier score is worse by .020 [.010, .030].", True),
        (Interval(0.02, -0.01, 0.05), None, "[.100, .300].", False),
        (
            Interval(0.02, 0.01, 0.03),
            Interval(0.01, 0.005, 0.015),
            ", but its Brier score is worse by .020 [.010, .030], after calibration by .010 [.005, .015].",
            True,
        ),
        (
            Interval(0.02, 0.01, 0.03),
            Interval(-0.01, -0.015, -0.005),
            "worse by .020 [.010, .030] as trained; after calibration it is not (-.010 [-.015, -.005]).",
            False,
        ),
        (
            Interval(-0.02, -0.03, -0.01),
            Interval(0.01, 0.005, 0.015),
            ", but its Brier score is worse by .010 [.005, .015] after calibration.",
            True,
        ),
    ],
)
def test_a_worse_brier_score_is_said(
    trained: Interval, calibrated: Interval | None, end: str, bad: bool, binary: Results
) -> None:
    found = replace(
        make_baseline(Interval(0.2, 0.1, 0.3), "age"), brier_difference=trained, calibrated_brier_difference=calibrated
    )
    assert sentences.baseline(found, BINARY).endswith(end)
    ((severity, _),) = said_of(replace(binary, baselines=(found,)), "baseline")
    assert severity == ("bad" if bad else "good")


def test_without_metadata_the_prevalence_says_why(binary: Results) -> None:
    found = make_baseline(Interval(0.2, 0.1, 0.3))
    (said,) = sentences.baselines(replace(binary, baselines=(found,)))
    assert said.startswith("Age, sex, view and follow-up are not known or do not vary")
    assert said.endswith(sentences.baseline(found, BINARY))


def test_limitations_hold_leaks_drops_and_notes(several: Results, tmp_path: Path) -> None:
    leak = Leak("patient", "test", 3, 150, "a.png")
    evaluation = replace(several.evaluation, notes=(Note("one_patient"),))
    found = sentences.limitations(replace(several, leaks=(leak,), evaluation=evaluation), {"split": "drawn"})
    assert found[0] == sentences.leak(leak)
    assert "same collection as the training images, by a random draw of patients." in " ".join(found)
    assert "All images are of one patient, so there are no intervals." in found


def test_evaluations_without_images_of_a_label_are_described(several: Results) -> None:
    task = several.evaluation.task
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image": [str(i) for i in range(30)], "patient": [str(i) for i in range(30)]})
    labels = np.zeros((30, task.outputs))
    found = evaluate(
        Predictions(task, table, labels, rng.normal(size=labels.shape)), dict.fromkeys(task.labels, 0.5), split="val"
    )
    assert sentences.conclusion(found) == (
        "Macro AUROC on the validation images is undefined: no label has images of both classes."
    )
