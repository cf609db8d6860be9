"""The wheel: it holds every module, py.typed and a working `zoo` command."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {"zoo": "zoo", "plugins": "zoo/plugins", "datasets": "zoo/datasets", "cli": "zoo/cli"}
SOURCES = (*ROOMS, "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from a copy of the sources; without the network where setuptools is installed."""
    pytest.importorskip("build", reason="the package 'build' is needed: pip install -e '.[dev]'")
    copy, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, symlinks=True, ignore=skipped)
        else:
            shutil.copy(source, copy / name)
    here = ["--no-isolation", "--skip-dependency-check"] if importlib.util.find_spec("setuptools") else []
    command = ["-m", "build", "--wheel", *here, "--outdir", str(out), str(copy)]
    built = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that holds the wheel and sees this one's dependencies, but not this one's zoo."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    install = [
        "-m",
        "pip",
        "--python",
        str(home / "bin" / "python"),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    done = subprocess.run([sys.executable, *install], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    ours = Path(sysconfig.get_path("purelib"))
    dependencies = tmp_path_factory.mktemp("dependencies")
    for each in ours.iterdir():  # links, so that the .pth and dist-info of this environment's zoo stay out
        if "zoo" not in each.name and each.suffix != ".pth":
            (dependencies / each.name).symlink_to(each)
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    return home


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    return subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_installed_files_are_those_of_the_tree(installed: Path) -> None:
    (site,) = installed.glob("lib/python*/site-packages")
    there = {
        str(p.relative_to(site)) for p in (site / "zoo").rglob("*") if p.is_file() and p.suffix in {".py", ".typed"}
    }
    tree = {
        f"{target}/{path.relative_to(ROOT / room)}"
        for room, target in ROOMS.items()
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".typed"} and not any(parent.is_symlink() for parent in path.parents)
    }
    assert there == tree
    assert "zoo/py.typed" in there
    assert not (site / "datasets").exists()
    assert not (site / "plugins").exists()


@pytest.mark.slow
def test_the_installed_command_lists_every_builtin(installed: Path, tmp_path: Path) -> None:
    from zoo.core.registry import registry

    result = run(str(installed / "bin" / "zoo"), "list", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["failures"] == []
    assert {(e["kind"], e["name"]) for e in document["entries"]} == {
        (e.kind, e.name) for e in registry().entries() if e.origin.distribution == "cxr-zoo"
    }


@pytest.mark.slow
def test_the_installed_command_builds_a_network(installed: Path, tmp_path: Path) -> None:
    where = run(str(installed / "bin" / "python"), "-c", "import zoo; print(zoo.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(installed))
    result = run(str(installed / "bin" / "zoo"), "info", "tiny-cnn", "--summary", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "logits" in result.stdout
