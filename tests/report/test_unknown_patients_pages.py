"""A run whose patients are unknown: no page, table or sentence may claim anything of patients."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from comparable import make_run as make_comparable
from reportable import BINARY, SEVERAL, make_results, make_run

from zoo.report import leaderboard
from zoo.report.card import render as card_of
from zoo.report.material import Material
from zoo.report.page import render as page_of
from zoo.report.sentences import size, split_origin, trained
from zoo.report.tables import groups_table
from zoo.runs.entries import read
from zoo.runs.leaderboard import rank

# what is said only where patients are known
CLAIMS = (
    r"(?<!not )over patients",
    r"by patient\b",
    r"\d patients?\b",
    r"[Nn]o patient",
    r"of patients\b",
    r"whole patients",
    r"resampled patients",
    r"new patients",
    r"too few patients",
    r"only \d+ patients",
)


def plain(page: str) -> str:
    text = re.sub(r"<(style|script)\b.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(text.split())


def claims(text: str) -> list[str]:
    found = [text[max(0, m.start() - 40) : m.end() + 20] for each in CLAIMS for m in re.finditer(each, text)]
    general = ("no download, no patients", "involvement of patients")  # the phantom dataset, a field for the authors
    return [each for each in found if not any(word in each for word in general)]


def test_no_page_claims_anything_of_patients(tmp_path: Path) -> None:
    run = make_run(tmp_path, SEVERAL, explained=False, patients=False)
    found = make_results(run)
    assert not found.evaluation.patients_known
    material = Material.of(run, found)
    page, card = plain(page_of(material)), card_of(material)
    assert claims(page) == []
    assert claims(card) == []
    for text in (page, card):
        assert "drawn at random by image" in text
        assert "may be in two parts" in text
        assert re.search(r"may be too narrow", text)
    assert "The patients are unknown: intervals treat the images as independent, and may be too narrow." in page


def test_flow_tables_and_sentences_count_images(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False, patients=False)
    found = make_results(run)
    flow = found.flow
    assert flow is not None
    assert (flow.used.patients, flow.analysed.patients) == (None, None)
    assert size(found.evaluation) == "150 images, patients unknown"
    assert "patients" in groups_table(found.groups).columns
    assert "patients" not in groups_table(found.groups, patients=False).columns
    saved = json.loads(json.dumps(found.evaluation.to_dict()))
    assert saved["patients_known"] is False
    assert type(found.evaluation).from_dict(saved) == found.evaluation
    data = json.loads((run.path / "data.json").read_text())
    assert (
        "patient" not in trained({"model": "tiny-cnn"}, data, BINARY).replace("patients", "patient").split("dataset")[0]
    )
    published = split_origin(data | {"split": "published"})
    assert published.endswith(
        "The patients are unknown, so one may be in two parts, which would make the results too good."
    )
    assert split_origin({"split": "drawn"}).startswith("The split was drawn at random by patient")


def test_comparisons_say_that_patients_are_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, skill in (("good", 2.0), ("bad", 0.3)):
        make_comparable(name, skill, per_patient=0)
    board = rank(read([], Path("runs"), "test", "auroc").entries)
    text = " ".join([leaderboard.heading(board), *leaderboard.sentences(board)])
    assert claims(text) == []
    assert "120 test images (patients unknown)" in text
    assert "whose patients are unknown, so intervals and p may be too optimistic" in text
