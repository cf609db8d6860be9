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
from zoo.evaluation import Evaluation, Interval, Note, Predictions, ThresholdRule, evaluate
from zoo.evaluation.baselines import Baseline
from zoo.evaluation.calibration import Calibration, fit_calibration
from zoo.evaluation.reference import ReferenceComparison
from zoo.evaluation.reliability import evaluate_calibration
from zoo.evaluation.subgroups import Gap, Gaps, Group
from zoo.report import detail_sentences, sentences
from zoo.runs.leaks import Leak
from zoo.runs.results import Results

NAN = Interval(math.nan, math.nan, math.nan)


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


def test_a_drop_from_validation_is_a_warning(binary: Results) -> None:
    assert binary.validation is not None
    before = replace(binary.validation, averages={"macro": {"auroc": Interval(0.8101, 0.78, 0.84)}})
    clear = replace(binary, validation=before, evaluation=with_headline(binary, 0.6538, 0.62, 0.69))
    assert (
        sentences.gap(clear)
        == sentences.drop(clear)
        == (
            "Test AUROC .654 is .156 below validation (.810): the validation figure does not carry over to the test images."
        )
    )
    overlapping = replace(clear, evaluation=with_headline(binary, 0.75, 0.6, 0.85))
    assert ", though their intervals overlap: " in sentences.gap(overlapping)
    fine = replace(clear, evaluation=with_headline(binary, 0.8, 0.75, 0.85))
    assert sentences.drop(fine) is None
    assert (
        sentences.gap(fine) == "On the validation images it is .810 [.780, .840]: the test result is not clearly worse."
    )


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
            Note("duplicate_images", counts=(2,)),
            Note("few_patients", counts=(3,)),
            Note("no_interval", (nodule,)),
        ),
    )
    said = sentences.notes(replace(several, evaluation=evaluation, threshold_notes=()))
    assert said == [
        f"AUROC is undefined for these labels, which its means leave out: {mass} (unknown on every image).",
        f"Fewer than 10 images of a class, so read these with care: {nodule} (3 positive, 197 negative).",
        f"No image is predicted positive for {nodule}: precision is undefined there and left out of its means.",
        f"The output is the same on every image for {nodule}: it carries no information there.",
        f"Worse than chance, so labels or outputs may be swapped: {nodule}.",
        "The patient of 10 of 200 images is unknown, so each counts as a patient of its own: where such images share a "
        "patient, the intervals are too narrow.",
        "2 images have the same pixels as another one under another name; each is counted.",
        "There are only 3 patients, so the intervals are not reliable.",
        f"Too few patients to say how uncertain the results for {nodule} are, so they have no interval.",
    ]


def test_one_class_of_a_binary_task(binary: Results) -> None:
    evaluation = replace(
        binary.evaluation, positives={"Abnormal": 40}, known={"Abnormal": 40}, notes=(Note("undefined_auroc", ("Abnormal",)),)
    )  # fmt: skip
    said = sentences.notes(replace(binary, evaluation=evaluation))
    assert said == ["AUROC is undefined: Abnormal (all 40 images are positive)."]


def test_notes_on_thresholds_and_on_another_dataset(binary: Results) -> None:
    label = binary.evaluation.task.labels[0]
    results = replace(
        binary,
        rule=ThresholdRule("sensitivity", 0.9),
        evaluation=replace(binary.evaluation, notes=()),
        notes=(Note("any_finding", ("Mass", "Edema")),),
        threshold_notes=(
            Note("undetermined_threshold", ("Hernia",)),
            Note("target_by_one_decision", ("Mass",)),
            Note("target_on_few_images", ("Edema",), (4,)),
            Note("threshold_on_few_images", ("Edema", "Mass"), (4, 9)),
            Note("logit_threshold", ("Fibrosis",)),
        ),
    )
    assert sentences.notes(results) == [
        f"The dataset has no label {label}: an image with any of Mass, Edema counts as {label}.",
        "The validation images do not determine a threshold for Hernia: .5 is used.",
        "On validation the target sensitivity .9 is only reached by predicting every image positive: Mass.",
        "The target sensitivity .9 rests on fewer than 10 positive validation images: Edema (4).",
        "The threshold rests on fewer than 10 validation images of a class: Edema (4), Mass (9).",
        "The threshold of Fibrosis is a logit: the probabilities of the images that it parts round to 1.",
    ]


