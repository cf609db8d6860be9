"""FROC and AFROC against brute force, and marks matched with boxes."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.errors import DataError
from zoo.evaluation.froc import RATES, Localisation, afroc, froc_curve, match_marks, sensitivities
from zoo.evaluation.marks import read_marks

MARKS = "image,patient,reader,x,y,score\n"
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h]\n"  # the header of NIH's BBox_List_2017.csv
MISSED = -math.inf


def made_up(seed: int, images: int = 30) -> Localisation:
    rng = np.random.default_rng(seed)
    lesion = rng.integers(0, images // 2, images // 2)
    score = np.where(rng.random(len(lesion)) < 0.3, MISSED, rng.integers(0, 8, len(lesion)))
    other = rng.integers(0, images, images)
    return Localisation(images, lesion, score, other, rng.integers(-3, 6, images).astype(float))


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_afroc_is_every_lesion_against_every_image_without(seed: int) -> None:
    """The figure of merit as Chakraborty & Berbaum 2004 write it: 1, ½ or 0 for each pair, unmarked lowest."""
    found = made_up(seed)
    normal = sorted(set(range(found.images)) - set(found.lesion_image.tolist()))
    highest = [
        max([s for i, s in zip(found.other_image, found.other_score, strict=True) if i == n], default=MISSED)
        for n in normal
    ]
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(found.lesion_score, highest)]
    assert afroc(found) == pytest.approx(np.mean(pairs), abs=1e-12)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_sensitivity_at_a_rate_is_the_best_threshold_that_keeps_it(seed: int) -> None:
    found = made_up(seed)
    values = sensitivities(found, np.arange(found.images).astype(str), replicates=2)
    cuts = [math.inf, *found.lesion_score[np.isfinite(found.lesion_score)], *found.other_score]
    for rate in RATES:
        allowed = [c for c in cuts if (found.other_score >= c).sum() <= rate * found.images]
        best = max((found.lesion_score >= c).mean() for c in allowed)
        # just above the first mark that is one too many, more lesions may be found than at any score itself
        above = [c for c in found.other_score if (found.other_score > c).sum() <= rate * found.images]
        best = max([best, *((found.lesion_score > c).mean() for c in above)])
        assert values[f"{rate:g}"].value == pytest.approx(best)


def test_the_curve_rises_to_all_marks() -> None:
    found = made_up(1)
    false, share = froc_curve(found)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(share) >= 0).all()
    assert (false[0], share[0]) == (0, 0)
    assert (false[-1], share[-1]) == (len(found.other_score) / found.images, np.isfinite(found.lesion_score).mean())


def test_marks_belong_to_the_box_they_are_in() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 5, 10, 10], [50, 50, 5, 5]])
    points = np.array([[1.0, 1], [9, 9], [2, 2], [30, 30]])
    found, others = match_marks(points, np.array([0.2, 0.9, 0.7, 0.4]), boxes)
    assert found.tolist() == [0.7, 0.9, MISSED]  # of two marks the higher; in two boxes the nearer centre
    assert others.tolist() == [0.4]


def test_intervals_rest_on_patients() -> None:
    found, patients = made_up(2, images=60), np.arange(60) // 6
    wide = sensitivities(found, patients.astype(str), replicates=300)["1"]
    narrow = sensitivities(found, np.arange(60).astype(str), replicates=300)["1"]
    assert wide.low <= wide.value <= wide.high
    assert wide.value == narrow.value
    assert (wide.low, wide.high) != (narrow.low, narrow.high)


def test_tables_of_marks_and_boxes(tmp_path: Path) -> None:
    marks, boxes = tmp_path / "marks.csv", tmp_path / "boxes.csv"
    marks.write_text(
        f"{MARKS}a,p,r,15,15,.9\na,p,r,80,80,.3\nb,q,r,1,1,.5\nc,q,r,,,\na,p,s,14,14,.1\nb,q,s,,,\nc,q,s,,,\n"
    )
    boxes.write_text(f"{BOXES}a,Mass,10,10,10,10\nz,Mass,0,0,1,1\n")
    found = read_marks(marks, boxes)
    assert (found.images, found.readers, found.labels) == (("a", "b", "c"), ("r", "s"), ("lesion",))
    assert found.patients.tolist() == ["p", "q", "q"]
    own = found.found["lesion", "readings", "r"]
    assert (own.lesion_score.tolist(), own.other_score.tolist(), own.other_image.tolist()) == (
        [0.9],
        [0.3, 0.5],
        [0, 1],
    )
    assert afroc(own) == 1
    readings = found.readings()
    assert readings.images.tolist() == ["a", "b", "c"]
    assert readings.reference[:, 0].tolist() == [1, 0, 0]
    assert readings.scores[0, :, 0, 0].tolist() == [0.9, 0.5, -0.5]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ("a,p,r,1,,.5\n", "line 2: a mark needs x, y and score"),
        ("a,p,r,left,1,.5\n", "line 2: the column 'x' has 'left'"),
        ("b,p,r,1,1,.5\n", "no box of an image"),
    ],
)
def test_what_is_no_table_of_marks_is_refused(tmp_path: Path, rows: str, text: str) -> None:
    marks, boxes = tmp_path / "marks.csv", tmp_path / "boxes.csv"
    marks.write_text(MARKS + rows)
    boxes.write_text(f"{BOXES}a,Mass,10,10,10,10\n")
    with pytest.raises(DataError, match=text):
        read_marks(marks, boxes)
