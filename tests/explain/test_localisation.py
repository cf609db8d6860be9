"""Scores of maps against boxes: small maps whose scores can be counted by hand, baselines, intervals and sentences."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.explain.localisation import (
    SIGMA,
    Scores,
    baselines,
    box_mask,
    centre_map,
    energy,
    join,
    localisation,
    overlap,
    pointing,
    random_maps,
    score,
)

QUARTER = np.array([[0.0, 0.0, 0.5, 0.5]])  # the upper left quarter
CORNERS = np.array([[0.0, 0.0, 0.25, 0.25], [0.75, 0.75, 0.25, 0.25]])


def test_a_box_covers_the_pixels_whose_centre_it_holds() -> None:
    assert box_mask(QUARTER, 4).astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    wide = box_mask(np.array([[0.25, 0.5, 0.75, 0.25]]), 4)  # x and width run along the row
    assert wide.astype(int).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]]


def test_several_boxes_are_united_and_overlaps_count_once() -> None:
    assert box_mask(np.concatenate([QUARTER, QUARTER, CORNERS]), 4).sum() == 4 + 1


def test_a_box_smaller_than_a_pixel_still_covers_one() -> None:
    mask = box_mask(np.array([[0.76, 0.26, 0.01, 0.01]]), 4)
    assert np.argwhere(mask).tolist() == [[1, 3]]


def test_the_pointing_game_asks_whether_the_maximum_is_in_a_box() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 3], heat[3, 0] = 1.0, 0.9
    assert pointing(heat, np.array([[0.75, 0.0, 0.25, 0.25]]), tolerance=0) == 1  # x is the column
    assert pointing(heat, np.array([[0.0, 0.75, 0.25, 0.25]]), tolerance=0) == 0
    assert pointing(heat, np.array([[0.0, 0.75, 0.25, 0.25], [0.75, 0.0, 0.25, 0.25]]), tolerance=0) == 1


@pytest.mark.parametrize(("column", "hit"), [(56, 1), (70, 1), (71, 0)])
def test_a_maximum_up_to_15_of_224_pixels_beside_a_box_counts(column: int, hit: int) -> None:
    heat = np.zeros((224, 224), np.float32)
    heat[10, column] = 1.0
    # the box ends at pixel 56; the centre of pixel 70 is 14.5 pixels beyond, that of 71 is 15.5
    assert pointing(heat, np.array([[0.0, 0.0, 0.25, 0.25]])) == hit


def test_the_tolerance_is_round_at_corners() -> None:
    heat = np.zeros((100, 100), np.float32)
    heat[59, 59] = 1.0  # 9.5 beyond the corner in each direction, 13.4 in all
    box = np.array([[0.0, 0.0, 0.5, 0.5]])
    assert pointing(heat, box, tolerance=0.10) == 0
    assert pointing(heat, box, tolerance=0.14) == 1


def test_shared_maxima_count_by_their_share_and_a_zero_map_misses() -> None:
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0] = heat[0, 1] = heat[3, 3] = heat[3, 2] = 2.0
    assert pointing(heat, CORNERS[:1], tolerance=0) == 0.25
    assert pointing(np.zeros((4, 4)), np.array([[0.0, 0.0, 1.0, 1.0]])) == 0


def test_energy_is_the_share_of_the_sum_inside() -> None:
    heat = np.array([[3, 1], [0, 4]], np.float32)
    assert energy(heat, np.array([[True, False], [True, False]])) == pytest.approx(3 / 8)
    assert math.isnan(energy(np.zeros((2, 2)), np.ones((2, 2), bool)))


def test_overlap_is_that_of_the_map_cut_at_shares_of_its_maximum() -> None:
    heat = np.array([[8, 4, 2, 1]] * 4, np.float32)
    mask = box_mask(QUARTER, 4)  # 4 pixels, in the first two columns of the first two rows
    assert overlap(heat, mask, [0.125, 0.25, 0.5, 1.0]).tolist() == [4 / 16, 4 / 12, 4 / 8, 2 / 6]
    assert overlap(np.zeros((4, 4)), mask, [0.5]).tolist() == [0]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_scores_are_shares_and_a_map_of_the_box_itself_is_perfect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.random(2) * 0.7
    boxes = np.array([[*corner, *(0.05 + rng.random(2) * (0.95 - corner))]])
    perfect = box_mask(boxes, 32).astype(np.float32)
    scores = score(np.stack([perfect, rng.random((32, 32), np.float32)]), [boxes, boxes])
    assert scores.energy[0] == 1
    assert scores.iou[0].tolist() == [1, 1, 1]
    assert scores.pointing[0] == 1
    for values in (scores.pointing, scores.energy, scores.iou):
        assert ((values >= 0) & (values <= 1)).all()


def test_the_centre_is_a_gaussian_of_a_quarter_of_the_side() -> None:
    heat = centre_map(101)
    assert np.unravel_index(heat.argmax(), heat.shape) == (50, 50)
    distance = 25 / 101
    assert heat[50, 75] / heat[50, 50] == pytest.approx(math.exp(-0.5 * (distance / SIGMA) ** 2), rel=1e-5)


def test_random_maps_are_seeded_smooth_and_different() -> None:
    maps = random_maps(3, (7, 7), 56, seed=4)
    np.testing.assert_array_equal(maps, random_maps(3, (7, 7), 56, seed=4))
    assert not np.allclose(maps[0], maps[1])
    assert maps.max(axis=(1, 2)).tolist() == [1, 1, 1]
    assert np.abs(np.diff(maps, axis=1)).max() < 0.2  # an eighth of a cell per pixel


def test_the_baselines_of_a_box_around_everything_are_perfect() -> None:
    found = baselines([np.array([[0.0, 0.0, 1.0, 1.0]])] * 2, (7, 7), 28, seed=0)
    assert set(found) == {"centre", "random"}
    for scores in found.values():
        assert scores.pointing.tolist() == [1, 1]
        assert scores.energy == pytest.approx([1, 1])


def test_random_maps_hold_as_much_energy_in_a_box_as_its_area() -> None:
    found = baselines([QUARTER] * 40, (7, 7), 28, seed=0)["random"]
    assert found.energy.mean() == pytest.approx(0.25, abs=0.02)


def two_methods(own: list[float], other: list[float]) -> dict[str, Scores]:
    def scores(values: list[float]) -> Scores:
        array = np.array(values)
        return Scores(np.nan_to_num(array), array, np.stack([np.nan_to_num(array)] * 3, axis=1))

    return {"gradcam": scores(own), "centre": scores(other)}


def test_means_are_per_label_and_over_all_with_boxes_counted() -> None:
    scores = two_methods([1, 0, 1, 0.5], [0, 0, 0, 0])
    found = localisation(scores, ["Mass", "Mass", "Nodule", "Mass"], [1, 2, 1, 1], ["a", "b", "c", "d"])
    assert [(r.label, r.method, r.images, r.boxes) for r in found.rows] == [
        ("Mass", "gradcam", 3, 4),
        ("Mass", "centre", 3, 4),
        ("Nodule", "gradcam", 1, 1),
        ("Nodule", "centre", 1, 1),
        ("all", "gradcam", 4, 5),
        ("all", "centre", 4, 5),
    ]
    assert [r.energy.value for r in found.rows] == pytest.approx([0.5, 0, 1, 0, 0.625, 0])
    assert found.rows[0].iou["0.5"].value == pytest.approx(0.5)
    assert math.isnan(found.rows[2].energy.low)  # of one patient


def test_intervals_are_over_patients_not_images() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(12), 10)  # ten images of each patient, all alike
    patients = np.repeat([f"p{i}" for i in range(12)], 10)
    scores = two_methods(values.tolist(), [0.0] * 120)
    together = localisation(scores, ["Mass"] * 120, [1] * 120, patients.tolist()).rows[0].energy
    apart = localisation(scores, ["Mass"] * 120, [1] * 120, [str(i) for i in range(120)]).rows[0].energy
    assert together.low < together.value < together.high
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_a_few_hits_out_of_as_many_are_no_certainty() -> None:
    patients = [str(i) for i in range(9)]
    found = localisation(two_methods([1.0] * 9, [1.0] * 9), ["Mass"] * 9, [1] * 9, patients)
    z = NormalDist().inv_cdf(0.975)
    assert (found.rows[0].pointing.low, found.rows[0].pointing.high) == pytest.approx((9 / (9 + z * z), 1))  # Wilson
    assert "no better" in found.notes[0]


def test_maps_without_energy_are_left_out_and_counted() -> None:
    found = localisation(two_methods([math.nan, 0.5, 0.7], [0.1] * 3), ["Mass"] * 3, [1] * 3, ["a", "b", "c"])
    assert found.rows[0].energy.value == pytest.approx(0.6)
    assert found.rows[0].pointing.value == pytest.approx(0.4)
    assert any("1 of 3 maps is zero everywhere" in note for note in found.notes)


def test_energy_is_of_the_same_maps_for_the_network_and_the_baselines() -> None:
    # the centre is far better on the two maps that the network leaves empty
    scores = two_methods([math.nan, 0.5, 0.7, math.nan, 0.2], [0.9, 0.1, 0.3, 1.0, 0.2])
    found = localisation(scores, ["Mass"] * 4 + ["Nodule"], [1] * 5, list("abcde"))
    by_row = {(row.label, row.method): row for row in found.rows}
    assert by_row["Mass", "gradcam"].energy.value == pytest.approx(0.6)
    assert by_row["Mass", "centre"].energy.value == pytest.approx(0.2)
    assert by_row["all", "centre"].energy.value == pytest.approx(0.2)
    assert [(row.images, row.energy_images) for row in found.rows] == [(4, 2)] * 2 + [(1, 1)] * 2 + [(5, 3)] * 2
    gain = by_row["all", "gradcam"].energy.value - by_row["all", "centre"].energy.value
    assert f"({gain:.3f} [".replace("0.", ".") in found.notes[0]
    # nothing is left out of the other scores, where a map of zeros is a miss
    assert by_row["Mass", "centre"].pointing.value == pytest.approx(2.3 / 4)


@pytest.mark.parametrize(("own", "other", "words"), [(0.8, 0.3, "better by .500"), (0.2, 0.6, "WORSE by .400")])
def test_the_sentence_says_whether_the_maps_beat_the_centre(own: float, other: float, words: str) -> None:
    found = localisation(two_methods([own] * 20, [other] * 20), ["Mass"] * 20, [1] * 20, [str(i) for i in range(20)])
    assert found.notes[0].startswith("Against a blob in the centre of the image, Grad-CAM is ")
    assert words in found.notes[0]


def test_a_difference_that_may_be_nothing_is_no_better() -> None:
    own = [0.0, 1.0] * 10
    found = localisation(two_methods(own, own[::-1]), ["Mass"] * 20, [1] * 20, [str(i) for i in range(20)])
    assert "no better" in found.notes[0]


def test_batches_join_in_order() -> None:
    parts = [two_methods([0.1, 0.2], [0, 0])["gradcam"], two_methods([0.3], [0])["gradcam"]]
    assert join(parts).energy.tolist() == [0.1, 0.2, 0.3]
