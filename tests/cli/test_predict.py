"""`zoo predict`: rows in order, on screen, as CSV and as JSON; images that cannot be read; heat maps; being interrupted."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from commandline import PHANTOM, make_images, refused, zoo
from PIL import Image

from zoo.cli.main import cli
from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation.interval import short
from zoo.inference.classifier import Classifier, Prediction
from zoo.runs.run import Run

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def predict(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["predict", *words], input=typed)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def rows(file: str) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def run_images(finished: Finished) -> list[str]:
    """The run runs/first, and its test images from the store as files in own/, in the order of its predictions."""
    finished()
    run = Run(Path("runs/first"))
    store = Path(json.loads((run.path / "data.json").read_text())["store"])
    place = {row["image"]: i for i, row in enumerate(rows(str(store / "images.csv")))}
    images = np.load(store / "images.npy", mmap_mode="r")
    Path("own").mkdir()
    names = [f"own/{image}.png" for image in run.predictions("test").table["image"]]
    for name in names:
        Image.fromarray(np.asarray(images[place[Path(name).stem]])).save(name)
    return names


def test_the_run_s_run_images_have_its_saved_probabilities_in_every_output(run_images: list[str]) -> None:
    saved = Run(Path("runs/first")).predictions("test")
    threshold = Run(Path("runs/first")).info()["thresholds"]["Abnormal"]
    result = predict("first", *run_images, "--csv", "out/predictions.csv", "--json", "--batch-size", "7")
    assert result.exit_code == 0, result.output
    found, table = lines(result), rows("out/predictions.csv")
    assert [each["file"] for each in found] == [row["file"] for row in table] == run_images
    for one, row, probability in zip(found, table, saved.probabilities[:, 0], strict=True):
        assert one["probabilities"] == {"Abnormal": pytest.approx(probability, abs=1e-5)}
        assert float(row["probability:Abnormal"]) == pytest.approx(probability, abs=1e-5)
        assert one["positive"] == (["Abnormal"] if probability >= threshold else [])
        assert row["positive:Abnormal"] == str(int(probability >= threshold))
        assert (one["reason"], one["note"], row["reason"]) == ("", "", "")
    assert os.listdir("out") == ["predictions.csv"]
    assert RESEARCH_ONLY in result.stderr
    assert RESEARCH_ONLY not in result.stdout


def test_a_few_images_are_a_table(run_images: list[str]) -> None:
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20)).save("deep.png")
    Path("a-long-folder-name/and-another").mkdir(parents=True)
    os.rename(run_images[0], "a-long-folder-name/and-another/the-image.png")
    result = predict("first", "a-long-folder-name", run_images[1], "deep.png", "nothing.png")
    assert result.exit_code == 1
    assert max(map(len, result.stdout.splitlines())) <= 80
    text = " ".join(result.stdout.split())
    for part in (
        "the-image.png",
        run_images[1],
        "Abnormal .",
        "16-bit,",
        "not read: missing file",
        "Positive at or above",
    ):
        assert part in text
    assert text.endswith(RESEARCH_ONLY)


def test_many_images_are_summed_up(finished: Finished) -> None:
    finished()
    make_images(42)
    for i in range(12):
        Path(f"images/x{i}.png").write_text("no image")
    result = predict("first", "images")
    assert result.exit_code == 1
    positive = sum(each["positive"] == ["Abnormal"] for each in lines(predict("first", "images", "--json")))
    text = " ".join(result.stdout.split())
    assert "54 images: 42 predicted, 12 not read; " in text
    assert f"Positive: Abnormal {positive} ({positive / 42:.0%})." in text
    assert "Not read: images/x0.png: not an image" in text
    assert "… and 2 more." in text
    assert len(result.stdout.splitlines()) < 20


def test_images_come_from_folders_patterns_and_standard_input_in_the_order_typed(finished: Finished) -> None:
    finished()
    make_images(3)
    Path("images/notes.txt").write_text("x")
    result = predict("first", "images/2.png", "-", "images/[01].png", "--json", typed="images\nnothing.png\n")
    assert [each["file"] for each in lines(result)] == [
        *("images/2.png", "images/0.png", "images/1.png", "images/2.png", "nothing.png"),
        *("images/0.png", "images/1.png"),
    ]
    assert result.exit_code == 1


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_number_of_readers_changes_no_prediction(finished: Finished, workers: str) -> None:
    finished()
    make_images(5)
    assert lines(predict("first", "images", "--json")) == lines(
        predict("first", "images", "--json", "--workers", workers)
    )


def test_several_labels_and_their_heat_maps(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(3)
    result = predict("first", "images", "none.png", "--heatmaps", "maps", "--csv", "a.csv", "--json")
    assert result.exit_code == 1
    found, table = lines(result), rows("a.csv")
    written = sorted(path.name for path in Path("maps").iterdir())
    assert written == sorted(name for each in found for name in each["heatmaps"])
    labels = Run(Path("runs/first")).task().labels
    for number, (one, row) in enumerate(zip(found, table, strict=True), 1):
        assert row["heatmaps"].split(";") == (one["heatmaps"] or [""])
        if one["reason"]:
            assert one["heatmaps"] == []
            continue
        order = sorted(labels, key=lambda label: -one["probabilities"][label])
        shown = [label for label in order if label in one["positive"]][:3] or order[:1]
        assert one["heatmaps"] == [f"{number:03d}-{number - 1}-{label}.png" for label in shown]
    for name in written:
        with Image.open(Path("maps", name)) as picture:
            assert picture.size == (500, 495)
    text = predict("first", "images/0.png").stdout
    assert ("none; highest" in text) == (not found[0]["positive"])


def test_of_exclusive_classes_one_is_named() -> None:
    assert zoo("train", *PHANTOM, "--task", "multiclass", "--run", "classes").exit_code == 0
    make_images(2)
    result = predict("classes", "images", "--json", "--csv", "a.csv")
    assert result.exit_code == 0, result.output
    for one, row in zip(lines(result), rows("a.csv"), strict=True):
        assert one["class"] == row["class"] == max(one["probabilities"], key=one["probabilities"].get)
        assert sum(one["probabilities"].values()) == pytest.approx(1)
    text = predict("classes", "images").stdout
    assert "most probable class" in text


def test_a_stored_calibration_changes_probabilities_and_no_decision(finished: Finished) -> None:
    finished()
    make_images(8)
    before = lines(predict("first", "images", "--json"))
    task = Run(Path("runs/first")).task()
    stored = {"method": "platt", "task": {"kind": task.kind, "labels": list(task.labels)}, "uncalibrated": {}}
    parameters = {label: {"slope": 0.2, "intercept": 1.5} for label in task.labels}
    Run(Path("runs/first")).update_info(calibration=stored | {"parameters": parameters})
    result = predict("first", "images", "--json")
    after = lines(result)
    assert result.exit_code == 0
    for one, other in zip(before, after, strict=True):
        p, q = one["probabilities"]["Abnormal"], other["probabilities"]["Abnormal"]
        assert np.log(q / (1 - q)) == pytest.approx(0.2 * np.log(p / (1 - p)) + 1.5, abs=1e-6)
        assert one["positive"] == other["positive"]
    threshold = Run(Path("runs/first")).info()["thresholds"]["Abnormal"]
    carried = 1 / (1 + np.exp(-(0.2 * np.log(threshold / (1 - threshold)) + 1.5)))
    assert f"Positive at or above: Abnormal {short(carried)}." in predict("first", "images").stdout


def test_the_corpus_of_broken_files_ends_with_a_reason_each(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished()
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "core"))
    corpus = importlib.import_module("bad_files")
    Path("corpus").mkdir()
    cases = {
        name: case
        for name, case in corpus.write_corpus(Path("corpus")).items()
        if "\0" not in name and "\n" not in name
    }
    names = [
        f"corpus/{name}" for name, case in cases.items() if not name.startswith("/") and "outside" not in case.pattern
    ]
    folders = ("corpus/", "corpus/.", "corpus/root.png")  # with images in them; the last is a link to /
    names = [name for name in names if name not in folders]
    Path("list.txt").write_bytes(b"".join(os.fsencode(name) + b"\n" for name in names))
    result = CliRunner().invoke(
        cli, ["predict", "first", "-", "--json", "--csv", "a.csv"], input=Path("list.txt").read_bytes()
    )
    assert result.exit_code == 1, result.output
    found = lines(result)
    assert len(found) == len(names) == len(rows("a.csv"))
    for one, name in zip(found, names, strict=True):
        assert one["file"] == name.encode("utf-8", "backslashreplace").decode()
        assert bool(one["reason"]) == (one["probabilities"] is None)
        outcome = cases[name.removeprefix("corpus/")].outcome
        if outcome in (corpus.ASIDE, corpus.READ):
            assert bool(one["reason"]) == (outcome == corpus.ASIDE), (name, one["reason"])
    assert "Traceback" not in result.output


def test_what_cannot_be_is_refused(finished: Finished) -> None:
    refused(predict("nothing", "a.png"), 2, "there is no run 'nothing'")
    finished()
    make_images(1)
    for words, code, part in [
        (["images", "--csv", "images"], 2, "--csv: images is a folder"),
        (["images", "--csv", "/dev/null"], 2, "is no regular file"),
        (["images", "--csv", "images/0.png/a.csv"], 1, "cannot be written"),
        (["images", "--device", "tpu"], 2, "unknown device 'tpu'"),
    ]:
        result = predict("first", *words)
        assert result.exit_code == code, result.output
        assert part in result.stderr
        assert "Traceback" not in result.stderr
    assert predict("first").exit_code == 2
    assert predict("first", "images", "--batch-size", "0").exit_code == 2
    empty = predict("first", "-", typed="\n")
    assert empty.exit_code == 1
    assert "no image was named" in empty.stderr


def test_a_folder_without_images_is_a_row_with_a_reason(finished: Finished) -> None:
    finished()
    Path("empty").mkdir()
    result = predict("first", "empty", "--json")
    assert result.exit_code == 1
    assert [each["reason"] for each in lines(result)] == ["a folder with no image in it"]


def test_names_that_are_no_text_are_escaped(finished: Finished) -> None:
    finished()
    make_images(1)
    name = os.fsdecode(b"images/\xff.png")
    try:
        os.rename("images/0.png", name)
    except OSError:
        pytest.skip("the file system wants Unicode")
    result = predict("first", "images", "--json", "--csv", "a.csv")
    assert result.exit_code == 0, result.output
    assert lines(result)[0]["file"] == rows("a.csv")[0]["file"] == "images/\\udcff.png"
    assert predict("first", "images").exit_code == 0


def test_rows_that_were_written_stay_when_it_is_interrupted(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished()
    make_images(4)
    Path("a.csv").write_text("an earlier table\n")
    stream = Classifier.stream

    def interrupted(self: Classifier, *words: Any, **keywords: Any) -> Iterator[Prediction]:
        for number, prediction in enumerate(stream(self, *words, **keywords)):
            if number == 3:
                raise KeyboardInterrupt
            yield prediction

    monkeypatch.setattr(Classifier, "stream", interrupted)
    result = predict("first", "images", "--csv", "a.csv", "--json")
    assert result.exit_code == 130
    assert [row["file"] for row in rows("a.csv.partial")] == [f"images/{i}.png" for i in range(3)]
    assert len(lines(result)) == 3
    assert "stopped after 3 images. Their rows are kept in a.csv.partial." in result.stderr
    assert Path("a.csv").read_text() == "an earlier table\n"


def test_an_error_before_the_first_row_leaves_no_table(finished: Finished) -> None:
    finished()
    make_images(1)
    Path("runs/first/model.keras").write_text("no network")
    result = predict("first", "images", "--csv", "a.csv")
    assert result.exit_code == 1
    assert "cannot be loaded" in result.stderr
    assert not list(Path().glob("a.csv*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_reported_with_what_was_kept(finished: Finished) -> None:
    finished()
    make_images(1)
    Path("a.csv.partial").symlink_to("/dev/full")
    result = predict("first", "images", "--csv", "a.csv")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert not Path("a.csv").exists()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_in_a_terminal_ends_it_at_once_and_keeps_the_rows(finished: Finished) -> None:
    finished()
    make_images(3)
    code = "from zoo.cli.main import main; main()"
    words = [
        sys.executable,
        "-c",
        code,
        "predict",
        "first",
        "-",
        "--csv",
        "a.csv",
        "--batch-size",
        "3",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(b"images\n" * 10)
    process.stdin.flush()  # and more to come
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (Path("a.csv.partial").exists() and len(rows("a.csv.partial")) >= 9):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error.decode()
    assert "rows are kept in a.csv.partial" in error.decode()
    assert len(rows("a.csv.partial")) >= 9
    assert "Traceback" not in error.decode()


def test_thousands_of_images_take_no_more_memory_than_hundreds(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    finished()
    make_images(5)
    read = [np.zeros((1, 1), np.float32), np.zeros((1, 4), np.float32)]

    class Still:
        name = "still"

        def predict(self, images: np.ndarray) -> list[np.ndarray]:
            return [np.repeat(each, len(images), axis=0) for each in read]

        def close(self) -> None:
            pass

    opened = Classifier.open.__func__

    def quick(cls: type[Classifier], *words: Any, **keywords: Any) -> Classifier:
        classifier: Classifier = opened(cls, *words, **keywords)
        classifier.runtime, classifier.detector = Still(), None
        return classifier

    monkeypatch.setattr(Classifier, "open", classmethod(quick))

    def peak(count: int) -> int:
        Path("list.txt").write_text("".join(f"images/{i % 5}.png\n" for i in range(count)))
        with Path("list.txt").open("rb") as names:
            monkeypatch.setattr("sys.stdin", type("In", (), {"buffer": names}))
            tracemalloc.start()
            with pytest.raises(SystemExit) as end:
                cli(["predict", "first", "-", "--csv", "a.csv", "--workers", "0"])
            highest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert end.value.code == 0
        assert len(rows("a.csv")) == count
        return highest

    peak(50)
    assert peak(3000) < peak(300) + 300_000  # bytes; 3,000 images of 32 pixels are 3 MB
