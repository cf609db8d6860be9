"""Finished runs that were tampered with: each is refused by every command with one line that names the file."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness import Case, outside, zoo

Change = Callable[[Path], object]


def setup() -> None:
    import reportable

    import zoo.report.page

    assert reportable
    assert zoo.report.page


@functools.cache
def _made(base: Path) -> Path:
    """A finished run and another beside it, made once in a process."""
    import comparable
    import reportable

    from zoo.runs.results import evaluate_run

    shutil.rmtree(base, ignore_errors=True)
    run = reportable.make_run(base / "made", reportable.BINARY, explained=False, pixels=False)
    evaluate_run(run, replicates=20).save(run.path)
    (base / "runs").mkdir()
    run.path.rename(base / "runs" / "run")
    comparable.make_run("good", folder=str(base / "runs"))
    return base / "runs"


def _run(change: Change, folder: Path) -> None:
    shutil.copytree(_made(folder.parent / "tmp" / "base"), folder / "runs")
    (folder / "runs" / "run").rename(folder / "run")  # so that `outside` is found from it
    change(folder / "run")
    (folder / "run").rename(folder / "runs" / "run")


def _bytes(name: str, data: bytes, run: Path) -> None:
    (run / name).write_bytes(data)


def _filled(data: bytes, name: str, run: Path) -> None:
    _bytes(name, data, run)


def _gone(name: str, run: Path) -> None:
    (run / name).unlink()


def _half(name: str, run: Path) -> None:
    data = (run / name).read_bytes()
    (run / name).write_bytes(data[: len(data) // 2])


def _fifo(name: str, run: Path) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)


def _folder(name: str, run: Path) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir()


def _link(name: str, run: Path) -> None:
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside(run.parent))


def _replaced(name: str, find: str, by: str, run: Path) -> None:
    text = (run / name).read_text()
    assert find in text, (name, find)
    (run / name).write_text(text.replace(find, by, 1))


def _key(name: str, key: str, value: Any, run: Path) -> None:
    found = json.loads((run / name).read_text())
    (run / name).write_text(json.dumps(found | {key: value}))


def evaluate(folder: Path) -> str:
    return zoo("evaluate", folder / "runs" / "run", "--replicates", "10")


def report(folder: Path) -> str:
    return zoo("report", folder / "runs" / "run")


def compare(folder: Path) -> str:
    return zoo("compare", folder / "runs" / "run", folder / "runs" / "good", "--group")


def predict(folder: Path) -> str:
    (folder / "a.png").write_bytes(b"no image")
    return zoo("predict", folder / "runs" / "run", folder / "a.png")


def resume(folder: Path) -> str:
    return zoo("train", "--resume", folder / "runs" / "run")


def among_others(folder: Path) -> bool:
    """A broken run is named, and the other one is shown all the same."""
    found = json.loads(zoo("compare", "--runs-dir", folder / "runs", "--group", "--json"))
    return "good" in json.dumps(found)


CHANGES: dict[str, tuple[Change, str]] = {
    f"{name} {what}": (partial(change, name), name.rpartition("/")[2])
    for name in ("config.yaml", "run.json", "data.json", "images.csv", "predictions/test.csv", "predictions/val.csv")
    for what, change in (
        ("as a FIFO", _fifo),
        ("as a folder", _folder),
        ("as a link out", _link),
        ("of zeros", partial(_filled, b"\0" * 99)),
        ("of no text", partial(_filled, b"\xff\xfe\xfd")),
    )
    if what != "of no text" or not name.endswith("csv")
}
CHANGES |= {
    f"{name} as {what}": (partial(change, name), name.rpartition("/")[2])
    for name in ("model.keras", "model-card.md", "evaluation-test.json", "set_aside.csv", "ood.npz")
    for what, change in (("a FIFO", _fifo), ("a folder", _folder), ("a link out", _link))
}
INFO: dict[str, tuple[str, Any]] = {
    "a task of another kind": ("task", "regression"),
    "a task that is a list": ("task", ["binary"]),
    "no labels": ("labels", []),
    "labels that are a text": ("labels", "Abnormal"),
    "labels that are numbers": ("labels", [1]),
    "an empty label": ("labels", [""]),
    "thresholds of text": ("thresholds", {"Abnormal": "half"}),
    "thresholds of NaN": ("thresholds", {"Abnormal": float("nan")}),
    "thresholds of infinity": ("thresholds", {"Abnormal": float("inf")}),
    "thresholds of other labels": ("thresholds", {"Mass": 0.5}),
    "thresholds in a list": ("thresholds", [0.5]),
    "a rule that is a text": ("threshold_rule", "youden"),
    "a negative time": ("seconds", -1),
    "a time of NaN": ("seconds", float("nan")),
    "a size of 0": ("image_size", 0),
    "a size of 10**30": ("image_size", 10**30),
    "a size that is true": ("image_size", True),
    "a status that is a number": ("status", 1),
    "digests in a list": ("predictions", ["x"]),
}
CHANGES |= {
    f"run.json with {what}": (partial(_key, "run.json", key, value), "run.json") for what, (key, value) in INFO.items()
}
DATA: dict[str, tuple[str, Any]] = {
    "negative counts": ("images", {"train": -1}),
    "counts of text": ("images", {"train": "many"}),
    "a store that is a number": ("store", 1),
    "patients that are a list": ("patients", [1]),
    "knowledge that is a text": ("patients_known", "yes"),
}
CHANGES |= {
    f"data.json with {what}": (partial(_key, "data.json", key, value), "data.json")
    for what, (key, value) in DATA.items()
}
CHANGES |= {
    "config.yaml that is a list": (partial(_bytes, "config.yaml", b"- a\n"), "config.yaml"),
    "config.yaml of an alias bomb": (partial(_bytes, "config.yaml", b"a: &a [*a]"), "config.yaml"),
    "config.yaml with a negative seed": (partial(_replaced, "config.yaml", "seed: 0", "seed: -1"), "config.yaml"),
    "config.yaml with a seed of text": (partial(_replaced, "config.yaml", "seed: 0", "seed: x"), "config.yaml"),
    "run.json cut": (partial(_half, "run.json"), "run.json"),
    "data.json cut": (partial(_half, "data.json"), "data.json"),
    "run.json nested": (partial(_bytes, "run.json", b"[" * 9999), "run.json"),
    "run.json gone": (partial(_gone, "run.json"), "run.json"),
    "images.csv gone in part": (partial(_half, "images.csv"), "images.csv"),
    "images.csv without patients": (partial(_replaced, "images.csv", "patient", "other"), "images.csv"),
    "images.csv with a column twice": (partial(_replaced, "images.csv", "view", "split"), "images.csv"),
    "test.csv cut": (partial(_half, "predictions/test.csv"), "test.csv"),
    "test.csv without logits": (partial(_replaced, "predictions/test.csv", "logit:", "x:"), "test.csv"),
    "test.csv with a column twice": (partial(_replaced, "predictions/test.csv", "view", "image"), "test.csv"),
    "val.csv gone": (partial(_gone, "predictions/val.csv"), "val"),
}
CASES = [
    Case(f"{read.__name__}: {what}", partial(_run, change), read, words)
    for what, (change, words) in CHANGES.items()
    for read in (evaluate, report, compare)[: 3 if what.startswith("run.json as") else 1]
]
# the others in turn; what they refuse first may be that the run has no network, or is finished
CASES += [
    Case(f"{read.__name__} in turn: {what}", partial(_run, change), read, words if read is report else "")
    for number, (what, (change, words)) in enumerate(CHANGES.items())
    for read in [(report, compare, predict, resume)[number % 4]]
    if not (read is compare and "val.csv" in what)  # results on test images stand by themselves
]
CASES += [
    Case(f"among others: {what}", partial(_run, change), among_others, None)
    for number, (what, (change, _)) in enumerate(CHANGES.items())
    if number % 4 == 0
]
CASES += [Case("a run that is read", partial(_run, lambda run: None), evaluate, None)]