@pytest.mark.parametrize(
    ("shared", "what"),
    [
        ("patient", "belong to patients"),
        ("pixels", "are, pixel for pixel, images"),
        ("name", "have the names of images"),
    ],
)
def test_leaks(shared: Any, what: str) -> None:
    assert sentences.leak(Leak(shared, "test", 3, 1200, "a.png")) == (
        f"Leak: 3 of the 1,200 test images {what} that the network was trained or chosen on (for example a.png): the result "
        "is too good."
    )


def make_baseline(difference: Interval | None, *features: str) -> Baseline:
    auroc, auprc, brier = (Interval(v, v - 0.1, v + 0.1) for v in (0.6, 0.4, 0.2))
    return Baseline("metadata only" if features else "prevalence", features, auroc, auprc, brier, difference, None)


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


def test_without_metadata_the_prevalence_says_why(binary: Results) -> None:
    found = make_baseline(Interval(0.2, 0.1, 0.3))
    (said,) = sentences.baselines(replace(binary, baselines=(found,)))
    assert said.startswith("Age, sex, view and follow-up are not known or do not vary")
    assert said.endswith(sentences.baseline(found, BINARY))


def test_missed_and_unknown_targets(several: Results) -> None:
    first, second = several.operating[:2]
    missed = replace(
        first,
        rule="sensitivity",
        target=0.95,
        test={"sensitivity": Interval(0.93, 0.9, 0.96)},
        shortfall=Interval(0.02, -0.01, 0.05),
    )
    unknown = replace(second, rule="sensitivity", target=0.95, test={"sensitivity": NAN}, shortfall=None)
    assert detail_sentences.operating([missed, unknown]) == [
        f"{first.label}: sensitivity .930 [.900, .960] on test misses the target .950 by .020, which may be chance: the "
        "interval includes the target.",
        f"Without positive test images it is unknown whether the target sensitivity is met: {second.label}.",
    ]
    assert detail_sentences.operating(several.operating) == []  # a fixed threshold has no target


def test_groups_and_gaps() -> None:
    value = Interval(0.5, 0.4, 0.6)
    women = Group("sex", "F", "Abnormal", 200, 150, 90, 110, *(value,) * 5, small=False)
    men = replace(women, name="M", small=True)
    views = replace(women, column="view", name="PA")
    ages = replace(women, column="age", name="unknown")
    gap = Gap("sex", "F", "Abnormal", "auroc", Interval(-0.12, -0.2, -0.04))
    assert detail_sentences.groups([women, men, views, ages], Gaps((gap,), 2), 0.95) == [
        "All images are of one group by view (PA): there is no gap to measure.",
        "The age of every image is unknown: there are no groups to compare.",
        "Clear gaps to all other images: sex F, AUROC -.120 [-.200, -.040].",
        "2 gaps were examined: where there is no real difference, about 5 of 100 such intervals exclude 0 by chance. A gap is "
        "a question to follow up, not a finding.",
        "Too few images for a conclusion (fewer than 10 of a class, or 20 patients): sex M.",
    ]
    macro = [replace(women, label="macro"), replace(men, label="Mass"), replace(women, label="Mass")]
    said = detail_sentences.groups(macro, Gaps((replace(gap, label="Mass", metric="false_negative_rate"),), 1), 0.95)
    assert "sex F, false-negative rate for Mass -.120" in said[0]
    assert said[-1].startswith("Label by label, 1 of 2 groups have fewer than 10 images of a class or 20 patients")


