"""What a run's results come to: one list of statements, the worst true one first, that every summary draws from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoo.evaluation.conclusions import conclude
from zoo.evaluation.notes import CHANGED, UNCHECKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoo.evaluation.baselines import Baseline
    from zoo.evaluation.evaluate import Evaluation
    from zoo.evaluation.like_for_like import Drop
    from zoo.evaluation.notes import Note
    from zoo.runs.leaks import Leak

Kind = Literal[
    "leak",
    "headline",
    "baseline",
    "drop",
    "left_out",
    "data_note",
    "threshold_note",
    "note",
    "most_probable_class",
]
Severity = Literal["alarm", "bad", "caution", "good", "note"]

# notes that put a figure in doubt; the others explain one
CAUTIONS = {
    *("constant_output", "worse_than_chance", "duplicate_images", "unknown_patients", "few_patients", "one_patient"),
    *("no_interval", "undetermined_threshold", "target_by_one_decision", "near_duplicates_unchecked", UNCHECKED),
}


@dataclass(frozen=True)
class Statement:
    """One true statement about the results, as a fact: its kind, how bad it is, and its `place` in the list it is from.

    `kind`: "leak" (of `Results.leaks`), "headline" (see `conclude`), "baseline" (of `Results.baselines`), "drop"
    (`Results.drop`), "left_out" (labels that a comparison of validation with test leaves out), "data_note", "threshold_note",
    "note" (of `Results.notes`, `Results.threshold_notes` and `Evaluation.notes`), "most_probable_class" (a multiclass task has
    no thresholds).

    `severity`: "alarm" (no figure stands), "bad" (the result is not what it seems), "caution" (a figure is in doubt), "good",
    or "note" (an explanation).
    """

    kind: Kind
    severity: Severity
    place: int = 0


def statements(
    evaluation: Evaluation,
    *,
    leaks: Sequence[Leak],
    baselines: Sequence[Baseline],
    drop: Drop | None,
    notes: Sequence[Note],
    threshold_notes: Sequence[Note],
) -> tuple[Statement, ...]:
    """All statements: what is bad from the worst down; then the headline, what confirms it, cautions and notes.

    A network that is not clearly better than its metadata does not open with being better than chance, and none opens with a
    good figure where something bad is true. The arguments are the fields of `Results`.
    """
    found = [(0, 0, Statement("leak", "alarm", place)) for place in range(len(leaks))]
    headline = _headline(evaluation)
    found.append((2 if headline == "good" else 1, 0, Statement("headline", headline)))
    for place, each in enumerate(baselines):
        bad = each.beaten is False or each.worse_brier
        severity: Severity = "bad" if bad else "good" if each.beaten else "note"
        # below the metadata comes before a drop; worse in one respect, or than a constant, behind it; to beat that is no news
        rank = 1 if each.features and not (each.beaten and bad) else 3 if bad else 6
        found.append((1 if bad else 2, rank, Statement("baseline", severity, place)))
    if drop is not None:
        found.append((1, 2, Statement("drop", "bad")) if drop.clear else (2, 2, Statement("drop", "note")))
        if drop.left_out:
            found.append((2, 4, Statement("left_out", "caution")))
    kinds: dict[Kind, Sequence[Note]] = {
        "data_note": notes,
        "threshold_note": threshold_notes,
        "note": evaluation.notes,
    }
    for kind, facts in kinds.items():
        for place, note in enumerate(facts):
            if note.kind == CHANGED:
                found.append((0, -1, Statement(kind, "alarm", place)))
            else:
                doubt = note.kind in CAUTIONS
                found.append((2, 4 if doubt else 5, Statement(kind, "caution" if doubt else "note", place)))
    if evaluation.task.exclusive:
        found.append((2, 5, Statement("most_probable_class", "note")))
    return tuple(each for *_, each in sorted(found, key=lambda row: row[:2]))


def _headline(evaluation: Evaluation) -> Severity:
    kind = conclude(evaluation).kind
    if kind == "better_than_chance":
        return "good"
    return "caution" if kind in ("few_patients", "no_interval") else "bad"
