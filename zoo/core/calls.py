"""Calls of plugin code: whatever it raises becomes an error that names the plugin, the strategy and the method."""

from __future__ import annotations

import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from zoo.core.contracts import Strategy
from zoo.core.errors import ZooError
from zoo.core.observers import Pruned
from zoo.core.origins import Origin

P = ParamSpec("P")
Returned = TypeVar("Returned")

ADVICE = "Tell the author of the plugin; --debug shows the traceback."


class PluginError(ZooError):
    """Code of a plugin failed. Exit code 1."""


def call(method: Callable[P, Returned], *args: P.args, **kwargs: P.kwargs) -> Returned:
    """Call a strategy's method. Standard output of a plugin goes to standard error, where it spoils no JSON.

    Raises:
        PluginError: the strategy comes from a plugin and raised anything but a ZooError, or has another signature.
    """
    strategy = getattr(method, "__self__", None)
    with named(strategy, f"{method.__name__}()", hint=lambda: _signature(method, args, kwargs)):
        return method(*args, **kwargs)


@contextmanager
def named(strategy: Any, what: str, hint: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Name the plugin of a strategy in whatever is raised inside; `what` says which part of it is at work."""
    origin = getattr(strategy, "origin", None)
    if origin is None or origin.own:
        yield
        return
    try:
        with stdout_to_stderr():
            yield
    except (ZooError, Pruned, MemoryError):
        raise
    except Exception as error:
        place = _place(error.__traceback__, origin)
        message = (
            f"the {strategy.kind} '{strategy.info.name}' of plugin {origin} failed in {what}{place}: {describe(error)}"
        )
        raise PluginError(f"{message.rstrip('.')}.{hint()} {ADVICE}") from error


def stdout_to_stderr() -> Any:
    """A context in which `print` writes to standard error; in the main thread alone, since the stream is everybody's."""
    return redirect_stdout(sys.stderr) if threading.current_thread() is threading.main_thread() else nullcontext()


def describe(error: BaseException) -> str:
    """One line for an error: its type and message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def culprit(error: BaseException, origins: Iterable[Origin]) -> str:
    """The plugin whose code raised an error, with file and line, as the start of a message; "" where none did."""
    by_package = {each.package: each for each in origins if each.package and not each.own}
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        origin = by_package.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if origin is not None:
            code = frame.f_code
            return f"plugin {origin} failed in {code.co_qualname} ({_short(code.co_filename)}, line {line})"
    return ""


def _place(trace: TracebackType | None, origin: Origin) -> str:
    for frame, line in reversed(list(traceback.walk_tb(trace))):
        if origin.package and str(frame.f_globals.get("__name__", "")).partition(".")[0] == origin.package:
            return f" ({_short(frame.f_code.co_filename)}, line {line})"
    return ""


def _short(file: str) -> str:
    return "/".join(Path(file).parts[-2:])


def _signature(method: Callable[..., Any], args: Any, kwargs: Any) -> str:
    """How the contract calls the method, where the method does not take that."""
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError:
        base = next((c for c in type(method.__self__).__mro__ if c.__module__ == Strategy.__module__), None)  # type: ignore[attr-defined]
        contract = getattr(base, method.__name__, None)
        if contract is not None:
            parameters = ", ".join(list(inspect.signature(contract).parameters)[1:])
            return f" It is called as {method.__name__}({parameters})."
    except ValueError:
        pass  # it has no signature to read
    return ""
