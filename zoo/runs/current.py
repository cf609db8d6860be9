"""A run's evaluation as it stands now: the saved one while it is of the run's predictions and thresholds, else a new one."""

from __future__ import annotations

from typing import Any

from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.thresholds import choose_thresholds
from zoo.runs.results import stored_rule, with_doubts
from zoo.runs.run import Run


def current_evaluation(
    run: Run, split: str, rule: ThresholdRule | None = None, *, accept_changed: bool = False
) -> tuple[Evaluation, bool]:
    """The evaluation of a split at the run's thresholds, or at those that `rule` chooses on its validation images.

    A saved evaluation is used where it has the digest of the predictions, the thresholds and the rule that run.json keeps.
    Otherwise the predictions are measured again, with the resamples of the saved one, and nothing is written.

    Args:
        run: a finished run.
        split: "test" or "val".
        rule: another rule than the run's own.
        accept_changed: whether predictions that were changed since are measured, with a note, instead of what is saved.

    Returns:
        The evaluation, and whether it is the saved one.

    Raises:
        DataError: nothing is saved, or what is saved is damaged.
        ZooError: the predictions are needed and cannot be read.
    """
    saved, info = Evaluation.load(run.path, split), run.info()
    images = run.predictions(split, accept_changed=True) if accept_changed else None
    digest = images.digest if images is not None else (info.get("predictions") or {}).get(split)
    if digest in (None, saved.predictions_digest) and _at_thresholds(run, info, saved, rule):
        return saved, True
    chosen = rule or stored_rule(run)
    validation = run.predictions("val", accept_changed=accept_changed)
    if images is None:
        images = validation if split == "val" else run.predictions(split)
    found = evaluate(
        images,
        choose_thresholds(validation, chosen),
        split=split,
        rule=chosen,
        replicates=saved.replicates,
        level=saved.level,
        seed=saved.seed,
    )
    return with_doubts(found, validation), False


def _at_thresholds(run: Run, info: dict[str, Any], saved: Evaluation, rule: ThresholdRule | None) -> bool:
    """Whether an evaluation is at the thresholds that are wanted: those of the rule, or else those that the run keeps."""
    if saved.task.exclusive:
        return True
    if rule is not None and str(saved.rule) != str(rule):
        return False
    kept = info.get("thresholds")
    own = rule is None or str(rule) == str(stored_rule(run))
    return not own or (
        kept in (None, saved.thresholds) and str(saved.rule or stored_rule(run)) == str(stored_rule(run))
    )
