"""docs/recipes.md: every command on the page runs, in a short form and on images that the test makes itself."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from zoo.cli.main import cli
from zoo.core.registry import registry

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
SIZE = "80"  # pixels: above the least of every network on the page
SHORT = ["--limit", "110", "--image-size", SIZE, "--epochs", "1", "--batch-size", "8"]
NOT_RUN = {"zoo data download": "needs a network; tests/cli/test_data_download.py has it with a server of its own"}


def sections() -> dict[str, list[str]]:
    """The commands of each section of the page."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(), flags=re.MULTILINE)[1:]
    blocks = {
        title: re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {title: "".join(found).splitlines() for title, found in blocks.items()}


SECTIONS = sections()


def test_the_page_names_every_recipe_that_is_new_here_and_only_names_that_there_are() -> None:
    named = set(re.findall(r"--recipe ([\w-]+)", PAGE.read_text()))
    published = {
        each.name
        for each in registry().entries("recipe")
        if each.origin.plugin in ("recipes-simplified-densenet", "recipes-nih14", "recipes-seven-class", "recipes-vit")
    }
    assert published | {"binary-table", "densenet121-transfer", "efficientnet-lite0-transfer"} == named
    assert named <= set(registry().names("recipe"))


class Page:
    """The page's sections, run in one folder; one that uses runs of another has that one run first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done = folder, set[str]()
        self.made = {name: title for title, lines in SECTIONS.items() for line in lines for name in made_by(line)}

    def run(self, title: str) -> None:
        if title in self.done:
            return
        self.done.add(title)
        for line in SECTIONS[title]:
            for word in shlex.split(line)[2:]:
                if word in self.made and word not in made_by(line) and self.made[word] != title:
                    self.run(self.made[word])
        for line in SECTIONS[title]:
            self.command(line)

    def command(self, line: str) -> None:
        if any(line.startswith(each) for each in NOT_RUN):
            return
        words = [self.place(word) for word in shlex.split(line)[1:]]
        if words[0] in ("train", "sweep"):
            words += self.shortened(words)
        if words[0] == "ensemble" and "features" in words:
            words += ["--epochs", "1"]
        result = CliRunner().invoke(cli, words)
        # an audit ends with 1 where it finds leaks, as images that a test makes are all alike, and for no other reason
        leaks = words[:2] == ["data", "audit"] and "NOT CLEAN" in result.output
        assert result.exit_code == int(leaks), f"{line}\n{result.output}"
        assert "Traceback" not in result.stderr

    def place(self, word: str) -> str:
        """The images and weights of the page, as they lie here."""
        here = {
            "/data/nih": "nih",
            "/data/classes": "classes",
            "/data/efficientnet_lite0.keras": "efficientnet-lite0.keras",
        }
        return str(self.folder / here[word]) if word in here else word

    def shortened(self, words: list[str]) -> list[str]:
        """Fewer and smaller images, one epoch, and weights that need no download."""
        if "tfrecord" in words or "tiny-cnn" in words:
            return ["--limit", "110", "--epochs", "1", "--batch-size", "8"]
        found = registry().get("recipe", words[words.index("--recipe") + 1]).config if "--recipe" in words else {}
        model = found.get("model", {}).get("name", "mobilenetv3")
        if not found.get("freeze"):
            return [*SHORT, "--weights", "none"]
        head_alone = "0" in words or found.get("epochs") == 0
        short = [*SHORT, "--freeze-epochs", "1", *(["--epochs", "0"] if head_alone else [])]
        return short if "--weights" in words else [*short, "--weights", str(weights(self.folder, model))]


def made_by(line: str) -> list[str]:
    words = shlex.split(line)
    return [words[words.index("--run") + 1]] if "--run" in words else []


def weights(folder: Path, model: str) -> Path:
    """A file of weights, as published ones would be, for a network that starts from some."""
    from zoo.core.tasks import Task

    file = folder / f"{model}.keras"
    if not file.exists():
        strategy: Any = registry().get("model", model)
        strategy.build(Task("binary", ("abnormal",)), int(SIZE), None, strategy.Options()).save(file)
    return file


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    from layouts import phantom_as_nih

    folder = tmp_path_factory.mktemp("recipes")
    phantom_as_nih(folder / "nih", 140)
    classes(folder)
    weights(folder, "efficientnet-lite0")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        yield Page(folder)


def classes(folder: Path) -> None:
    """The images with one class as a folder of each."""
    import csv

    with (folder / "nih" / "Data_Entry_2017.csv").open() as table:
        for row in csv.DictReader(table):
            if "|" not in row["Finding Labels"]:
                target = folder / "classes" / row["Finding Labels"]
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(folder / "nih" / "images" / row["Image Index"], target)


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_every_command_of_the_page_runs(title: str, page: Page) -> None:
    import keras

    page.run(title)
    keras.backend.clear_session()  # the larger networks hold gigabytes
