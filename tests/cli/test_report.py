"""`zoo report`: one page and one card of a finished run, without Keras."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import zoo

from zoo.cli import report as module

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def test_report_writes_a_page_and_a_card_into_the_run(finished: Finished) -> None:
    finished(task="multilabel")
    result = zoo("report", "first")
    assert result.exit_code == 0, result.output
    page, card = Path("runs/first/report.html"), Path("runs/first/model-card.md")
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{page}  (")
    assert lines[1].startswith(f"{card}  (")
    assert "items for its authors to fill in" in lines[1]
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") > 20
    assert "data:image/jpeg;base64," in text


def test_report_elsewhere_leaves_the_run_alone(finished: Finished) -> None:
    finished()
    before = {p: p.stat().st_mtime_ns for p in Path("runs/first").rglob("*")}
    result = zoo("report", "first", "--out", "site/a", "--split", "val", "--no-images")
    assert result.exit_code == 0, result.output
    assert {p: p.stat().st_mtime_ns for p in Path("runs/first").rglob("*")} == before
    written = ["checklists.csv", "checklists.json", "model-card.md", "report.html"]
    assert sorted(p.name for p in Path("site/a").iterdir()) == written
    assert "data:image" not in Path("site/a/report.html").read_text(encoding="utf-8")


def test_report_never_loads_keras_and_starts_light(finished: Finished) -> None:
    finished()
    code = (
        "import sys; from zoo.cli.main import cli; from zoo.cli.report import report;"
        "print(sorted({'numpy', 'pandas', 'matplotlib', 'jinja2'} & set(sys.modules)));"
        "cli(sys.argv[1:], standalone_mode=False);"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, "report", "first"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == ("[]", "[]")


def test_other_reference_labels_come_in_through_labels(finished: Finished) -> None:
    finished()
    images = [line.split(",")[0] for line in Path("runs/first/predictions/test.csv").read_text().splitlines()[1:]]
    Path("second.csv").write_text("image,Abnormal\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(images)))
    assert zoo("report", "first", "--labels", "second.csv").exit_code == 0
    assert "Other reference labels" in Path("runs/first/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["report", "nothing"], 2, "no run 'nothing'"),
        (["report", "first", "--labels", "nothing.csv"], 1, "nothing.csv"),
    ],
)
def test_reporting_what_is_not_there(finished: Finished, words: list[str], code: int, part: str) -> None:
    finished()
    result = zoo(*words)
    assert (result.exit_code, part in result.stderr) == (code, True), result.output
    assert not Path("runs/first/report.html").exists()


def test_an_unfinished_run_says_how_to_finish_it(finished: Finished) -> None:
    finished()
    shutil.rmtree("runs/first/predictions")
    result = zoo("report", "first")
    assert result.exit_code == 1
    assert "no predictions" in result.stderr
    assert "zoo train" in result.stderr


def test_the_command_says_what_it_takes() -> None:
    assert {"out", "split", "labels", "prevalences", "no_images", "runs_dir"} <= {p.name for p in module.report.params}
