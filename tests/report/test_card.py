"""The model card: complete headings, open items counted, nothing that a name could break."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from reportable import BINARY, CLASSES, SEVERAL, make_results, make_run

from zoo.core.tasks import Task
from zoo.core.text import RESEARCH_ONLY
from zoo.report.card import OPEN, escape, render, write_card
from zoo.report.material import Material


def headings(card: str) -> list[str]:
    return re.findall(r"^## (.+)$", card, flags=re.MULTILINE)


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES], ids=lambda task: task.kind)
def test_the_card_is_filled_from_the_run_and_counts_what_is_open(task: Task, tmp_path: Path) -> None:
    run = make_run(tmp_path, task)
    found = make_results(run)
    path = write_card(run, found, tmp_path / "out")
    card = path.read_text(encoding="utf-8")
    assert path.name == "model-card.md"
    assert card == render(Material.of(run, found))
    stated = re.search(r"^(\d+) items are still open", card, flags=re.MULTILINE)
    assert stated is not None
    assert int(stated[1]) == card.count(OPEN) >= 15
    assert card.count(RESEARCH_ONLY) == 2
    assert str(found.evaluation.headline) in card
    for fact in (
        "2 images set aside",
        "drawn at random by patient",
        "tiny-cnn",
        "32 × 32",
        "cxr-zoo 0.1.0",
        "3 min 45 s",
    ):
        assert fact in card
    for topic in ("Intended use", "Data source", "Reference standard", "Partitions", "Limitations", "Failure cases"):
        assert topic in headings(card)


def test_every_heading_names_the_items_it_answers_and_all_of_claim_is_there(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY)
    card = render(Material.of(run, make_results(run)))
    parts = re.split(r"^## ", card, flags=re.MULTILINE)[1:]
    assert all(re.search(r"^\*.*(CLAIM 2024|TRIPOD\+AI) item", part, flags=re.MULTILINE) for part in parts)
    answered: set[int] = set()
    for line in re.findall(r"CLAIM 2024 items? ([\d, –]+)", card):
        for first, last in re.findall(r"(\d+)(?:–(\d+))?", line):
            answered |= set(range(int(first), int(last or first) + 1))
    assert answered == set(range(3, 45))  # 1 and 2 are the title and the abstract of a paper


def test_tables_are_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path, SEVERAL)
    card = render(Material.of(run, make_results(run, prevalence=0.1)))
    tables = re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE)
    assert len(tables) >= 9
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_less_is_known_more_is_open(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False)
    found = make_results(run)
    full = render(Material.of(run, found)).count(OPEN)
    less = dataclasses.replace(found, groups=(), baselines=(), calibration=None)
    (run.path / "images.csv").unlink()
    assert render(Material.of(run, less)).count(OPEN) == full + 4


def test_the_options_of_a_composition_stand_under_their_part(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False)
    material = Material.of(run, make_results(run))
    composed = {"name": "standard+mixup", "standard": {"noise": 0.0}, "mixup": {"alpha": 0.4}}
    card = render(dataclasses.replace(material, settings={**material.settings, "augment": composed}))
    assert "augmentation standard+mixup (standard.noise 0.0, mixup.alpha 0.4)" in card


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    hostile = f"a|b <script> [x](http://x) `c` {OPEN}"
    task = Task("multilabel", ("Pleural_Thickening", hostile))
    run = make_run(tmp_path, task, explained=False)
    card = render(Material.of(run, make_results(run)))
    assert "<script>" not in card
    assert "](http" not in card.replace("\\](http", "")
    assert "Pleural_Thickening" in card
    stated = re.search(r"^(\d+) items", card, flags=re.MULTILINE)
    assert stated is not None
    assert int(stated[1]) == card.count(OPEN)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (".66 [.61, .72]", ".66 [.61, .72]"),
        ("[x](y)", r"\[x\](y)"),
        ("a [1](y)", r"a [1\](y)"),
        ("a_b _c_", r"a_b \_c\_"),
        ("a\n# b", "a # b"),
        ("# b", r"\# b"),
        ("[1]: http://x", r"\[1]: http://x"),
        ("a & <b>", "a &amp; &lt;b&gt;"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown
