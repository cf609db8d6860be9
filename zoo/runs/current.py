"""A run's evaluation as it stands now: the saved one while it is of the run's predictions and thresholds, else a new one."""

from __future__ import annotations

from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.thresholds import choose_thresholds
from zoo.runs.results import stored_rule
from zoo.runs.run import Run


def current_evaluation(
    run: Run, split: str, rule: ThresholdRule | None = None, *, accept_changed: bool = False
) -> tuple[Evaluation, bool]:
    """The evaluation of a split at the run's thresholds, or at those that `rule` chooses on its validation images.

    A saved evaluation is used where it has the digest of the predictions and the thresholds that run.json keeps. Otherwise the
    predictions are measured again, and nothing is written.

    Returns:
        The evaluation, and whether it is the saved one.

    Raises:
        DataError: nothing is saved, or what is saved is damaged.
        ZooError: the predictions are needed and cannot be read.
    """
    saved = Evaluation.load(run.path, split)
    if is_current(run, saved, rule):
        return saved, True
    return measured_again(run, saved, rule, accept_changed=accept_changed), False


def is_current(run: Run, saved: Evaluation, rule: ThresholdRule | None = None) -> bool:
    """Whether a saved evaluation is of the predictions and thresholds that run.json keeps, and follows the rule if one is given."""
    info = run.info()
    digest = (info.get("predictions") or {}).get(saved.split)
    if digest is not None and saved.predictions_digest != digest:
        return False
    if rule is not None:
        return saved.rule is not None and str(saved.rule) == str(rule)
    kept = info.get("thresholds")
    same_rule = saved.rule is None or str(saved.rule) == str(stored_rule(run))
    return same_rule and (kept is None or saved.task.exclusive or saved.thresholds == kept)


def measured_again(
    run: Run, saved: Evaluation, rule: ThresholdRule | None = None, *, accept_changed: bool = False
) -> Evaluation:
    """A new evaluation from the run's predictions, with the resamples of the saved one."""
    rule = rule or stored_rule(run)
    validation = run.predictions("val", accept_changed=accept_changed)
    images = validation if saved.split == "val" else run.predictions(saved.split, accept_changed=accept_changed)
    thresholds = choose_thresholds(validation, rule)
    return evaluate(
        images,
        thresholds,
        split=saved.split,
        rule=rule,
        replicates=saved.replicates,
        level=saved.level,
        seed=saved.seed,
    )