def test_other_reference_labels(several: Results) -> None:
    evaluation, (mass, nodule) = several.evaluation, several.evaluation.task.labels[:2]
    agreement = {"agree": 0.9, "own_positive": 5.0, "other_positive": 6.0, "both": 4.0, "images": 50.0}
    found = ReferenceComparison(
        source="panel.csv",
        images=50,
        patients=40,
        own=evaluation,
        other=evaluation,
        agreement={mass: {**agreement, "kappa": 0.3}, nodule: {**agreement, "kappa": 0.7}},
        absent=("Hernia",),
        without=20,
        left_out=4,
    )
    value = str(evaluation.headline)
    assert detail_sentences.references(found) == [
        f"On the 50 test images of 40 patients labelled in panel.csv, macro AUROC is {value} against its labels and {value} "
        "against the run's own.",
        f"The references agree with a mean kappa of .500 over 2 labels, from .300 ({mass}) to .700 ({nodule}).",
        f"Agreement is at most fair (kappa up to .400, Landis & Koch 1977) for {mass}: a score against one reference says "
        "little about the other there.",
        "panel.csv has no column for Hernia.",
        "4 images are left out: panel.csv does not name exactly one class for them.",
        "20 of the run's test images are not in panel.csv.",
    ]
    single = replace(found, agreement={mass: {**agreement, "kappa": 0.7}}, absent=(), without=0, left_out=0)
    assert detail_sentences.references(single)[1:] == [
        f"Both references agree on {mass} on 90% of 50 images (kappa .700): 5 images are positive by the run's labels, 6 by "
        "panel.csv, 4 by both."
    ]


def make_images(seed: int, stretch: float = 1.0, shift: float = 0.0, name: str = "f") -> Predictions:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (800, len(SEVERAL.labels)))
    y = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(float)
    table = pd.DataFrame({"image": [f"{name}{i}" for i in range(800)], "patient": [str(i // 2) for i in range(800)]})
    return Predictions(SEVERAL, table, y, stretch * z + shift)


def test_what_calibration_changed() -> None:
    first = SEVERAL.labels[0]
    good = evaluate_calibration(make_images(0, 3), make_images(1, 3, name="t"), replicates=20)
    said = detail_sentences.calibration(good)
    assert said[0].startswith("Temperatures: on the validation images the outputs were overconfident for ")
    ece = [np.mean([each.ece.value for each in stage.values()]) for stage in (good.before, good.after)]
    assert f"the mean ECE is {ece[0]:.3f} before and {ece[1]:.3f} after".replace("0.", ".") in said[1]
    spoiled = evaluate_calibration(make_images(0, shift=2), make_images(1, name="t"), "platt", replicates=200)
    said = detail_sentences.calibration(spoiled)
    assert f"Calibration made the Brier score worse on the test images: {first} by " in said[1]
    mean = spoiled.calibration.probabilities(make_images(1).logits)[:, 0].mean()
    share = make_images(1).labels[:, 0].mean()
    assert f"{first} {mean:.3f} for {share:.3f}".replace("0.", ".") in said[2]
    shared = detail_sentences.calibration(evaluate_calibration(make_images(0), make_images(0), replicates=0))
    assert shared[-1].startswith("800 of the 800 images measured are among those the calibration was fitted on")


def test_why_labels_stay_uncalibrated() -> None:
    images = make_images(0)
    labels = images.labels.copy()
    labels[:, 0] = np.arange(800) < 9
    flat = fit_calibration("platt", Predictions(SEVERAL, images.table, labels, np.ones_like(images.logits)))
    test = evaluate_calibration(Predictions(SEVERAL, images.table, labels, -images.logits), images, replicates=0)
    assert (
        "9 positive validation images, 791 negative" in detail_sentences.calibration(replace(test, calibration=flat))[0]
    )
    kinds = ("constant_output", "separated", "no_temperature", "inverted", "not_increasing")
    for kind in kinds:
        one = Calibration("platt", SEVERAL, {}, {SEVERAL.labels[0]: Note(kind)})
        (said,) = detail_sentences.calibration(replace(test, calibration=one, brier_change={}))
        assert said.startswith(f"Left uncalibrated: {SEVERAL.labels[0]} (")
    at_end = Calibration("temperature", SEVERAL, {SEVERAL.labels[0]: {"temperature": 100.0}})
    said = detail_sentences.calibration(replace(test, calibration=at_end, brier_change={}))[0]
    assert (
        said == f"The temperature of {SEVERAL.labels[0]} is at the end of its range of 0.01 to 100: do not rely on it."
    )


def test_limitations_hold_leaks_drops_and_notes(several: Results, tmp_path: Path) -> None:
    leak = Leak("patient", "test", 3, 150, "a.png")
    evaluation = replace(several.evaluation, notes=(Note("one_patient"),))
    found = sentences.limitations(replace(several, leaks=(leak,), evaluation=evaluation), {"split": "drawn"})
    assert found[0] == sentences.leak(leak)
    assert "same collection as the training images, by a random draw of patients." in " ".join(found)
    assert found[-1] == "All images are of one patient, so there are no intervals."


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
