"""The settings of a run's data on the command line: filters, findings, uncertain labels, balance, monitors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commandline import zoo
from loglines import log_lines
from PIL import Image

from zoo.config.resolve import read_file, resolve
from zoo.core.registry import registry
from zoo.data.pipeline import ImageSet, load_images

IMAGES = 60


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of 60 images, two per patient, with views, ages, uncertain and empty labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    Path("root/images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for i in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(f"root/images/{i}.png")
        mass, nodule = (1, "-1", 0, "")[i % 4], int(i % 3 == 0)
        view, age, patient = "PA" if i % 5 else "AP", 10 + i, f"p{i // 2}"
        rows.append([f"images/{i}.png", patient, view, age, mass, nodule, "good" if i % 7 else "bad"])
    names = ["image", "patient", "view", "age", "Mass", "Nodule", "quality"]
    pd.DataFrame(rows, columns=names).to_csv("root/table.csv", index=False)


LAYER = {
    "data": {"name": "csv", "root": "root", "labels": "Mass,Nodule", "keep": "quality"},
    "model": "tiny-cnn",
    "task": "multilabel",
    "image_size": 16,
    "batch_size": 4,
    "monitor": "val_loss",
}


def make_images(**changes: object) -> tuple[ImageSet, list[str]]:
    with log_lines() as lines:
        return load_images(resolve([LAYER, changes], registry()), registry()), lines


def labels_of(found: ImageSet, split: str) -> np.ndarray:
    return found.labels[found.of(split)]


def test_a_filter_reports_how_many_images_it_keeps() -> None:
    found, lines = make_images(where="view == 'PA' and quality == 'good'")
    assert found.filtered_out == IMAGES - len(found.table) > 0
    assert set(found.table["view"]) == {"PA"}
    assert any(f"{len(found.table)} of {IMAGES} images kept" in line for line in lines)


def test_a_limit_counts_what_it_left_out() -> None:
    found, _ = make_images(where="view == 'PA'", limit=20)
    assert found.filtered_out + found.limited_out + len(found.table) + len(found.set_aside) == IMAGES
    assert found.limited_out > 0


@pytest.mark.parametrize("policy", ["zero", "one", "half"])
def test_training_labels_that_are_known_are_counted_apart(policy: str) -> None:
    found, plain = make_images(uncertain=policy)[0], make_images(uncertain="ignore")[0]
    assert plain.certain is None
    assert found.certain is not None
    shared = np.isin(found.table["image"], plain.table["image"]) & (found.table["split"] == "train").to_numpy()
    before = plain.labels[np.isin(plain.table["image"], found.table["image"][shared])]
    assert found.certain.positive.tolist() == (before == 1).sum(axis=0).tolist()
    assert found.certain.negative.tolist() == (before == 0).sum(axis=0).tolist()


def test_all_uncertain_policies_share_one_split_and_change_training_labels_only() -> None:
    several = {
        policy: make_images(uncertain=policy, findings="Mass")[0] for policy in ("ignore", "zero", "one", "half")
    }
    for split in ("val", "test"):
        names = {policy: found.table["image"][found.of(split)].tolist() for policy, found in several.items()}
        assert len({tuple(each) for each in names.values()}) == 1
        assert not any(np.isin(labels_of(found, split), [0.5]).any() for found in several.values())
    sure = labels_of(several["ignore"], "train")
    for policy, value in (("zero", 0.0), ("one", 1.0), ("half", 0.5)):
        found = labels_of(several[policy], "train")
        assert (found == value).sum() == (sure == value).sum() + len(found) - len(sure)
        assert len(found) > len(sure)
        assert "the setting uncertain" in several[policy].set_aside["reason"].iloc[-1]


def test_an_empty_cell_can_mean_absent() -> None:
    assert np.isnan(make_images()[0].labels[:, 0]).sum() == IMAGES / 2
    absent = make_images(data={"blank": "absent"})[0]
    assert np.isnan(absent.labels[:, 0]).sum() == IMAGES / 4


def test_a_balance_is_reported_by_label_and_reaches_the_counts_of_the_loss() -> None:
    found, lines = make_images(balance="repeat-factor", balance_threshold=0.9)
    assert found.balance is not None
    assert any(line.lstrip().startswith("Nodule") and "→" in line for line in lines)
    plain, balanced = found.count_labels("train"), found.count_labels("train", found.balance)
    has = labels_of(found, "train") == 1
    np.testing.assert_allclose(balanced.positive, (has * found.balance.factors[:, None]).sum(axis=0))
    assert (balanced.positive > plain.positive).all()


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--where", "veiw == 'PA'"], 2, "Did you mean 'view'"),
        (["--where", "view = 'PA'"], 2, "cannot be read"),
        (["--where", "age > 200"], 2, "age is 10 to 69"),
        (["--findings", "Mas"], 2, "Did you mean 'Mass'"),
        (["--uncertain", "half", "--task", "multiclass"], 2, "cannot be one half"),
        (["--uncertain", "maybe"], 2, "half, ignore, one, zero"),
        (["--monitor", "val_f2"], 2, "val_f1"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(words: list[str], code: int, part: str) -> None:
    Path("config.yaml").write_text(json.dumps(LAYER))
    result = zoo("train", "--config", "config.yaml", *words)
    assert result.exit_code == code
    assert part in " ".join(result.stderr.split())
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_preparing_takes_the_filter_and_counts_what_it_left_out() -> None:
    given = ["--data", "csv", "--root", "root", "--set", "data.labels=Mass,Nodule", "--task", "multilabel"]
    result = zoo(
        "data", "prepare", *given, "--image-size", "32", "--where", "age >= 20", "--findings", "Nodule", "--json"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["filtered_out"], found["images"], found["labels"]) == (10, 50, ["Nodule"])


@pytest.mark.slow
def test_a_run_keeps_its_settings_and_is_repeated_from_its_file() -> None:
    Path("config.yaml").write_text(json.dumps(LAYER))
    words = ["--where", "age >= 15 and known(view)", "--findings", "Nodule,Mass", "--uncertain", "half"]
    words += ["--balance", "repeat-factor", "--monitor", "val_f1", "--schedule", "plateau", "--epochs", "2"]
    assert zoo("train", "--config", "config.yaml", *words, "--run", "one").exit_code == 0
    assert zoo("train", "--config", "runs/one/config.yaml", "--run", "two").exit_code == 0
    one, two = (Path("runs", name) for name in ("one", "two"))
    assert (one / "config.yaml").read_text() == (two / "config.yaml").read_text()
    assert (one / "predictions/test.csv").read_bytes() == (two / "predictions/test.csv").read_bytes()
    kept = read_file(one / "config.yaml")
    assert (kept["findings"], kept["where"]) == (["Nodule", "Mass"], "age >= 15 and known(view)")
    data = json.loads((one / "data.json").read_text())
    assert (data["filtered_out"], data["where"]) == (5, kept["where"])
    assert set(data["balance"]["after"]) == {"Nodule", "Mass"}
    with (one / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = max(range(2), key=lambda k: float(rows[k]["val_f1"] or 0))
    assert json.loads((one / "run.json").read_text())["best_epoch"] == best + 1
    assert "0.5" in set(pd.read_csv(one / "images.csv", dtype=str)["label:Mass"])
