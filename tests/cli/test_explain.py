"""`zoo explain`: maps of files and of the run's own images, scores against boxes, and what is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from commandline import make_images, zoo
from PIL import Image

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")
FOLDER = Path("runs/first/explanations")


def run(*words: str) -> Result:
    return zoo("explain", *words)


def index(folder: Path = FOLDER) -> dict[str, Any]:
    return dict(json.loads((folder / "index.json").read_text()))


def test_the_run_s_run_images_are_scored_against_their_boxes(finished: Finished) -> None:
    finished(task="multilabel")
    result = run("first", "--split", "test", "--boxes", "--limit", "5")
    assert result.exit_code == 0, result.output
    found = index()
    assert found["method"] == "gradcam"
    assert found["layer"] == "out_relu"
    rows = found["localisation"]["rows"]
    total = {row["method"]: row for row in rows if row["label"] == "all"}
    assert set(total) == {"gradcam", "centre", "random"}
    assert found["maps"] == total["gradcam"]["images"] > 5
    assert total["gradcam"]["boxes"] >= total["gradcam"]["images"]
    for row in rows:
        assert 0 <= row["pointing"]["value"] <= 1
        assert set(row["iou"]) == {"0.25", "0.5", "0.75"}
    assert found["sanity"]["rank_correlation"] < 1
    assert len(found["images"]) == 5 == len(list((FOLDER / "maps").iterdir()))
    for each in found["images"]:
        assert each["boxes"] >= 1
        assert each["reference"] == 1
        assert 0 <= each["probability"] <= 1
        assert (FOLDER / each["file"]).read_bytes().startswith(b"\x89PNG")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(result.stdout.split())
    for part in ("pointing game", "Against a blob in the centre", "Sanity check", "5 of ", "not for clinical use"):
        assert part in text


def test_probabilities_are_those_of_the_predictions(finished: Finished) -> None:
    finished(task="multilabel")
    import pandas as pd

    result = run("first", "--boxes", "--no-sanity", "--label", "effusion", "--json")
    assert result.exit_code == 0, result.output
    saved = pd.read_csv("runs/first/predictions/test.csv").set_index("image")
    found = json.loads(result.stdout)
    assert found["sanity"] is None
    assert {each["label"] for each in found["images"]} == {"Effusion"}
    for each in found["images"]:
        assert each["probability"] == pytest.approx(saved.loc[each["image"], "probability:Effusion"], abs=1e-4)
        assert each["reference"] == saved.loc[each["image"], "label:Effusion"]


def test_one_map_of_a_binary_run_is_scored_against_all_boxes_of_the_image(finished: Finished) -> None:
    finished()
    result = run("first", "--boxes", "--no-sanity", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    rows = found["localisation"]["rows"]
    assert {row["label"] for row in rows} == {"Abnormal"}
    assert rows[0]["boxes"] > rows[0]["images"]
    assert len({each["image"] for each in found["images"]}) == len(found["images"])


def test_a_split_without_boxes_shows_images_with_a_finding(finished: Finished) -> None:
    finished(task="multilabel")
    result = run("first", "--split", "val", "--limit", "3")
    assert result.exit_code == 0, result.output
    found = index()
    assert found["localisation"] is None
    assert [(each["reference"], each["boxes"]) for each in found["images"]] == [(1, 0)] * 3


def test_files_are_explained_and_bad_ones_reported(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(2, size=50)
    Path("images/1.png").write_text("no image")
    result = run("first", "images/0.png", "images/1.png", "images/2.png", "--label", "Nodule", "--label", "Effusion")
    assert result.exit_code == 1
    assert "left out: images/1.png: not an image" in result.stderr
    assert "left out: images/2.png: missing file" in result.stderr
    assert [(each["image"], each["label"]) for each in index()["images"]] == [
        ("images/0.png", "Nodule"),
        ("images/0.png", "Effusion"),
    ]
    assert "images/0.png" not in result.stderr


def test_without_a_label_the_positive_or_most_probable_ones_are_explained(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(1)
    file = Path("runs/first/run.json")
    info = json.loads(file.read_text())
    for threshold, count in ((0.0, 6), (99.0, 1)):
        info["thresholds"] = dict.fromkeys(info["labels"], threshold)
        file.write_text(json.dumps(info))
        result = run("first", "images/0.png", "--json")
        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)["images"]
        assert len(shown) == count
    assert shown[0]["probability"] > 0


def test_occlusion_of_an_image_that_is_not_square(finished: Finished) -> None:
    finished()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 60), dtype=np.uint8)).save("wide.png")
    result = run("first", "wide.png", "--method", "occlusion", "--patch", "8", "--stride", "8", "--out", "there")
    assert result.exit_code == 0, result.output
    assert index(Path("there"))["layer"] == "patch 8, stride 8 pixels"
    assert not FOLDER.exists()


def test_pictures_of_before_go_and_scores_of_before_stay(finished: Finished) -> None:
    finished(task="multilabel")
    assert run("first", "--boxes", "--no-sanity", "--limit", "4").exit_code == 0
    scores = index()["localisation"]
    (FOLDER / "maps" / "mine.png").write_bytes(b"kept")
    make_images(1)
    assert run("first", "images/0.png", "--label", "Nodule").exit_code == 0
    assert index()["localisation"] == scores
    assert {p.name for p in (FOLDER / "maps").iterdir()} == {"mine.png", "000-0-Nodule.png"}


def test_an_index_that_was_tampered_with_removes_nothing_elsewhere(finished: Finished) -> None:
    finished()
    make_images(1)
    FOLDER.mkdir()
    Path("precious.png").write_bytes(b"precious")
    away = {"images": [{"file": "../../../precious.png"}, {"file": "maps/../../../../precious.png"}]}
    (FOLDER / "index.json").write_text(json.dumps(away))
    assert run("first", "images/0.png").exit_code == 0
    assert Path("precious.png").exists()


def test_a_run_is_explained_when_the_weights_it_started_from_are_gone(finished: Finished) -> None:
    finished()
    file = Path("runs/first/config.yaml")
    file.write_text(file.read_text().replace("weights: none", "weights: /nowhere/start.keras\nfreeze: true", 1))
    result = run("first", "--boxes", "--no-sanity", "--limit", "1")
    assert result.exit_code == 0, result.output


def test_changed_images_are_reported(finished: Finished) -> None:
    finished()
    file = Path("runs/first/data.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fingerprint": "another"}))
    result = run("first", "--boxes", "--no-sanity", "--limit", "1")
    assert "or their preparation, are not those that the run was trained on" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        ([], 2, ["nothing to explain", "--split test --boxes"]),
        (["a.png", "--boxes"], 2, ["not both"]),
        (["--boxes", "--label", "Nodul"], 2, ["unknown label 'Nodul'", "Did you mean 'Nodule'?"]),
        (["--boxes", "--layer", "out_rel"], 2, ["Did you mean 'out_relu'?"]),
        (["--boxes", "--patch", "3"], 2, ["--method occlusion"]),
        (["nothing.png"], 1, ["not one of the 1 files"]),
    ],
)
def test_what_cannot_be_explained_is_refused(words: list[str], code: int, parts: list[str], finished: Finished) -> None:
    finished(task="multilabel")
    result = run("first", *words)
    assert result.exit_code == code, result.output
    error = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(error) == 1
    for part in parts:
        assert part in error[0]
    assert not FOLDER.exists()


def test_a_run_without_a_network_is_an_error(finished: Finished) -> None:
    finished()
    Path("runs/first/model.keras").unlink()
    result = run("first", "--boxes")
    assert "has no trained network" in result.stderr


def test_a_dataset_without_boxes_is_an_error(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(40)
    labels = ["Effusion" if i % 2 else "No Finding" for i in range(40)]
    rows = "\n".join(
        ["image,label,split", *(f"{i}.png,{labels[i]},{'test' if i < 20 else 'train'}" for i in range(40))]
    )
    Path("images/t.csv").write_text(rows + "\n")
    run_file, config = Path("runs/first/images.csv"), Path("runs/first/config.yaml")
    import pandas as pd
    import yaml

    values = yaml.safe_load(config.read_text()) | {"data": {"name": "csv", "root": str(Path("images").absolute())}}
    config.write_text(yaml.safe_dump(values))
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(20)], "patient": range(20), "split": "test"})
    table.to_csv(run_file, index=False)
    result = run("first", "--boxes")
    assert "has a box of the network's labels" in result.stderr
    shown = run("first", "--split", "test", "--limit", "2")
    assert shown.exit_code == 0, shown.output
    assert {each["label"] for each in index()["images"]} == {"Effusion"}
    shutil.rmtree("images")
    assert "images" in run("first", "--split", "test").stderr
