"""Runs the checks of a strategy or plugin on each Keras backend, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.errors import UsageError, ZooError, unknown
from zoo.testing.suite import Result

if TYPE_CHECKING:
    from zoo.core.registry import Entry, Registry

# supported Keras backends, by the module they import
BACKENDS = {"tensorflow": "tensorflow", "jax": "jax"}


def named(registry: Registry, name: str) -> list[Entry]:
    """The entries of a name: a strategy or recipe, else all of a plugin, else all of a distribution.

    Raises:
        UsageError: it is none of these, or the plugin could not be loaded.
    """
    entries = list(registry.entries())
    for attribute in ("name", "origin.plugin", "origin.distribution"):
        found = [each for each in entries if _attribute(each, attribute) == name]
        if found:
            return found
    for failure in registry.failures:
        if name in (failure.origin.plugin, failure.origin.distribution):
            raise UsageError(f"the plugin '{name}' cannot be checked: {failure.cause}")
    names = {str(_attribute(e, a)) for e in entries for a in ("name", "origin.plugin", "origin.distribution")}
    raise unknown("name or plugin", name, names, "See 'zoo list'.")


def refused(registry: Registry, entries: Sequence[Entry]) -> list[tuple[str, Result]]:
    """What the plugins of the entries failed to register, by plugin: hooks that raise or lack @hookimpl, names that are taken."""
    origins = {each.origin for each in entries}
    return [
        (each.origin.plugin, Result("hooks", "failed", each.cause))
        for each in registry.failures
        if each.origin in origins
    ]


def _attribute(entry: Any, path: str) -> str:
    value = entry
    for part in path.split("."):
        value = getattr(value, part)
    return str(value)


def backends(wanted: str | None) -> list[str]:
    """The backends to check on: `wanted`, or all that are installed.

    Raises:
        UsageError: `wanted` is unknown or not installed.
    """
    installed = [name for name, module in BACKENDS.items() if find_spec(module)]
    if wanted is None:
        return installed
    if wanted not in BACKENDS:
        raise unknown("backend", wanted, BACKENDS)
    if wanted not in installed:
        raise UsageError(f"the backend '{wanted}' is not installed here: pip install 'cxr-zoo[{wanted}]'.")
    return [wanted]


def results(entry: Entry, root: Path | None = None, options: Any = None) -> Iterator[Result]:
    """The checks of one entry in this process, on the Keras backend that is active."""
    from zoo.testing.augmenters import augmenter_results
    from zoo.testing.datasets import dataset_results
    from zoo.testing.losses import loss_results
    from zoo.testing.models import model_results
    from zoo.testing.recipes import recipe_results
    from zoo.testing.trackers import tracker_results

    if entry.kind == "dataset":
        return dataset_results(entry.strategy, root, options)
    of_kind: dict[str, Any] = {
        "model": model_results,
        "loss": loss_results,
        "augmenter": augmenter_results,
        "recipe": recipe_results,
        "tracker": tracker_results,
    }
    checked: Iterator[Result] = of_kind[entry.kind](entry.strategy)
    return checked


def results_on(
    backend: str, entries: Sequence[Entry], root: Path | None, sets: Sequence[str]
) -> Iterator[tuple[str, str, Result]]:
    """Kind, name and result of every check of the entries, one by one, from a process with that backend.

    Raises:
        ZooError: the process ended before it was done.
    """
    command = [sys.executable, "-m", "zoo.testing.run", str(root or ""), json.dumps(list(sets))]
    command += [f"{each.kind}:{each.name}" for each in entries]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                yield found.pop("kind"), found.pop("name"), Result(**found)
        said = process.stderr.read()
    if process.returncode:
        last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise ZooError(f"the checks on {backend} ended early: {last}")


def _main(root: str, sets: str, *wanted: str) -> None:
    """What the process of `results_on` does: a line of JSON for each result."""
    from zoo.config.resolve import merge, parse_set
    from zoo.core.options import validate
    from zoo.core.registry import registry

    lines, sys.stdout = sys.stdout, sys.stderr  # what plugins print goes elsewhere
    for each in wanted:
        kind, _, name = each.partition(":")
        entry = registry().entry(kind, name)
        options = None
        if kind == "dataset":
            given = merge(parse_set(each) for each in json.loads(sets)).get("data", {})
            options = validate(entry.strategy.Options, given, "data", f"See 'zoo info {name}'.")
        for result in results(entry, Path(root) if root else None, options):
            print(json.dumps({"kind": kind, "name": name, **result.to_dict()}), file=lines, flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
