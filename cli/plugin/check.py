"""`zoo plugin check`: the public checks on what a plugin registers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import AS_JSON, PATH, command
from zoo.cli.printing import print_json, print_line
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.registry import Entry

MARKS = {"passed": "passed", "failed": "FAILED", "exempt": "exempt"}


@command()
@click.argument("name")
@click.option("--backend", metavar="NAME", help="tensorflow or jax [default: every one that is installed].")
@click.option("--root", type=PATH, metavar="DIR", help="Folder of the dataset.")
@click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of a dataset.")
@AS_JSON
def check(name: str, backend: str | None, root: Path | None, sets: tuple[str, ...], as_json: bool) -> None:
    """Run the checks of zoo.testing on NAME: a model, loss, augmenter, dataset or recipe, or a plugin with all its entries.

    Exit code 1 when a check fails. An exemption that a strategy claims (info.exempt) is shown with its reason.

    \b
    zoo plugin check my-model
    zoo plugin check zoo-mine --backend jax
    zoo plugin check my-images --root DIR
    """
    from zoo.core.registry import registry
    from zoo.testing.run import backends, named, refused, results_on

    entries = _with_images(named(registry(), name), root, as_json)
    found: list[dict[str, Any]] = []
    for plugin, result in refused(registry(), entries):
        found.append({"backend": None, "kind": "plugin", "name": plugin, **result.to_dict()})
        if not as_json:
            _print("plugin", plugin, found[-1])
    for each in backends(backend):
        if not as_json:
            print_line(f"On {each}:")
        for kind, strategy, result in results_on(each, entries, root, sets):
            found.append({"backend": each, "kind": kind, "name": strategy, **result.to_dict()})
            if not as_json:
                _print(kind, strategy, found[-1])
    failed = [each for each in found if each["outcome"] == "failed"]
    if as_json:
        print_json(found)
    else:
        exempt = sum(each["outcome"] == "exempt" for each in found)
        beside = f", {exempt} exempt" if exempt else ""
        print_line(f"{len(found)} checks: {len(found) - len(failed) - exempt} passed, {len(failed)} failed{beside}")
    if failed:
        raise click.exceptions.Exit(1)


def _with_images(entries: list[Entry], root: Path | None, as_json: bool) -> list[Entry]:
    """The entries without datasets that read files, where no root is given; alone they ask for it."""
    unread = [e for e in entries if e.kind == "dataset" and e.strategy.info.needs_root and root is None]
    rest = [each for each in entries if each not in unread]
    names = ", ".join(each.name for each in unread)
    if unread and not rest:
        raise UsageError(f"{names} reads files: give their folder with --root DIR.", unread[0].strategy.info.layout)
    if unread and not as_json:
        print_line(f"Left out, as it reads files (--root DIR): {names}")
    return rest


def _print(kind: str, name: str, result: dict[str, Any]) -> None:
    reason = f": {result['reason']}" if result["reason"] else ""
    print_line(f"  {MARKS[result['outcome']]}  {kind} {name}  {result['check']} ({result['seconds']:.1f} s){reason}")
