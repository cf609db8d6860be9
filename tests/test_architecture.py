"""The rules of the house: who may import whom, what may load when, how long a file may be."""

from __future__ import annotations

import ast
import configparser
import functools
import graphlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("zoo", "plugins", "datasets", "cli")
# the only modules that are about TensorFlow itself
TENSORFLOW = {
    "zoo/data/tfrecord.py",
    "zoo/engine/devices.py",
    "zoo/engine/feed.py",
    "zoo/nn/fused_norm.py",
    "zoo/nn/hard_swish.py",
    "zoo/nn/trace.py",
    "zoo/engine/mirrored.py",
    "zoo/inference/runtimes/quantize.py",
    "zoo/explain/gradients.py",
    "zoo/inference/runtimes/convert.py",
}
# lower layers first; a package imports only what stands on an earlier line
LAYERS = (
    ("core",),
    ("nn",),
    ("evaluation",),
    ("runs",),
    ("config",),
    ("data",),
    ("engine",),
    ("explain",),
    ("inference",),
    ("weights",),
    ("ensemble", "search", "export", "explore"),  # side by side: none imports another
    ("report",),
    ("distributed",),
    ("serve",),
    ("testing", "scaffold"),
    ("api",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"tensorflow", "keras", "jax", "torch", "pandas", "numpy", "PIL", "cv2", "sklearn", "matplotlib", "pydantic"}
MAX_LINES = 400

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def sources(*rooms: str) -> list[Path]:
    """The Python files of the given folders, without following the links zoo/plugins, zoo/datasets and zoo/cli."""
    return sorted(
        path
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    )


def module_name(path: Path) -> str:
    """The installed name of a file: plugins/losses/bce.py is zoo.plugins.losses.bce."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] != "zoo":
        parts.insert(0, "zoo")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def is_module(name: str) -> bool:
    """Whether a dotted name is one of zoo's modules."""
    parts = name.split(".")[0 if name.split(".")[1:2] not in (["plugins"], ["datasets"], ["cli"]) else 1 :]
    return (ROOT / Path(*parts)).with_suffix(".py").is_file() or (ROOT / Path(*parts) / "__init__.py").is_file()


def imports(path: Path) -> Iterator[str]:
    """Every module a file imports, wherever in it the import stands; `from a import b` gives a and a.b."""
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            names = [f"{base}.{alias.name}" for alias in node.names]
            if not all(map(is_module, names)):  # else it is only where they lie
                yield base
            yield from names


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def breaches(rooms: tuple[str, ...], forbidden: Callable[[Path, str], bool]) -> list[str]:
    return sorted(
        {f"{p.relative_to(ROOT)} imports {m}" for p in sources(*rooms) for m in imports(p) if forbidden(p, m)}
    )


@functools.cache
def graph() -> dict[str, set[str]]:
    """Every module of zoo with the modules of zoo it imports, lazily and for types included; the package itself apart."""
    modules = {module_name(path): path for path in sources(*ROOMS) if module_name(path) != "zoo"}
    return {name: {m for m in imports(path) if m in modules and m != name} for name, path in modules.items()}


def layer(module: str) -> str:
    """The part of the house a module stands in: zoo.data.store is in data."""
    return module.split(".")[1]


def test_no_import_points_to_a_higher_layer_or_to_a_neighbour() -> None:
    arrows = sorted((m, target) for m, targets in graph().items() for target in targets if layer(m) in LEVEL)
    lines = {f"{layer(a)} -> {layer(b)}" for a, b in arrows if layer(a) != layer(b)}
    print(
        f"{len(graph())} modules, {len(arrows)} imports between them, {len(lines)} between layers:",
        *sorted(lines),
        sep="\n",
    )
    wrong = [(a, b) for a, b in arrows if layer(a) != layer(b) and LEVEL.get(layer(b), len(LAYERS)) >= LEVEL[layer(a)]]
    assert [f"{a} imports {b}" for a, b in wrong] == []


def test_every_package_has_its_layer() -> None:
    there = {layer(module) for module in graph()} - {"plugins", "datasets", "cli"}
    assert there <= set(LEVEL), f"say in LAYERS where {sorted(there - set(LEVEL))} belong"


def test_no_module_imports_itself_through_others() -> None:
    try:
        graphlib.TopologicalSorter(graph()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_walk_sees_every_room_and_every_import() -> None:
    assert {p.relative_to(ROOT).parts[0] for p in sources(*ROOMS)} == set(ROOMS)
    assert {"zoo.cli.catalogue", "zoo.core.errors", "zoo.core.errors.ZooError", "click"} <= set(
        imports(ROOT / "cli" / "main.py")
    )


def test_the_core_imports_no_other_room_and_no_strategy() -> None:
    others = ("zoo.plugins", "zoo.datasets", "zoo.cli")
    assert breaches(("zoo",), lambda path, module: any(inside(module, other) for other in others)) == []


def test_a_plugin_imports_the_core_and_its_own_family_only() -> None:
    def forbidden(path: Path, module: str) -> bool:
        own = module_name(path.parent)
        return any(inside(module, room) for room in ("zoo.cli", "zoo.datasets", "zoo.plugins")) and not inside(
            module, own
        )

    assert breaches(("plugins",), forbidden) == []


def test_datasets_import_the_core_and_their_own_helpers_only() -> None:
    assert breaches(("datasets",), lambda path, m: inside(m, "zoo.cli") or inside(m, "zoo.plugins")) == []


def test_nobody_imports_the_command_line_and_it_names_no_strategy() -> None:
    assert breaches(("zoo", "plugins", "datasets"), lambda path, m: inside(m, "zoo.cli")) == []
    assert breaches(("cli",), lambda path, m: inside(m, "zoo.plugins") or inside(m, "zoo.datasets")) == []


def test_tensorflow_is_imported_only_by_the_modules_about_it() -> None:
    def forbidden(path: Path, module: str) -> bool:
        return inside(module, "tensorflow") and str(path.relative_to(ROOT)) not in TENSORFLOW

    assert breaches(ROOMS, forbidden) == []


def private_names(path: Path) -> set[str]:
    """Names with one leading underscore that a file reads, defines or has as a text."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return {name for name in found if name.isidentifier() and name.startswith("_") and not name.startswith("__")}


def test_one_module_alone_touches_the_internals_of_keras() -> None:
    compat = ROOT / "zoo/nn/keras_compat.py"
    names = private_names(compat)
    assert len(names) >= 14
    touched = []
    for path in (each for each in sources(*ROOMS) if each != compat):
        text = path.read_text()
        found = private_names(path) & names | {name for name in ("keras.src", "jax_state_sync") if name in text}
        touched += [f"{path.relative_to(ROOT)}: {name}" for name in sorted(found)]
    assert touched == []


def test_strategies_never_name_tensorflow_or_jax() -> None:
    named = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sources("plugins", "datasets")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id in {"tf", "jax", "jnp"}
    ]
    assert named == []


def test_no_file_is_longer_than_its_reader_s_patience() -> None:
    rooms = (*ROOMS, "tests", "benchmarks", "docs", "examples")
    long = {str(p.relative_to(ROOT)): n for p in sources(*rooms) if (n := len(p.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_plugin_file_is_an_entry_point_and_every_entry_point_a_file() -> None:
    listed = {
        line.partition("=")[2].strip()
        for line in setup_cfg()["options.entry_points"]["zoo"].splitlines()
        if line.strip()
    }
    files = {module_name(p) for p in sources("plugins", "datasets") if not p.name.startswith("_")}
    assert listed == files


def test_every_package_is_listed_in_setup_cfg() -> None:
    listed = set(setup_cfg()["options"]["packages"].split())
    assert listed == {module_name(path) for path in sources(*ROOMS) if path.name == "__init__.py"}
    folders = {path.parent for path in sources(*ROOMS)}
    assert [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()] == []


IMPORT_ALL = """
import os, sys, threading, warnings
modules, forbidden, first = sys.argv[1].split(","), set(sys.argv[2].split(",")), sys.argv[3:]
import importlib
for module in first:
    importlib.import_module(module)
environment, threads, path = dict(os.environ), threading.active_count(), list(sys.path)
for module in modules:
    importlib.import_module(module)
assert not forbidden & set(sys.modules), f"loaded {sorted(forbidden & set(sys.modules))}"
assert environment == dict(os.environ), "the environment changed"
assert threads == threading.active_count(), "a thread was started"
assert path == sys.path, "the module path changed"
assert os.listdir() == [], f"files were written: {os.listdir()}"
"""


def test_importing_the_light_modules_loads_nothing_heavy(run_python: Run) -> None:
    light = ["zoo", "zoo.nn.backbone", *(module_name(p) for p in sources("zoo/core"))]
    light += [module_name(p) for p in sources("plugins", "datasets") if not p.name.startswith("_")]
    light += ["zoo.cli.main", "zoo.cli.catalogue", "zoo.cli.list", "zoo.cli.info"]
    result = run_python("-c", IMPORT_ALL, ",".join(light), ",".join(sorted(HEAVY)))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_any_module_but_those_about_keras_has_no_side_effect_and_loads_no_keras(run_python: Run) -> None:
    layers = {"zoo.inference.features", "zoo.ensemble.network"}  # modules that are made of Keras layers
    names = [
        module_name(p)
        for p in sources(*ROOMS)
        if "engine" not in p.relative_to(ROOT).parts and module_name(p) not in layers
    ]
    result = run_python("-c", IMPORT_ALL, ",".join(names), "tensorflow,keras,jax")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_the_engine_has_no_side_effect_beside_loading_keras(run_python: Run) -> None:
    names = [module_name(p) for p in sources("zoo/engine")]
    result = run_python("-c", IMPORT_ALL, ",".join(names), "torch", "keras")
    assert (result.returncode, result.stdout) == (0, ""), result.stderr  # where TensorFlow says how it was built


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_states_its_purpose(room: str) -> None:
    assert [
        str(p.relative_to(ROOT)) for p in sources(room) if ast.get_docstring(ast.parse(p.read_text())) is None
    ] == []
