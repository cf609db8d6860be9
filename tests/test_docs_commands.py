"""The documentation's code: every command is one that there is, and every block runs, in a short form."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from pages import ROOT, Sandbox, check, commands

from zoo.core.errors import UsageError

PAGES = sorted(
    p for p in (ROOT / "docs").rglob("*.md") if p.name not in ("cli.md", "recipes.md")
)  # the latter: test_recipes.py
# what no test can carry out, each with the reason
NOT_RUN = {
    "export.md": "needs an image and a file of each format; tests/export asks exported files with the same lines",
    "zoo data download": "needs a network; tests/cli/test_data_download.py has it with a server of its own",
    "zoo readers": "needs tables of readings; tests/cli/test_readers.py makes them",
    "zoo serve": "goes on until it is stopped; tests/serve starts it",
    "zoo plugin": "installs a package; tests/cli/test_plugin.py and CI's stage of the example plugin do",
    "zoo train --model mine": "needs the plugin that the lines above it install",
    "zoo list small-cnn": "needs the example plugin; CI's stage of it runs the same lines",
    "zoo info small-cnn": "needs the example plugin; CI's stage of it runs the same lines",
    "zoo train --model small-cnn": "needs the example plugin; CI's stage of it runs the same lines",
    "zoo train --model mean-gray": "needs the example plugin, whose tests check the network",
    "zoo train --recipe tiny-binary": "needs the example plugin; tests/test_example.py runs the same line",
    "zoo train --track": "writes outside of the folder; tests/plugins/test_trackers.py has both trackers",
    "zoo train --data tfrecord --root DIR": "needs files of others; tests/datasets/test_tfrecord.py makes such",
    "zoo sweep twelve": "the same table of twelve networks as in docs/recipes.md; tests/test_recipes.py",
    "zoo train --data nih --root /data/nih --recipe densenet121-binary": "takes minutes; tests/test_recipes.py has its like",
    "zoo train --model vit-base": "takes minutes and gigabytes; the recipe with vit-tiny runs in tests/test_recipes.py",
}


def shown(page: Path) -> list[str]:
    return commands(page.read_text(encoding="utf-8"))


def python(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_shown_can_be_parsed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    indented = [line.strip() for line in text.splitlines() if line.startswith("    zoo ")]
    for line in indented if page.name == "README.md" else shown(page):
        if "..." in line or "…" in line:
            continue
        try:
            check(line)
        except (click.UsageError, UsageError) as error:
            pytest.fail(f"{line}: {error}")


def test_a_command_that_there_is_not_is_noticed() -> None:
    for wrong in ("zoo trian", "zoo train --modle x", "zoo list models one two three"):
        with pytest.raises((click.UsageError, UsageError)):
            check(wrong)


def test_every_configuration_shown_is_one(tmp_path: Path) -> None:
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry

    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    ]
    assert blocks
    for block in blocks:
        resolve([yaml.safe_load(block)], registry())


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        made = Sandbox(folder, light=True)
        made.add_runs()
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if shown(p) or python(p)], ids=lambda p: p.stem)
def test_the_code_of_a_page_runs(page: Path, sandbox: Sandbox) -> None:
    before = {path.name for path in Path("runs").iterdir()}
    for line in shown(page):
        if not line.startswith(tuple(NOT_RUN)):
            sandbox.run(line)
    if page.name not in NOT_RUN:
        exec(compile("\n".join(python(page)), str(page), "exec"), {"__name__": "page"})
    for path in Path("runs").iterdir():  # each page starts from the same runs
        if path.name not in before:
            shutil.rmtree(path)
