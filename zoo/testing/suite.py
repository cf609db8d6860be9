"""Runs checks by name, one after the other, with exemptions and their reasons."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from zoo.core.contracts import ALL_TASKS, NoOptions, Recipe, Strategy
from zoo.core.tasks import Task

if TYPE_CHECKING:
    import numpy as np

EXAMPLE_TASKS = {
    "binary": Task("binary", ("abnormal",)),
    "multilabel": Task("multilabel", ("cardiomegaly", "effusion", "nodule")),
    "multiclass": Task("multiclass", ("normal", "bacterial", "viral")),
}
Checks = Mapping[str, Callable[[], None]]


@dataclass(frozen=True)
class Result:
    """The result of one check; `reason` says why it failed, or why the strategy is exempt."""

    check: str
    outcome: Literal["passed", "failed", "exempt"]
    reason: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def carried_out(strategy: Strategy | Recipe, checks: Checks, left_out: Collection[str] = ()) -> Iterator[Result]:
    """Run the checks of a strategy in order, except those in `left_out`; a failure does not stop the rest.

    Checks in `info.exempt` run too: if one passes, the exemption is out of date and counts as a failure, as does an exemption
    from a check that does not exist.
    """
    exempt = dict(strategy.info.exempt)
    for name in exempt.keys() - checks.keys():
        yield Result(name, "failed", f"exempt from '{name}', which is not a check; valid are {', '.join(checks)}")
    for name in [each for each in checks if each not in left_out]:
        start, failure = time.monotonic(), ""
        try:
            checks[name]()
        except AssertionError as error:
            failure = str(error)
        except Exception as error:  # whatever a plugin raises is the result of the check
            failure = f"{strategy.info.name}: {type(error).__name__}: {error}"
        yield _result(name, failure, exempt.get(name), time.monotonic() - start)


def _result(name: str, failure: str, exemption: str | None, seconds: float) -> Result:
    if exemption is None:
        return Result(name, "failed" if failure else "passed", failure, seconds)
    if not failure:
        return Result(
            name, "failed", f"exempt from '{name}' ({exemption}), but it passes: remove the exemption", seconds
        )
    if not exemption.strip():
        return Result(name, "failed", f"exempt from '{name}' without a reason", seconds)
    return Result(name, "exempt", exemption, seconds)


def demand(results: Iterator[Result]) -> None:
    """Raise AssertionError at the first check that failed."""
    for each in results:
        assert each.outcome != "failed", each.reason


def check_info(strategy: Strategy | Recipe) -> None:
    """A name that can be typed, one line of summary, known tasks, and help for every option."""
    from zoo.core.options import describe

    info = strategy.info
    assert info.name, f"{type(strategy).__name__}: info.name is empty"
    assert info.name == "".join(info.name.lower().split()), f"{info.name!r}: names are lower case without spaces"
    assert len(info.summary.splitlines()) == 1, f"{info.name}: info.summary must be one line"
    assert info.tasks, f"{info.name}: info.tasks is empty"
    unknown = set(info.tasks) - set(ALL_TASKS)
    assert not unknown, f"{info.name}: info.tasks has {sorted(unknown)}; valid are {', '.join(ALL_TASKS)}"
    for option in describe(getattr(strategy, "Options", NoOptions)):
        assert option.help, f"{info.name}: option {option.name!r} has no help text; declare it with zoo.option"


def example_tasks(strategy: Strategy) -> list[Task]:
    """An example of each task that the strategy supports."""
    return [EXAMPLE_TASKS[kind] for kind in ALL_TASKS if kind in strategy.info.tasks]


def numpy(tensor: Any) -> np.ndarray:
    """A tensor of any backend as an array."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


def leave_gradients() -> Any:
    """An optimizer that sets each weight to its gradient: reads gradients in the same way on every backend."""
    import keras

    class LeaveGradients(keras.optimizers.Optimizer):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            self.assign(variable, gradient)

    return LeaveGradients(learning_rate=1.0)
