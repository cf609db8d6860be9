"""The list of statements about results: the worst true one comes first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from reportable import BINARY, CLASSES, make_results, make_run

from zoo.evaluation import Drop, Interval, Note
from zoo.evaluation.notes import CHANGED
from zoo.runs.leaks import Leak
from zoo.runs.results import Results
from zoo.runs.statements import Statement

BETTER, SAME, WORSE = Interval(0.2, 0.1, 0.3), Interval(0.0, -0.1, 0.1), Interval(-0.2, -0.3, -0.1)
CLEAR, UNCLEAR = Interval(0.1, 0.05, 0.15), Interval(0.1, -0.05, 0.25)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    found = make_results(make_run(tmp_path_factory.mktemp("binary"), BINARY, explained=False, pixels=False))
    assert found.drop is not None
    return replace(found, evaluation=replace(found.evaluation, notes=()), drop=replace(found.drop, difference=UNCLEAR))


def statements(results: Results) -> tuple[Statement, ...]:
    return results.statements


def of_notes(results: Results, *notes: Note) -> tuple[Statement, ...]:
    return replace(results, evaluation=replace(results.evaluation, notes=notes)).statements


def lead(results: Results) -> tuple[str, str]:
    first = statements(results)[0]
    return first.kind, first.severity


def with_lead(results: Results, difference: Interval, brier: Interval = WORSE) -> Results:
    """Results whose metadata baseline is so far behind, and its Brier score so much better."""
    metadata, prevalence = results.baselines[0], results.baselines[-1]
    changed = {"beaten": difference.low > 0, "brier_difference": brier, "calibrated_brier_difference": brier}
    return replace(results, baselines=(replace(metadata, difference=difference, **changed), prevalence))


def with_headline(results: Results, *value: float, **changes: Any) -> Results:
    averages = {"macro": {**results.evaluation.averages["macro"], "auroc": Interval(*value)}}
    return replace(results, evaluation=replace(results.evaluation, averages=averages, **changes))


def with_drop(results: Results, difference: Interval) -> Results:
    assert isinstance(results.drop, Drop)
    return replace(results, drop=replace(results.drop, difference=difference))


def test_a_good_result_opens_with_its_headline_and_what_confirms_it(results: Results) -> None:
    found = statements(with_lead(results, BETTER))
    assert [(each.kind, each.severity) for each in found] == [
        ("headline", "good"),
        ("baseline", "good"),
        ("drop", "note"),
        ("baseline", "good"),
    ]


@pytest.mark.parametrize("difference", [SAME, WORSE])
def test_a_network_not_above_its_metadata_does_not_open_with_being_better_than_chance(
    results: Results, difference: Interval
) -> None:
    found = with_lead(results, difference)
    assert lead(found) == ("baseline", "bad")
    assert lead(with_drop(found, CLEAR)) == ("baseline", "bad")


def test_a_drop_and_a_worse_brier_score_come_before_a_good_headline(results: Results) -> None:
    worse = with_lead(results, BETTER, brier=CLEAR)
    assert lead(worse) == ("baseline", "bad")
    assert [each.kind for each in statements(with_drop(worse, CLEAR))][:3] == ["drop", "baseline", "headline"]


@pytest.mark.parametrize(
    ("value", "changes", "severity"),
    [
        ((math.nan,) * 3, {}, "bad"),
        ((0.5, 0.5, 0.5), {"constant": BINARY.labels}, "bad"),
        ((0.8, 0.7, 0.9), {"patients": 3}, "caution"),
        ((0.995, 0.99, 1.0), {}, "bad"),
        ((0.2, 0.1, 0.3), {}, "bad"),
        ((0.52, 0.4, 0.6), {}, "bad"),
        ((0.8, math.nan, math.nan), {}, "caution"),
    ],
)
def test_a_headline_without_a_conclusion_or_with_a_bad_one_comes_before_baselines_and_drops(
    results: Results, value: tuple[float, ...], changes: dict[str, Any], severity: str
) -> None:
    found = with_headline(with_drop(with_lead(results, SAME), CLEAR), *value, **changes)
    assert lead(found) == ("headline", severity)


def test_changed_predictions_and_leaks_come_before_everything(results: Results) -> None:
    leak = Leak("patient", "test", 3, 150, "a.png")
    (first, second, *_) = of_notes(replace(results, leaks=(leak,)), Note(CHANGED, ("test",), (1, 0, 0)))
    assert [(each.kind, each.severity) for each in (first, second)] == [("note", "alarm"), ("leak", "alarm")]
    found = statements(with_headline(with_lead(replace(results, leaks=(leak, leak)), WORSE), 0.5, 0.4, 0.6))
    assert [(each.kind, each.severity, each.place) for each in found[:2]] == [
        ("leak", "alarm", 0),
        ("leak", "alarm", 1),
    ]


def test_cautions_come_before_explanations(results: Results) -> None:
    notes = (Note("few_images", BINARY.labels), Note("unknown_patients", counts=(3,)))
    found = [each for each in of_notes(results, *notes) if each.kind == "note"]
    assert [(each.severity, each.place) for each in found] == [("caution", 1), ("note", 0)]


def test_classes_have_no_thresholds(tmp_path: Any) -> None:
    found = make_results(make_run(tmp_path, CLASSES, explained=False, pixels=False))
    assert "most_probable_class" in [each.kind for each in statements(found)]


def test_every_statement_stands_in_the_json(results: Results) -> None:
    plain = results.to_dict()["statements"]
    assert [each["kind"] for each in plain] == [each.kind for each in statements(results)]
