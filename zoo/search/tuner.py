"""A search: Optuna draws the values of each trial by the results of finished ones (TPE, Bergstra et al. 2011) and prunes trials
below the median of the others at the same epoch.

The values of a trial depend only on the seed, its number and the trials finished before it, not on the state of a process.
So a search that was killed continues as if it had not been.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo.config.resolve import resolve
from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import Registry
from zoo.search.database import opened
from zoo.search.folder import Definition, Folder
from zoo.search.grid import combinations, configurations, dimensions_of, results
from zoo.search.process import without_passwords
from zoo.search.runner import Runner, without_root
from zoo.search.space import Dimension, Range, Values, layers
from zoo.search.trials import Results, Trial, epoch_column

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

DATABASE = "study.db"
RANDOM_TRIALS = 10  # drawn at random before the sampler has something to learn from
FULL_TRIALS = 5  # that must be complete before one is pruned
MOST_CHECKED = 500


def check(definition: Definition, registry: Registry) -> dict[str, Any]:
    """Check every value, both ends of every range, and combinations of values, up to `MOST_CHECKED`.

    Returns:
        The resolved configuration of the first values.

    Raises:
        UsageError: something is not valid, or trials cannot be pruned by this metric, which epochs do not have.
    """
    if definition.prune and epoch_column(definition.metric) is None:
        raise UsageError(
            f"{definition.metric} is not computed after every epoch, so no trial can be pruned by it: give --no-prune, or "
            "another --metric such as auroc."
        )
    dimensions = dimensions_of(definition)
    ends: dict[str, Sequence[Any]] = {
        each.key: each.texts if isinstance(each, Values) else [_number(each, each.low), _number(each, each.high)]
        for each in dimensions
    }
    first = {key: values[0] for key, values in ends.items()}
    chosen = combinations([each for each in dimensions if isinstance(each, Values)])
    several = [first | values for values in itertools.islice(chosen, MOST_CHECKED)]
    several += [first | {key: value} for key, values in ends.items() for value in values]
    distinct = [values for number, values in enumerate(several) if values not in several[:number]]
    return configurations(definition, distinct, registry)[0]


def check_folder(folder: Folder, definition: Definition) -> None:
    """Raise UsageError if the folder is another sweep's, or runs have the names of the trials."""
    # before sweep.json: another machine that begins the sweep at this moment writes that first, and then makes its runs
    taken = folder.taken([folder.run_name(number) for number in range(1, (definition.trials or 0) + 1)])
    before = folder.read()
    anew = "Give the new sweep another name."
    if before is None:
        folder.refuse_taken(taken)
        return
    kept = before[0]
    if kept.trials is None:
        raise UsageError(f"the sweep '{folder.name}' is a grid, not a search. {anew}")
    if kept.storage != definition.storage:
        where = kept.storage or f"its own folder ({DATABASE})"
        raise UsageError(
            f"the sweep '{folder.name}' keeps its trials in {where}, not where --storage now points. {anew}"
        )


