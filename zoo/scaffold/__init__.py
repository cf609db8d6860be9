"""Writes a new plugin from templates: a package with one strategy of each requested kind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from zoo.core.errors import UsageError, unknown

PARTS = ("model", "loss", "augmenter", "dataset", "recipe")


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
    return list(PARTS) if "all" in given else [kind for kind in PARTS if kind in given]


def _refuse_taken(name: str, kinds: list[str]) -> None:
    from zoo.core.registry import registry

    for kind in kinds:
        if name in registry().names(kind):
            origin = registry().entry(kind, name).origin
            raise UsageError(f"there is a {kind} '{name}' already, from plugin {origin}: choose another name.")


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
    module = f"zoo_{name.replace('-', '_')}"
    values = {
        "name": name,
        "module": module,
        "kinds": kinds,
        "what": ", ".join(f"a {kind}" if kind != "augmenter" else "an augmenter" for kind in kinds),
        "class_name": "".join(part.capitalize() for part in name.split("-")),
    }
    files = {
        "pyproject.toml": "pyproject.toml.j2",
        "README.md": "README.md.j2",
        f"{module}/__init__.py": "hooks.py.j2",
        "tests/test_plugin.py": "test_plugin.py.j2",
        **{f"{module}/{kind}.py": f"{kind}.py.j2" for kind in kinds},
    }
    return {file: templates.get_template(template).render(values) for file, template in files.items()}
