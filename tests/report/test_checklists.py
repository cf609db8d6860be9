"""The checklists of reporting standards: complete, and filled in with what the results say."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reportable import BINARY, CLASSES, SEVERAL, make_results, make_run

from zoo.core.tasks import Task
from zoo.evaluation.interval import short
from zoo.report.checklist_values import KEY, OPEN, filled
from zoo.report.checklists import AUTHORS, CLAIM, STANDARDS, STARD_AI, TRIPOD_AI, Standard
from zoo.report.material import Material
from zoo.report.page import write_report
from zoo.runs.run import Run


def made(folder: Path, task: Task) -> tuple[Run, Material, dict[str, Any]]:
    """A run, its material, and results-test.json."""
    run = make_run(folder, task)
    (run.path / "ood.npz").touch()
    found = make_results(run)
    found.save(run.path)
    return run, Material.of(run, found), json.loads((run.path / "results-test.json").read_text())


def shown(value: dict[str, float]) -> str:
    return f"{short(value['value'])} [{short(value['low'])}, {short(value['high'])}]"


@pytest.mark.parametrize(("standard", "main", "parts"), [(TRIPOD_AI, 27, 52), (CLAIM, 44, 44), (STARD_AI, 40, 48)])
def test_every_item_of_a_standard_is_there_once_and_in_order(standard: Standard, main: int, parts: int) -> None:
    numbers = [item.number for item in standard.items]
    assert len(numbers) == len(set(numbers)) == parts
    split = [re.fullmatch(r"(\d+)([a-z]?)", number) for number in numbers]
    order = [(int(each[1]), each[2]) for each in split if each]
    assert order == sorted(order)
    assert sorted({number for number, _ in order}) == list(range(1, main + 1))
    for number in range(1, main + 1):
        letters = [letter for n, letter in order if n == number]
        assert letters in ([""], list("abcdefg")[: len(letters)])
    assert all(item.name.strip() for item in standard.items)


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES], ids=lambda task: task.kind)
def test_every_item_has_an_answer_or_the_authors_line_and_links_resolve(tmp_path: Path, task: Task) -> None:
    run, material, _ = made(tmp_path, task)
    found = filled(material)
    wanted = [item for standard in STANDARDS for item in standard.items]
    assert [(each.number, each.name) for each in found] == [(item.number, item.name) for item in wanted]
    for each, item in zip(found, wanted, strict=True):
        assert (each.value is None) == (item.key in (AUTHORS, "external"))
        assert each.value is None or (len(each.value) > 5 and "None" not in each.value and "  " not in each.value)
    text = write_report(run, material.results, tmp_path / "out").read_text(encoding="utf-8")
    ids = set(re.findall(r'\bid="([^"]+)"', text))
    part = text[text.index(f'<section aria-labelledby="{KEY}">') :]
    links = re.findall(r'<a href="#([^"]+)">', part)
    assert len(links) > 50
    assert set(links) <= ids
    assert part.count(f"<td>{OPEN}</td>") == sum(each.value is None for each in found)
    assert part.count('<th scope="row">') == len(found)


def test_an_answer_links_to_no_section_that_is_missing(tmp_path: Path) -> None:
    run, material, _ = made(tmp_path, BINARY)
    (run.path / "metrics.csv").unlink()
    text = write_report(run, material.results, tmp_path / "out").read_text(encoding="utf-8")
    assert 'href="#training"' not in text
    assert "Loss bce" in text


def test_answers_are_those_of_the_results(tmp_path: Path) -> None:
    run, material, kept = made(tmp_path, BINARY)
    said = {(each.standard, each.number): each.value or "" for each in filled(material)}
    label = kept["evaluation"]["per_label"]["Abnormal"]
    headline = shown(kept["evaluation"]["averages"]["macro"]["auroc"])
    for place in (("tripod-ai", "23a"), ("claim-2024", "32"), ("claim-2024", "37")):
        assert headline in said[place]
    slope = next(row["slope"] for row in kept["sheet"]["calibration"] if row["stage"] == "as_trained")
    assert f"Calibration slope {shown(slope)}" in said["tripod-ai", "23a"]
    for place in (("claim-2024", "38"), ("stard-ai", "31")):
        assert f"Sensitivity {shown(label['sensitivity'])}" in said[place]
        assert f"specificity {shown(label['specificity'])}" in said[place]
    flow = kept["flow"]
    for place in (("tripod-ai", "20a"), ("claim-2024", "35"), ("stard-ai", "24")):
        assert f"Listed: {flow['listed']} images" in said[place]
        assert f"{flow['set_aside']} images set aside" in said[place]
        for part in (flow["used"], flow["analysed"], *flow["parts"].values()):
            assert f"{part['images']} images of {part['patients']} patients" in said[place]
    positives, known = (kept["evaluation"][name]["Abnormal"] for name in ("positives", "known"))
    assert f"Abnormal {positives} of {known}." in said["tripod-ai", "21"]
    rows = {row["split"]: row for row in kept["flow"]["missing"] if row["kind"] == "label"}
    shares = [f"{100 * rows[split]['positive'] / rows[split]['known']:.1f}%" for split in ("train", "test")]
    assert " and ".join(shares) in said["tripod-ai", "20c"]
    part = run.predictions("test")
    predicted, reference = part.probabilities[:, 0] >= 0.5, part.labels[:, 0] == 1
    assert (
        f"true positive {np.sum(predicted & reference)}, false negative {np.sum(~predicted & reference)}"
        in (said["stard-ai", "30"])
    )


def test_they_are_written_for_machines_too(tmp_path: Path) -> None:
    run, material, _ = made(tmp_path, SEVERAL)
    write_report(run, material.results, tmp_path / "out")
    found = filled(material)
    kept = json.loads((tmp_path / "out" / "checklists.json").read_text(encoding="utf-8"))
    assert kept["items"] == [vars(each) for each in found]
    assert set(kept["standards"]) == {each.standard for each in found}
    with (tmp_path / "out" / "checklists.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == [each.value or OPEN for each in found]


def test_an_evaluation_on_another_dataset_is_named(tmp_path: Path) -> None:
    run, material, _ = made(tmp_path, BINARY)
    folder = run.path / "evaluations" / "nih-abc"
    folder.mkdir(parents=True)
    (folder / "results-test.json").touch()
    assert any(each.value and "nih-abc" in each.value for each in filled(material) if each.number == "33")
