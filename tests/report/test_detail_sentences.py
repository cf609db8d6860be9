"""The facts of single parts of the results in sentences: operating points, groups, other reference labels, calibration."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from reportable import SEVERAL, make_results, make_run

from zoo.evaluation import Interval, Note, Predictions
from zoo.evaluation.calibration import Calibration, fit_calibration
from zoo.evaluation.reference import ReferenceComparison
from zoo.evaluation.reliability import evaluate_calibration
from zoo.evaluation.subgroups import Gap, Gaps, Group
from zoo.report import detail_sentences
from zoo.runs.results import Results

NAN = Interval(math.nan, math.nan, math.nan)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return make_results(make_run(tmp_path_factory.mktemp("several"), SEVERAL))


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
    women = Group("sex", "F", "Abnormal", 200, 150, 90, 110, value, value, value, value, 0.01, value, 0.6, small=False)
    men = replace(women, name="M", small=True)
    views = replace(women, column="view", name="PA")
    ages = replace(women, column="age", name="unknown")
    gap = Gap("sex", "F", "Abnormal", "auroc", Interval(-0.12, -0.2, -0.04))
    assert detail_sentences.groups([women, men, views, ages], Gaps((gap,), 2)) == [
        "All images are of one group by view (PA): there is no gap to measure.",
        "The age of every image is unknown: there are no groups to compare.",
        "Clear gaps to all other images: sex F, AUROC -.120 [-.200, -.040].",
        "They are significant after Holm's correction for the 2 gaps examined; each interval stands on its own. A gap is a "
        "question to follow up, not a finding.",
        "Too few images for a conclusion (fewer than 10 of a class, or 20 patients): sex M.",
    ]
    macro = [replace(women, label="macro"), replace(men, label="Mass"), replace(women, label="Mass")]
    said = detail_sentences.groups(macro, Gaps((replace(gap, label="Mass", metric="false_negative_rate"),), 1))
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
        labels=evaluation.task.labels,
        own_mean=evaluation.headline,
        other_mean=Interval(0.7, 0.6, 0.8),
        agreement={mass: {**agreement, "kappa": 0.3}, nodule: {**agreement, "kappa": 0.7}},
        absent=("Hernia",),
        without=20,
        left_out=4,
    )
    value = str(evaluation.headline)
    assert detail_sentences.references(found) == [
        f"On the 50 test images of 40 patients labelled in panel.csv, macro AUROC is .700 [.600, .800] against its labels and "
        f"{value} against the run's own.",
        f"The references agree with a mean kappa of .500 over 2 labels, from .300 ({mass}) to .700 ({nodule}).",
        f"Agreement is at most fair (kappa up to .400, Landis & Koch 1977) for {mass}: a score against one reference says "
        "little about the other there.",
        "panel.csv has no column for Hernia.",
        "4 images are left out: panel.csv does not name exactly one class for them.",
        "20 of the run's test images are not in panel.csv.",
    ]
    fewer = detail_sentences.references(replace(found, labels=(mass, nodule)))
    assert f"macro AUROC, over {mass} and {nodule}, is .700" in fewer[0]
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
