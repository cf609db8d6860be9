"""`zoo readers`: from a table of readings to agreement, modalities and a run against the readers, in one command."""

from __future__ import annotations

import csv
import html.parser
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commandline import refused, zoo
from readings import FINDINGS, write_google, write_long
from test_compare import flat, make_run

from zoo.core.tasks import Task
from zoo.runs.run import Run

EFFUSION = Task("binary", ("Effusion",))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def van_dyke_table() -> Path:
    golden = Path(__file__).parents[1] / "evaluation" / "golden" / "van_dyke.csv"
    with golden.open() as file:
        rows = list(csv.DictReader(file))
    ratings = np.array([[int(c) for c in r["without dissection"] + r["with dissection"]] for r in rows])
    return write_long(Path("van_dyke.csv"), np.repeat([0, 1], [69, 45]), ratings.reshape(2, 5, 114).transpose(2, 0, 1))


def test_google_s_five_readers_run_from_table_to_result_in_one_command(tmp_path: Path) -> None:
    table, labels = write_google(tmp_path, modalities=("unaided", "aided"))
    command = [
        sys.executable,
        "-c",
        "from zoo.cli.main import main; main()",
        "readers",
        str(table),
        "--labels",
        str(labels),
    ]
    done = subprocess.run([*command, "--json", "--replicates", "100"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["readers"] == ["1", "2", "3", "4", "5"]
    assert [each["label"] for each in found["labels"]] == list(FINDINGS)
    for each in found["labels"]:
        assert (each["images"], each["patients"], each["crossed"], each["yes_or_no"]) == (120, 80, True, True)
        mrmc = each["mrmc"]
        assert mrmc["df1"] == 1
        assert mrmc["pairs"][0]["first"] == "unaided"
        assert mrmc["pairs"][0]["one_shot"] is not None
        assert mrmc["pairs"][0]["random"]["value"]["value"] < 0  # aided is read better
    assert sum(each["p_holm"] < 0.05 for each in found["labels"]) >= 14


def test_one_modality_gives_every_reader_their_mean_and_their_agreement(tmp_path: Path) -> None:
    table, labels = write_google(tmp_path)
    several = zoo("readers", str(table), "--labels", str(labels), "--replicates", "100")
    assert several.exit_code == 0, several.output
    assert max(len(line) for line in several.stdout.splitlines()) <= 80
    for label in FINDINGS:
        assert f"\n{label} " in several.stdout
    one = flat(zoo("readers", str(table), "--labels", str(labels), "--label", "mass", "--replicates", "100").stdout)
    assert "120 images of 80 patients, 5 readers, Mass; reference labels: labels.csv" in one
    assert "Readers from the best down: " in one
    assert "The readers agree with a Fleiss' kappa of " in one
    assert "their AUROC is the mean of sensitivity and specificity" in one


def test_van_dyke_s_modalities_from_the_command_line() -> None:
    result = zoo("readers", str(van_dyke_table()), "--positive-from", "3", "--html", "page.html", "--csv", "rows.csv")
    assert result.exit_code == 0, result.output
    said = flat(result.stdout)
    assert "A and B do not differ significantly: mean AUROC difference -.044 [-.088, .000], p .052" in said
    assert "A minus B -.044 [-.088, .000] .052 .019" in said
    rows = list(csv.DictReader(Path("rows.csv").read_text().splitlines()))
    assert [row["reader"] for row in rows] == [*(f"r{j}" for j in range(1, 6)), "(mean)"] * 2
    assert float(rows[0]["auroc"]) == pytest.approx(0.91964573, abs=5e-9)
    page = Path("page.html").read_text()
    html.parser.HTMLParser().feed(page)
    assert "p .052" in page
    assert "http" not in page.replace("http-equiv", "")


def readers_of(run: str, skills: dict[str, float], seed: int = 0) -> Path:
    """Scores of readers of known skill for the test images of a run, of the images alone."""
    predictions = Run(Path("runs") / run).predictions("test")
    rng = np.random.default_rng(seed)
    rows = [
        pd.DataFrame({"image": predictions.table["image"], "reader": name, "score": score.round(4)})
        for name, skill in skills.items()
        for score in [skill * predictions.labels[:, 0] + rng.normal(size=len(predictions))]
    ]
    pd.concat(rows).to_csv("scores.csv", index=False)
    return Path("scores.csv")


def test_a_run_stands_beside_readers_of_known_skill() -> None:
    make_run("net", skill=1.5, task=EFFUSION, test=range(100, 500))
    table = readers_of("net", {"resident": 0.5, "expert": 3.0})
    result = zoo("readers", str(table), "--run", "net", "--positive-from", "1")
    assert result.exit_code == 0, result.output
    said = flat(result.stdout)
    assert (
        "400 images of 200 patients, 2 readers, Effusion; reference labels: the run net" in said
    )  # patients are the run's
    assert "Readers from the best down: expert" in said
    assert "significantly better is expert than resident (p by the method of Holm)" in said
    found = json.loads(zoo("readers", str(table), "--run", "net", "--json").stdout)["labels"][0]
    (modality,) = found["modalities"]
    by_name = {each["reader"]: each for each in modality["readers"]}
    assert by_name["resident"]["minus"]["value"]["low"] > 0
    assert by_name["expert"]["minus"]["value"]["high"] < 0
    assert max(each["p_holm"] for each in by_name.values()) < 0.001


def test_a_leak_of_the_run_is_said() -> None:
    run = make_run("net", task=EFFUSION, test=range(100, 160))
    table = readers_of("net", {"a": 1.0, "b": 1.0})
    splits = [Run(run).predictions(split).table.assign(split=split) for split in ("val", "test")]
    earlier = pd.DataFrame(
        {"image": ["seen.png"], "patient": ["p50"], "split": ["train"]}
    )  # p50 has two of the test images
    pd.concat([earlier, *splits]).to_csv(run / "images.csv", index=False)
    result = zoo("readers", str(table), "--run", "net", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert "Leak: 2 of the 60 test images belong to patients that the network was trained" in flat(result.stdout)
    assert "Leak: 2 of the 60 test images" in Path("page.html").read_text()
    assert json.loads(zoo("readers", str(table), "--run", "net", "--json").stdout)["leaks"][0]["shared"] == "patient"


def test_decisions_are_compared_with_decisions() -> None:
    """Against readings of yes or no the run is taken at its threshold, not with its whole curve."""
    make_run("net", skill=1.5, task=EFFUSION, test=range(100, 300))
    table = readers_of("net", {"a": 2.0, "b": 2.0, "c": 2.0})
    scores = pd.read_csv(table)
    scores["score"] = np.where(scores["score"] > 1, "yes", "no")
    scores.to_csv(table, index=False)
    found = json.loads(zoo("readers", str(table), "--run", "net", "--json").stdout)["labels"][0]
    predictions = Run(Path("runs/net")).predictions("test")
    truth, said = predictions.labels[:, 0] > 0.5, predictions.probabilities[:, 0] >= 0.5
    own = ((said & truth).sum() / truth.sum() + (~said & ~truth).sum() / (~truth).sum()) / 2
    (modality,) = found["modalities"]
    reader = modality["readers"][0]
    assert reader["auroc"]["value"] == pytest.approx(
        (reader["sensitivity"]["value"] + reader["specificity"]["value"]) / 2
    )
    assert reader["minus"]["value"]["value"] == pytest.approx(own - reader["auroc"]["value"])
    assert modality["panel"]["difference"]["high"] < 0  # three good readers agree with one another, the run does not
    assert list(modality["panel"]["model"]) == ["a", "b", "c"]


def test_without_reference_labels_there_is_agreement(tmp_path: Path) -> None:
    table, _ = write_google(tmp_path)
    result = zoo("readers", str(table), "--label", "Mass", "--replicates", "100")
    assert result.exit_code == 0, result.output
    assert "There are no reference labels: only agreement can be measured." in flat(result.stdout)
    assert "AUROC" not in result.stdout


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("image,score\na,1\n", ("no column for reader", "Reader ID", "image, score")),
        ("image,reader\na,r\n", ("neither a column of scores",)),
        ("image,reader,score\na,r,maybe\n", ("line 2", "'maybe'", "yes")),
        ("image,reader,score\na,r,1\na,r,2\n", ("line 3", "second reading of 'a' by 'r'")),
        ("image,reader,score\n,r,1\n", ("line 2", "'image' is empty")),
        ("image,reader,score,reference\na,r,1,1\na,s,1,0\n", ("line", "'a' has the reference")),
        ("image,reader,score,patient\na,r,1,p\na,s,1,q\n", ("'a' has the patient 'p'",)),
        ("image,reader,score,reference\na,r,1,often\n", ("reference label is 'often'",)),
    ],
)
def test_a_table_that_is_not_one_is_refused(text: str, parts: tuple[str, ...]) -> None:
    Path("t.csv").write_text(text)
    refused(zoo("readers", "t.csv"), 1, *parts)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    table, _ = write_google(tmp_path)
    refused(zoo("readers", "nowhere.csv"), 1, "no file nowhere.csv with readings")
    refused(zoo("readers", str(table), "--label", "Masses"), 2, "unknown label 'Masses'", "Did you mean 'Mass'?")
    make_run("net", task=EFFUSION, folder="elsewhere")
    found = zoo("readers", str(table), "--run", "net", "--runs-dir", "elsewhere")
    refused(found, 1, "names none of the 120 images", "00000000_000.png")


def write_marks(images: int = 120) -> None:
    """Marks of three readers in two modalities; half the images have a lesion at the same place, better seen in the second."""
    rng = np.random.default_rng(0)
    rows = ["image,patient,reader,modality,x,y,score"]
    for n, reader, modality in np.ndindex(images, 3, 2):
        name = f"{n:03d}.png,{n // 2},r{reader},{('plain', 'new')[modality]}"
        rows.append(f"{name},,,")
        if n % 2 and rng.random() < 0.9:
            rows.append(f"{name},55,55,{1 + 2 * modality + rng.normal():.3f}")
        rows += [f"{name},{rng.integers(0, 40)},5,{rng.normal():.3f}" for _ in range(rng.poisson(0.5))]
    Path("marks.csv").write_text("\n".join(rows) + "\n")
    boxes = ["image,label,x,y,width,height", *(f"{n:03d}.png,Nodule,50,50,10,10" for n in range(1, images, 2))]
    Path("boxes.csv").write_text("\n".join(boxes) + "\n")


def test_marks_go_from_their_table_to_afroc_and_froc() -> None:
    write_marks()
    result = zoo("readers", "marks.csv", "--boxes", "boxes.csv", "--html", "page.html", "--replicates", "100")
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    said = flat(result.stdout)
    assert "120 images, 60 lesions, 3 readers; boxes: boxes.csv" in said
    assert "new is better than plain: mean AFROC difference" in said
    assert "AUROC" not in said
    page = Path("page.html").read_text()
    assert "false marks per image (FROC)" in page
    assert all(f"FROC of each reader: lesion, {modality}." in page for modality in ("plain", "new"))
    found = json.loads(zoo("readers", "marks.csv", "--boxes", "boxes.csv", "--json", "--replicates", "100").stdout)
    assert (found["figure"], found["labels"][0]["positives"]) == ("afroc", 60)
    rates = found["froc"][0]["sensitivity"]
    assert list(rates) == ["0.125", "0.25", "0.5", "1", "2", "4"]
    assert rates["4"]["value"] == pytest.approx(0.9, abs=0.1)
    # the table's share is the highest point of the curve up to that rate
    assert max(y for x, y in found["froc"][0]["curve"] if x <= 0.25) == rates["0.25"]["value"]


def test_boxes_go_with_marks_alone() -> None:
    write_marks(8)
    refused(zoo("readers", "marks.csv", "--boxes", "boxes.csv", "--labels", "boxes.csv"), 2, "--boxes", "marks")
