"""A grid: every combination of the values, in the order given; the last setting varies fastest."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from zoo.config.resolve import resolve
from zoo.core.errors import UsageError
from zoo.core.registry import Registry
from zoo.search.folder import Definition, Folder
from zoo.search.runner import Runner
from zoo.search.space import Dimension, Values, described, layers, parse_overs
from zoo.search.trials import Results, Trial

logger = logging.getLogger(__name__)

SHOWN_ERRORS = 10


def combinations(dimensions: Sequence[Values]) -> list[dict[str, Any]]:
    """All assignments of the grid."""
    texts = itertools.product(*(each.texts for each in dimensions))
    return [dict(zip((each.key for each in dimensions), chosen, strict=True)) for chosen in texts]


def configurations(
    definition: Definition, assignments: Iterable[dict[str, Any]], registry: Registry
) -> list[dict[str, Any]]:
    """The resolved configuration of each assignment, in plain values.

    Raises:
        UsageError: some are not valid; lists each reason once with its assignments.
    """
    found, wrong, count = [], dict[str, list[str]](), 0
    for values in assignments:
        count += 1
        try:
            found.append(resolve(layers(definition.below, definition.above, values), registry).to_dict())
        except UsageError as error:
            wrong.setdefault(str(error), []).append(described(values))
    if not wrong:
        return found
    if len(wrong) == 1 and len(next(iter(wrong.values()))) == count:
        raise UsageError(next(iter(wrong)))
    lines = [f"{_which(named)}: {reason}" for reason, named in wrong.items()]
    more = [f"and {len(lines) - SHOWN_ERRORS} more reasons"] if len(lines) > SHOWN_ERRORS else []
    total = sum(map(len, wrong.values()))
    raise UsageError(
        f"{total} of {count} combinations cannot be trained; nothing was started.",
        *(f"  {line}" for line in [*lines[:SHOWN_ERRORS], *more]),
    )


def _which(named: Sequence[str]) -> str:
    return named[0] if len(named) == 1 else f"{named[0]} (and {len(named) - 1} more)"


def plan(definition: Definition, folder: Folder, registry: Registry) -> list[Trial]:
    """The trials of a grid: existing ones first, then new ones.

    Raises:
        UsageError: a combination is not valid, the grid contradicts the sweep of that name, or a run has the name of a trial.
    """
    dimensions = [each for each in parse_overs(definition.over, ranges=False) if isinstance(each, Values)]
    assignments = combinations(dimensions)
    configs = configurations(definition, assignments, registry)
    before = folder.read()
    trials = _agreed(before, assignments, configs, folder) if before else []
    known = [trial.values for trial in trials]
    fresh = [(values, config) for values, config in zip(assignments, configs, strict=True) if values not in known]
    added = [
        Trial(number, folder.run_name(number), values, config)
        for number, (values, config) in enumerate(fresh, len(trials) + 1)
    ]
    folder.refuse_taken(folder.taken([trial.run for trial in added]))
    return [*trials, *added]


def _agreed(
    before: tuple[Definition, list[Trial]],
    assignments: list[dict[str, Any]],
    configs: list[dict[str, Any]],
    folder: Folder,
) -> list[Trial]:
    """The existing trials, if the new grid contains all of them with the same configurations."""
    kept, trials = before
    anew = f"Give the sweep another name, or delete {folder.path} and its runs."
    if kept.kind != "grid":
        raise UsageError(f"the sweep '{folder.name}' is a search of {kept.trials} trials, not a grid. {anew}")
    keys = [list(each.values) for each in trials[:1]]
    if keys and set(keys[0]) != set(assignments[0]):
        raise UsageError(
            f"the sweep '{folder.name}' varies {', '.join(keys[0])}, not {', '.join(assignments[0])}. {anew}"
        )
    for trial in trials:
        if trial.values not in assignments:
            raise UsageError(
                f"the sweep '{folder.name}' has a trial {described(trial.values)} ({trial.run}), which this grid leaves out: "
                f"values can be added, but not removed. {anew}"
            )
        changed = _difference(trial.config, configs[assignments.index(trial.values)])
        if changed:
            raise UsageError(f"the sweep '{folder.name}' was begun with other settings: {changed}. {anew}")
    return trials


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings in which two configurations differ: `epochs 3, now 5`."""
    flat_before, flat_now = _flat(before), _flat(now)
    names = [name for name in {**flat_before, **flat_now} if flat_before.get(name) != flat_now.get(name)]
    return ", ".join(f"{name} {flat_before.get(name)}, now {flat_now.get(name)}" for name in names[:5])


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def results(folder: Folder, definition: Definition, trials: Sequence[Trial]) -> Results:
    """The trials as a table."""
    keys = tuple(each.key for each in dimensions_of(definition))
    return Results(
        folder.name, folder.path, definition.kind, definition.metric, keys, tuple(trials), tuple(definition.also)
    )


def dimensions_of(definition: Definition) -> tuple[Dimension, ...]:
    return parse_overs(definition.over, ranges=definition.kind == "search")


def run(runner: Runner, trials: list[Trial], *, retry_failed: bool) -> Results:
    """Run the remaining trials of a grid; write sweep.json and results.csv after each.

    Raises:
        Interrupted: the user asked to stop; what is done is kept.
        ZooError: a file cannot be written.
    """
    folder, definition = runner.folder, runner.definition

    def keep() -> Results:
        folder.write(definition, trials)
        found = results(folder, definition, trials)
        folder.write_results(found)
        return found

    keep()
    for trial in trials:
        finished = runner.settle(trial)
        if finished and retry_failed and trial.status == "failed":
            trial.status, trial.reason, trial.result = "waiting", "", {}
    found = keep()
    waiting = [trial for trial in trials if not trial.done]
    if len(waiting) < len(trials):
        logger.info(f"{len(trials) - len(waiting)} of {len(trials)} trials are done already")
    for place, trial in enumerate(waiting):
        runner.check()
        trial.status = "running"
        try:
            position = f"{len(trials) - len(waiting) + place + 1} of {len(trials)}"
            runner.carry_out(trial, position, len(waiting) - place)
        finally:
            found = keep()
    return found
