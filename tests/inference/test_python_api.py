"""`import zoo` and what it offers: light to import, the same as the command line, and as its page shows it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import zoo
from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import registry
from zoo.evaluation import Evaluation
from zoo.runs.run import Run

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
QUICK: dict[str, Any] = {
    "model": {"name": "tiny-cnn", "width": 4, "depth": 1},
    "data": {"name": "phantom", "patients": 30},
    "image_size": 16,
    "epochs": 1,
    "batch_size": 8,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_import_loads_nothing_and_models_are_listed_without_keras(run_python: Callable[..., Any]) -> None:
    code = (
        "import sys; import zoo; heavy = {'numpy', 'pandas', 'keras', 'tensorflow', 'yaml', 'pluggy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules);"
        "names = zoo.list_models(); assert 'tiny-cnn' in names and names == sorted(names);"
        "assert not {'keras', 'tensorflow'} & set(sys.modules); print(zoo.__version__)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d+\.\d+", done.stdout)


def test_models_are_those_registered_and_of_a_task_those_that_serve_it() -> None:
    assert zoo.list_models() == sorted(registry().names("model"))
    serving = [e.name for e in registry().entries("model") if "multiclass" in e.strategy.info.tasks]
    assert zoo.list_models("multiclass") == sorted(serving)
    with pytest.raises(UsageError, match=r"unknown task 'multilable'. Did you mean 'multilabel'\?"):
        zoo.list_models("multilable")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        zoo.lod  # noqa: B018  # looking it up is the test


@pytest.mark.slow
def test_training_is_that_of_the_command_line_with_the_same_settings(
    here: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    from click.testing import CliRunner

    from zoo.cli.main import cli

    trained = zoo.train(**QUICK, lr=0.01, seed=3, run="one", runs_dir=here / "kept")
    assert trained.run == Run(here / "kept" / "one")
    assert any("Model: tiny-cnn" in line for line in logged)
    words = (
        "--model tiny-cnn --set model.width=4 --set model.depth=1 --data phantom --set data.patients=30 --image-size 16"
    )
    words += " --epochs 1 --batch-size 8 --lr 0.01 --seed 3 --run two --runs-dir kept"
    assert CliRunner().invoke(cli, ["train", *words.split()]).exit_code == 0
    other = Run(here / "kept" / "two")
    assert trained.run.config() == other.config()
    assert trained.run.predictions_file("test").read_bytes() == other.predictions_file("test").read_bytes()
    assert trained.results == Evaluation.load(other.path, "test")
    assert trained.validation == Evaluation.load(other.path, "val")
    with trained.load() as classifier, zoo.load("one", runs_dir="kept") as again:
        assert classifier.run == trained.run
        assert again.labels == classifier.labels == ("Abnormal",)


@pytest.mark.slow
def test_a_configuration_is_where_training_starts_and_settings_lie_on_top(here: Path) -> None:
    (here / "config.yaml").write_text(yaml.safe_dump({**QUICK, "seed": 5}))
    from_file = zoo.train(config="config.yaml", run="file", weights=None, freeze=None).run.config()
    assert (from_file["seed"], from_file["model"]["width"], from_file["weights"]) == (5, 4, "none")
    mapped = zoo.train(config=QUICK, seed=6, weights="file", freeze_epochs=1, run="mapped").run.config()
    assert mapped["seed"] == 6
    assert mapped["weights"] == str(here / "runs" / "file")
    assert mapped["freeze"] is True


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "tiny-cn"}, "unknown model 'tiny-cn'. Did you mean 'tiny-cnn'?"),
        ({"epoch": 3}, "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ({"epochs": 0}, "settings.epochs: received 0"),
        ({"root": "x"}, "takes no --root"),
        ({"config": "nothing.yaml"}, "cannot read the configuration"),
        ({"run": "a/b"}, "a run's name"),
    ],
)
def test_what_cannot_be_trained_is_an_error_and_leaves_nothing(
    here: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        zoo.train(**settings)
    assert not (here / "runs").exists()


def test_a_missing_run_is_an_error(here: Path) -> None:
    with pytest.raises(ZooError, match="there is no run 'nothing'"):
        zoo.load("nothing")
    with pytest.raises(ZooError, match=f"No run lies in {here}"):
        zoo.load("nothing", runs_dir=here)


def test_the_page_s_code_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    space: dict[str, Any] = {"__name__": "page"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), space)
    shown = capsys.readouterr().out
    for part in ("tiny-cnn", "runs/demo", "missing file", "of 100", "(64, 64)", "Did you mean 'tiny-cnn'?"):
        assert part in shown
    assert space["table"]["probability:Effusion"].notna().tolist() == [True, False]
    assert Run.find("demo").task().labels == space["classifier"].labels