class Search:
    """The trials of a search in Optuna's database, which several machines may share."""

    def __init__(self, folder: Folder, definition: Definition, url: str | None, config: dict[str, Any]) -> None:
        import_optuna()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.definition, self.seed = folder, definition, int(config["seed"])
        self.shared = url is not None
        self.owner = f"{platform.node()}:{folder.path.resolve()}"
        self._claiming = "claiming " + hashlib.blake2b(self.owner.encode(), digest_size=8).hexdigest()
        self._keys: tuple[Dimension, ...] = dimensions_of(definition)
        folder.path.mkdir(parents=True, exist_ok=True)
        address = url or f"sqlite:///{(folder.path / DATABASE).resolve()}"
        try:
            self._storage = opened(address)
            pruner = optuna.pruners.MedianPruner(n_startup_trials=FULL_TRIALS)
            self.study = optuna.create_study(
                storage=self._storage,
                study_name=folder.name,
                direction="maximize",
                load_if_exists=True,
                pruner=pruner,
            )
        except Exception as error:  # whatever the database's driver raises
            reason = " ".join(str(without_passwords([str(error)])[0]).split())[:300]
            raise ZooError(
                f"the storage {without_passwords([address])[0]} cannot be used: {type(error).__name__}: {reason}"
            ) from error
        self._agree(config)
        self._make_room()

    def _agree(self, config: dict[str, Any]) -> None:
        """Refuse a definition other than that of the study."""
        meant = {
            "over": self.definition.over,
            "metric": self.definition.metric,
            "prune": self.definition.prune,
            "config": without_root(config),
        }
        kept = self.study.user_attrs.get("definition")
        if kept is None:
            self.study.set_user_attr("definition", meant)
            return
        changed = [name for name, value in meant.items() if kept.get(name) != value]
        if changed:
            what = {"over": "--over", "metric": "--metric", "prune": "--prune", "config": "the configuration"}
            raise UsageError(
                f"the sweep '{self.folder.name}' was begun with other settings ({', '.join(what[c] for c in changed)} "
                f"changed); --trials alone may grow. It varies {' '.join(kept['over'])}. Give the new sweep another name."
            )
        number = self.definition.trials or 0
        begun = [each for each in self._all() if each.state != _state("WAITING")]
        if begun and begun[-1].number >= number:
            raise UsageError(
                f"the sweep '{self.folder.name}' has {begun[-1].number + 1} trials already: --trials {number} cannot undo them."
            )

    def _make_room(self) -> None:
        """Add waiting trials. Machines that do so at the same time add a few too many, which are never claimed."""
        import optuna

        for _ in range((self.definition.trials or 0) - len(self._all())):
            self.study.add_trial(optuna.create_trial(state=_state("WAITING")))

    def _all(self) -> list[optuna.trial.FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def mine(self, take_over: bool) -> list[optuna.trial.FrozenTrial]:
        """Running trials that a process of this folder started; with `take_over` also those of other machines, which this
        machine then owns."""
        running = [each for each in self._all() if each.state == _state("RUNNING")]
        alone = take_over or not self.shared  # the folder's lock excludes other processes
        claimed = self.study.user_attrs.get(self._claiming)

        def meant(trial: optuna.trial.FrozenTrial) -> bool:
            owner = trial.user_attrs.get("owner")
            return alone or owner == self.owner or (owner is None and trial.number == claimed)

        return [each for each in running if meant(each) and self._own(each)]

    def claim(self) -> optuna.trial.FrozenTrial | None:
        """Claim the next waiting trial for this machine; None if there is none."""
        for each in self._all():
            if each.state == _state("WAITING") and each.number < (self.definition.trials or 0):
                # before it is claimed, so that a process killed in between finds it again; not as the trial's owner, which
                # another machine may be by now
                self.study.set_user_attr(self._claiming, each.number)
                with self.unless_finished(each):
                    if self._storage.set_trial_state_values(each._trial_id, _state("RUNNING")) and self._own(each):
                        return each
        return None

    def _own(self, frozen: optuna.trial.FrozenTrial) -> bool:
        """Make this machine the owner of a running trial; False if another machine has finished it."""
        with self.unless_finished(frozen):
            self._storage.set_trial_user_attr(frozen._trial_id, "owner", self.owner)
            return True
        return False

    @contextmanager
    def unless_finished(self, frozen: optuna.trial.FrozenTrial) -> Iterator[None]:
        """Ignore the error that a trial cannot be changed because another machine has finished it."""
        try:
            yield
        except RuntimeError:  # Optuna's UpdateFinishedTrialError is one, and other releases raise it bare
            if not self._storage.get_trial(frozen._trial_id).state.is_finished():
                raise

    def draw(self, frozen: optuna.trial.FrozenTrial) -> tuple[optuna.trial.Trial, dict[str, Any]]:
        """The trial and its values, drawn now or by an earlier process."""
        import optuna

        trial = optuna.trial.Trial(self.study, frozen._trial_id)
        values: dict[str, Any] = {}
        for each in self._keys:
            # one sampler per value: a process killed between two values draws the second as if it had drawn both
            seed = _seed(self.seed, frozen.number, each.key)
            self.study.sampler = optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=RANDOM_TRIALS, multivariate=False
            )
            values[each.key] = _suggest(trial, each)
        return trial, values

    def record(self, frozen: optuna.trial.FrozenTrial, trial: Trial) -> None:
        """Record a trial's result for all machines.

        Raises:
            RuntimeError: another machine has finished it.
        """
        value = trial.value("val", self.definition.metric)
        if trial.status == "complete" and math.isnan(value):
            trial.status = "failed"
            trial.reason = f"its validation {self.definition.metric} is undefined"
        kept = {"reason": trial.reason, "result": trial.result, "config": trial.config}
        for name, each in kept.items():
            self._storage.set_trial_user_attr(frozen._trial_id, name, each)
        states = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
        self.study.tell(
            frozen.number,
            value if trial.status == "complete" else None,
            state=_state(states[trial.status]),
        )

    def trials(self) -> list[Trial]:
        """All trials of the search."""
        statuses = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
        found = []
        for each in self._all():
            if each.number >= (self.definition.trials or 0):
                continue
            kept = each.user_attrs
            values = {d.key: each.params[d.key] for d in self._keys if d.key in each.params}
            trial = Trial(
                each.number + 1,
                self.folder.run_name(each.number + 1),
                values,
                kept.get("config", {}),
                statuses.get(each.state.name, "waiting"),
                kept.get("reason", ""),
                kept.get("result", {}),
            )
            found.append(trial)
        return found

    def elsewhere(self) -> list[str]:
        """The other machines with running trials."""
        owners = [str(each.user_attrs.get("owner", "")) for each in self._all() if each.state == _state("RUNNING")]
        return sorted({owner.partition(":")[0] or "another machine" for owner in owners if owner != self.owner})


