"""docs/recipes.md: every command on the page runs, in a short form and on images that the test makes itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, Sandbox, made_by, sections, words_of

from zoo.core.registry import registry

PAGE = ROOT / "docs" / "recipes.md"
NOT_RUN = {"zoo data download": "needs a network; tests/cli/test_data_download.py has it with a server of its own"}
SECTIONS = sections(PAGE)


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
        self.sandbox, self.done = Sandbox(folder, light=False), set[str]()
        self.made = {name: title for title, lines in SECTIONS.items() for line in lines for name in made_by(line)}

    def run(self, title: str) -> None:
        if title in self.done:
            return
        self.done.add(title)
        for line in SECTIONS[title]:
            for word in words_of(line)[1:]:
                if word in self.made and word not in made_by(line) and self.made[word] != title:
                    self.run(self.made[word])
        for line in SECTIONS[title]:
            if not line.startswith(tuple(NOT_RUN)):
                self.sandbox.run(line)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        yield Page(folder)


@pytest.mark.slow
@pytest.mark.parametrize("title", SECTIONS)
def test_every_command_of_the_page_runs(title: str, page: Page) -> None:
    import keras

    page.run(title)
    keras.backend.clear_session()  # the larger networks hold gigabytes
