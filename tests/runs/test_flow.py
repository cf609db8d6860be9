"""The flow of images and patients: its counts are those of the run's own tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reportable import BINARY, SEVERAL, make_results, make_run

from zoo.evaluation.predictions import Predictions
from zoo.runs.flow import Flow, Missing, measure_flow
from zoo.runs.run import Run

ASIDE = "image,reason\na.png,not an image\nb.png,truncated\nc.png,not an image\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, pd.DataFrame]:
    """A run with images set aside, filtered out and limited, unknown labels in each split, and unknown ages."""
    run = make_run(tmp_path_factory.mktemp("flow"), SEVERAL, explained=False, pixels=False)
    (run.path / "set_aside.csv").write_text(ASIDE)
    images = run.images()
    images.loc[images.index % 5 == 0, "label:Mass"] = np.nan
    images.loc[images.index % 7 == 0, "age"] = np.nan
    images.to_csv(run.path / "images.csv", index=False)
    for split in ("val", "test"):
        part = images[images["split"] == split].reset_index(drop=True)
        labels = part[[f"label:{name}" for name in SEVERAL.labels]].to_numpy(np.float32)
        before = run.predictions(split)
        run.save_predictions(split, Predictions(SEVERAL, before.table, labels, before.logits))
    data = json.loads((run.path / "data.json").read_text())
    run.write_json("data.json", data | {"filtered_out": 40, "limited_out": 5})
    text = (run.path / "config.yaml").read_text()
    (run.path / "config.yaml").write_text(f"{text}where: age >= 18\nlimit: 360\n")
    return run, images


def test_the_counts_are_those_of_the_tables(made: tuple[Run, pd.DataFrame]) -> None:
    run, images = made
    found = make_results(run)
    flow = found.flow
    assert flow is not None
    assert (flow.set_aside, flow.filtered_out, flow.where, flow.limited_out) == (3, 40, "age >= 18", 5)
    assert [(each.reason, each.images) for each in flow.reasons] == [("not an image", 2), ("truncated", 1)]
    assert flow.listed == len(images) + 3 + 40 + 5
    assert (flow.used.images, flow.used.patients) == (len(images), images["patient"].nunique())
    for split, count in flow.parts.items():
        part = images[images["split"] == split]
        assert (count.images, count.patients) == (len(part), part["patient"].nunique())
    evaluation = found.evaluation
    assert (flow.analysed.images, flow.analysed.patients) == (evaluation.images, evaluation.patients)
    known = {each.name: each.known for each in flow.missing if (each.kind, each.split) == ("label", "test")}
    assert known == dict(evaluation.known)
    for each in flow.missing:
        column = images.loc[images["split"] == each.split, f"label:{each.name}" if each.kind == "label" else each.name]
        assert (each.images, each.known, each.unknown) == (len(column), column.notna().sum(), column.isna().sum())
        if each.kind == "label":
            assert (each.positive, each.negative, each.filled) == ((column == 1).sum(), (column == 0).sum(), 0)
    assert any(each.unknown for each in flow.missing if each.kind == "label")


def test_it_is_saved_as_json_and_as_tables(made: tuple[Run, pd.DataFrame], tmp_path: Path) -> None:
    found = make_results(made[0])
    found.save(tmp_path)
    assert found.flow is not None
    assert json.loads((tmp_path / "results-test.json").read_text())["flow"] == found.flow.to_dict()
    steps = pd.read_csv(tmp_path / "flow-test.csv")
    left = steps.loc[steps["step"].isin(["set_aside", "filtered_out", "limited_out", "used"]), "images"].sum()
    assert left == steps.loc[steps["step"] == "listed", "images"].item()
    missing = pd.read_csv(tmp_path / "missing-test.csv")
    assert (missing["known"] + missing["unknown"] == missing["images"]).all()


def test_what_was_not_kept_is_not_made_up(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False)
    (run.path / "set_aside.csv").unlink()
    flow = make_results(run).flow
    assert flow is not None
    assert (flow.listed, flow.set_aside, flow.filtered_out, flow.reasons) == (None, None, 0, ())


@pytest.mark.parametrize(
    ("policy", "values", "certain", "expected"),
    [
        ("ignore", [1, 0, np.nan, np.nan], None, (2, 1, 1, 0)),
        ("one", [1, 0, 1, 1], (1, 1), (2, 1, 1, 2)),
        ("zero", [1, 0, 0, np.nan], (1, 1), (2, 1, 1, 1)),
        ("half", [1, 0, 0.5, 0.5], (1, 1), (2, 1, 1, 2)),
        ("one", [1, 0, 1, 1], None, (4, 3, 1, None)),  # of an older zoo: what was filled in cannot be known
    ],
)
def test_labels_filled_in_for_training_stay_unknown(
    policy: str, values: list[float], certain: tuple[int, int] | None, expected: tuple[int, int, int, int | None]
) -> None:
    table = pd.DataFrame({"image": list("abcd"), "patient": list("aabb"), "split": "train", "label:Abnormal": values})
    data = {"certain": certain and {"positive": {"Abnormal": certain[0]}, "negative": {"Abnormal": certain[1]}}}
    predictions = Predictions(BINARY, table, np.zeros((4, 1)), np.zeros((4, 1)))
    flow: Flow = measure_flow("test", predictions, table, None, data, {"uncertain": policy})
    (row,) = flow.missing
    assert isinstance(row, Missing)
    assert (row.known, row.positive, row.negative, row.filled) == expected
    assert row.unknown == 4 - row.known