def run(runner: Runner, search: Search, registry: Registry, *, take_over: bool) -> Results:
    """Run trials until there are as many as asked for; write sweep.json and results.csv after each.

    Raises:
        Interrupted: the user asked to stop; what is done is kept.
        ZooError: a file or the database cannot be written, or the database gives a trial again that was carried out.
    """
    folder, definition = runner.folder, runner.definition

    def keep() -> Results:
        # lock before reading, or a machine that shares the folder could overwrite a newer table with an older one
        with folder.writing():
            trials = search.trials()
            folder.write(definition, trials)
            found = results(folder, definition, trials)
            folder.write_results(found)
        return found

    found = keep()
    begun = search.mine(take_over)
    total, carried_out = definition.trials or 0, set[int]()
    while True:
        runner.check()
        frozen = begun.pop(0) if begun else search.claim()
        if frozen is None:
            break
        if frozen.number in carried_out:
            raise ZooError(
                f"trial {frozen.number + 1} was carried out, but the database of the sweep '{folder.name}' gives it as waiting "
                "again. Something resets it: repair the database, or give the sweep another name."
            )
        carried_out.add(frozen.number)
        with search.unless_finished(frozen):  # by a machine that took it over
            _carry_out(
                runner, search, registry, frozen, left=sum(not trial.done for trial in found.trials), total=total
            )
        found = keep()
    for owner in search.elsewhere():
        logger.warning(
            f"trials are running on {owner}; the table will have them when they finish. If that machine is gone for good, continue "
            "its trials here with --take-over"
        )
    return found


def _carry_out(
    runner: Runner,
    search: Search,
    registry: Registry,
    frozen: optuna.trial.FrozenTrial,
    *,
    left: int,
    total: int,
) -> None:
    definition, number = runner.definition, frozen.number + 1
    drawn, values = search.draw(frozen)
    trial = Trial(number, runner.folder.run_name(number), values, {})
    column = epoch_column(definition.metric) or ""

    def worth_going_on(row: Mapping[str, Any]) -> bool:
        value = float(row.get(column, math.nan))
        if math.isnan(value):
            return True  # nothing to compare by
        if row["epoch"] not in drawn.storage.get_trial(frozen._trial_id).intermediate_values:
            drawn.report(value, step=int(row["epoch"]))
        return not drawn.should_prune()

    try:
        trial.config = resolve(layers(definition.below, definition.above, values), registry).to_dict()
    except UsageError as error:
        trial.status, trial.reason = "failed", str(error)
        logger.warning(f"trial {number} failed: {error}")
    else:
        if not runner.settle(trial):
            runner.carry_out(trial, f"{number} of {total}", left, worth_going_on)
    search.record(frozen, trial)


def import_optuna() -> None:
    """Raise ZooError if Optuna is not installed."""
    try:
        import optuna  # noqa: F401  # is it installed?
    except ImportError as error:
        raise ZooError(
            f"a search (--trials) needs Optuna, which cannot be loaded ({error}). Install it: pip install 'cxr-zoo[search]'. "
            "A grid needs nothing: leave out --trials and give values instead of ranges."
        ) from error


def _suggest(trial: optuna.trial.Trial, dimension: Dimension) -> Any:
    if isinstance(dimension, Values):
        return trial.suggest_categorical(dimension.key, list(dimension.texts))
    low, high, step = dimension.low, dimension.high, dimension.step
    if dimension.whole:
        return trial.suggest_int(dimension.key, int(low), int(high), step=int(step or 1), log=dimension.log)
    return trial.suggest_float(dimension.key, low, high, step=step, log=dimension.log)


def _number(dimension: Range, value: float) -> int | float:
    return int(value) if dimension.whole else value


def _seed(seed: int, number: int, key: str) -> int:
    """A different seed for every value that is drawn."""
    digest = hashlib.blake2b(f"{seed} {number} {key}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def _state(name: str) -> Any:
    import optuna

    return optuna.trial.TrialState[name]
