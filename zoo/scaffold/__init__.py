"""Writes a new plugin from templates: a package with one strategy of each requested kind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from zoo.core.errors import UsageError, unknown

PARTS = ("model", "layer", "network", "loss", "augmenter", "dataset", "recipe", "tracker", "command")
# what a part is called in a sentence, where its name does not say it
CHECKED = {"network": "model"}  # the kind of a part, where it is another
CALLED = {"layer": "a layer of its own", "network": "a finished network", "augmenter": "an augmenter"}


def write_plugin(name: str, kinds: str, parent: Path) -> Path:
    """Write the package `zoo-NAME` into `parent`.

    Args:
        name: lower-case letters, digits and dashes; its strategies get the same name.
        kinds: kinds separated by commas, such as "model,loss", or "all".
        parent: the folder to write into, created if missing.

    Returns:
        The folder of the package.

    Raises:
        UsageError: the name is not valid or taken, a kind is unknown, or the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(
            f"'{name}' cannot be a plugin's name: use lower-case letters and digits, separated by single dashes, such as my-model."
        )
    name = name.removeprefix("zoo-")
    wanted = _kinds(kinds)
    _refuse_taken(name, wanted)
    parent = Path(os.path.expanduser(parent))  # ~ stays where there is no home folder
    folder = parent / f"zoo-{name}"
    if folder.exists():
        raise UsageError(f"{folder} exists already: choose another name or --dir.")
    parent.mkdir(parents=True, exist_ok=True)
    # written elsewhere and renamed: a full disk leaves no incomplete package
    with tempfile.TemporaryDirectory(dir=parent) as scratch:
        partial = Path(scratch) / folder.name
        for file, text in _files(name, wanted).items():
            (partial / file).parent.mkdir(parents=True, exist_ok=True)
            (partial / file).write_text(text, encoding="utf-8")
        shutil.move(partial, folder)
    return folder


def _kinds(text: str) -> list[str]:
    given = [each.strip() for each in text.split(",") if each.strip()]
    if not given:
        raise UsageError(f"--with names what the plugin adds: {', '.join(PARTS)}, or all.")
    for each in given:
        if each not in (*PARTS, "all"):
            raise unknown("kind", each, (*PARTS, "all"))
    if "all" in given:
        return list(PARTS)
    # a layer stands in a model
    return [part for part in PARTS if part in given or (part == "model" and "layer" in given)]


def _refuse_taken(name: str, kinds: list[str]) -> None:
    from zoo.core.registry import KINDS, registry

    for part in kinds:
        kind, entry = ("model", f"{name}-finished") if part == "network" else (part, name)
        if kind in KINDS and entry in registry().names(kind):
            origin = registry().entry(kind, entry).origin
            raise UsageError(f"there is a {kind} '{entry}' already, from plugin {origin}: choose another name.")


def _files(name: str, kinds: list[str]) -> dict[str, str]:
    """The text of every file, by its path in the package."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def read(file: str) -> str:
        return (resources.files("zoo.scaffold") / "templates" / file).read_text(encoding="utf-8")

    # no HTML escaping: the values are validated names
    templates = Environment(
        loader=FunctionLoader(read),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    class_name = "".join(part.capitalize() for part in name.split("-"))
    module = f"zoo_{name.replace('-', '_')}"
    values = {
        "name": name,
        "module": module,
        "kinds": kinds,
        "what": ", ".join(CALLED.get(kind, f"a {kind}") for kind in kinds),
        "class_name": class_name,
        "hooks": (hooks := list(_hooks(kinds, class_name))),
        "contracts": sorted(contract for _, contract, _ in hooks if "." not in contract),
        "checks": sorted({f"check_{CHECKED.get(kind, kind)}" for kind in kinds} - {"check_command", "check_layer"}),
    }
    files = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{module}/__init__.py": "hooks.py.j2",
        "tests/test_plugin.py": "test_plugin.py.j2",
        **{f"{module}/{kind}.py": f"{kind}.py.j2" for kind in kinds},
    }
    return {file: templates.get_template(template).render(values) for file, template in files.items()}


def _hooks(parts: list[str], class_name: str) -> Iterator[tuple[str, str, str]]:
    """Each hook with the type of what it returns, and that."""
    from zoo.core.registry import KINDS

    made = {"recipe": "recipe()", "command": "command"}
    for kind in (*KINDS, "command"):
        here = [part for part in parts if CHECKED.get(part, part) == kind]
        if here:
            entries = ", ".join(made.get(part, f"{class_name}{part.capitalize()}()") for part in here)
            hook, contract = KINDS[kind][0] if kind in KINDS else "zoo_commands", kind.capitalize()
            yield hook, "click.Command" if kind == "command" else contract, entries
