"""From a table without patients to the sentences of a finished run, and patients out of paths."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commandline import flat, zoo
from PIL import Image

WORDS = ["--data", "csv", "--root", "root", "--set", "data.labels=Mass", "--task", "multilabel", "--image-size", "16"]
PATTERN = r"data.patient_pattern=patient(\d+)/"


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 images, two of each patient, who stands in the path alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    rng, rows = np.random.default_rng(0), []
    for i in range(60):
        path = Path(f"root/patient{i // 2:03d}/study{i % 2}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(path)
        rows.append((path.relative_to("root"), i // 2 % 2))
    pd.DataFrame(rows, columns=["image", "Mass"]).to_csv("root/table.csv", index=False)


def test_a_run_knows_that_its_patients_are_unknown() -> None:
    trained = zoo("train", "--model", "tiny-cnn", *WORDS, "--epochs", "1", "--batch-size", "8", "--run", "r")
    assert trained.exit_code == 0, trained.output
    data = json.loads(Path("runs/r/data.json").read_text())
    assert (data["patients_known"], data["patients"]) == (False, dict.fromkeys(("train", "val", "test")))
    for table in ("images.csv", "predictions/test.csv"):
        assert pd.read_csv(Path("runs/r", table))["patient"].isna().all()
    shown = flat(zoo("evaluate", "r").stdout)
    assert "12 images, patients unknown" in shown
    assert "intervals treat the images as independent, and may be too narrow" in shown
    elsewhere = zoo("evaluate", "r", *WORDS[:6], "--json")
    assert json.loads(elsewhere.stdout)["evaluation"]["patients_known"] is False


def test_an_audit_does_not_call_clean_what_it_cannot_check() -> None:
    unknown = zoo("data", "audit", *WORDS[:6], "--set", "data.normal=none")
    assert unknown.exit_code == 0, unknown.output
    assert "Patients unknown in csv: leaks by patient cannot be checked there." in flat(unknown.stdout)
    assert "Clean" not in unknown.stdout
    facts = json.loads(zoo("data", "audit", *WORDS[:6], "--json").stdout)
    assert (facts["clean"], facts["patients_known"], facts["leaks"]) == (None, False, 0)
    known = zoo("data", "audit", *WORDS[:6], "--set", PATTERN)
    assert "Clean: no patient and no image is in two splits." in flat(known.stdout)
