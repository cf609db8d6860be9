"""The example plugin, whose code is that of docs/plugins.md: it has something of every kind, passes the public checks, and its
network with a layer of its own goes all the way from the check to the server, each step in a process of its own.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core import manager
from zoo.core.origins import OWN_DISTRIBUTION
from zoo.core.registry import KINDS, Registry, registry
from zoo.testing import check_augmenter, check_loss, check_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "zoo-tinycnn"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of the example alone, loaded through the entry point that its pyproject.toml declares."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["zoo"]
    return Registry(manager.load([EntryPoint(name, value, "zoo") for name, value in declared.items()]))


def test_the_example_registers_every_kind_and_no_built_in_name(example: Registry) -> None:
    assert example.failures == ()
    assert {e.kind for e in example.entries()} == set(KINDS)
    assert list(example.commands) == ["widths"]
    for entry in example.entries():
        builtin = [e.name for e in registry().entries(entry.kind) if e.origin.distribution == OWN_DISTRIBUTION]
        assert entry.name not in builtin


@pytest.mark.parametrize("name", ["small-cnn", "gated-cnn", "mean-gray"])
def test_the_models_pass_the_public_checks(name: str, example: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.testing.models.logits_elsewhere", lambda file, pixels: None)  # it is not installed
    check_model(example.get("model", name))


def test_published_weights_are_in_the_network(example: Registry) -> None:
    from zoo import Task

    model = example.get("model", "gated-cnn")
    network = model.build(Task("binary", ("a",)), 32, "edges", model.Options())
    (kernel,) = network.get_layer("backbone").layers[1].get_weights()
    np.testing.assert_array_equal(kernel[:, :, 0, 3] * 8, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def test_the_loss_passes_the_public_checks(example: Registry) -> None:
    check_loss(example.get("loss", "smooth-bce"))


def test_the_augmenter_passes_the_public_checks(example: Registry) -> None:
    check_augmenter(example.get("augmenter", "shift"))


# interrupts the training after its first epoch, as Ctrl-C would
INTERRUPTED = """
import os, signal
from zoo_tinycnn.tracker import LinesOfRun
inner = LinesOfRun.on_epoch
def on_epoch(self, row):
    inner(self, row)
    os.kill(os.getpid(), signal.SIGINT)
LinesOfRun.on_epoch = on_epoch
from zoo.cli.main import main
main()
"""

# several commands in one process, of which the first has to load the network
TOGETHER = (
    "import json, sys; from zoo.cli.main import cli; [cli(w, standalone_mode=False) for w in json.loads(sys.argv[1])]"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for the module path, in which the example lies as pip would install it."""
    site = tmp_path / "site"
    metadata = site / "zoo_tinycnn-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo-tinycnn\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[zoo]\ntinycnn = zoo_tinycnn\n")
    (site / "zoo_tinycnn").symlink_to(EXAMPLE / "zoo_tinycnn")
    return site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images for the dataset of the example: bright ones have the finding."""
    images = tmp_path / "root" / "images"
    images.mkdir(parents=True)
    generator, lines = np.random.default_rng(0), ["image,patient,finding"]
    for number in range(80):
        low = 60 * (number % 2)
        Image.fromarray(generator.integers(low, low + 100, (40, 40), dtype=np.uint8)).save(images / f"{number}.png")
        lines.append(f"{number}.png,p{number // 2},{number % 2}")
    (images.parent / "images.csv").write_text("\n".join(lines) + "\n")
    return images.parent


@pytest.mark.slow
def test_every_kind_and_a_layer_go_from_the_check_to_the_server(
    installed: Path, root: Path, tmp_path: Path, run_zoo: Callable[..., Any], run_python: Callable[..., Any]
) -> None:
    def zoo(*words: str, code: int = 0) -> str:
        done = run_zoo(*words, path=installed)
        assert done.returncode == code, done.stderr
        return str(done.stdout)

    assert zoo("widths", "--most", "16").split()[-2:] == ["16", "23,697"]
    checks = json.loads(zoo("plugin", "check", "zoo-tinycnn", "--backend", "tensorflow", "--root", str(root), "--json"))
    assert {each["kind"] for each in checks} == set(KINDS)
    assert {each["outcome"] for each in checks} == {"passed"}

    words = ["train", "--recipe", "tiny-binary", "--model", "gated-cnn", "--weights", "edges", "--data", "tiny-table"]
    words += ["--root", str(root), "--image-size", "32", "--batch-size", "8", "--track", "lines", "--run", "gated"]
    assert run_python("-c", INTERRUPTED, *words, path=installed).returncode == 130
    gone = run_zoo("train", "--resume", "gated")
    assert gone.returncode == 1
    assert "the recipe 'tiny-binary' of zoo-tinycnn 1.0" in gone.stderr
    trained = json.loads(zoo("train", "--resume", "gated", "--json"))
    run = tmp_path / "work" / "runs" / "gated"
    assert [line.split(":")[0] for line in (run / "lines.txt").read_text().splitlines()] == [
        "gated",
        "epoch 1",
        "epoch 2",
    ]
    versions = json.loads((run / "run.json").read_text())["versions"]
    assert [name for name in versions if "tinycnn" in name] == ["zoo-tinycnn"]

    assert (trained["run"], json.loads(zoo("evaluate", "gated", "--json"))["run"]) == ("runs/gated", "gated")
    image = root / "images" / "1.png"
    uses = [
        ["predict", "gated", str(image), "--json"],
        ["explain", "gated", str(image)],
        ["export", "gated", "--format", "keras"],
    ]
    used = run_python("-c", TOGETHER, json.dumps(uses), path=installed)
    assert used.returncode == 0, used.stderr
    assert '"finding"' in used.stdout
    assert list((run / "explanations").rglob("*.png"))
    assert (run / "exports" / "gated.keras").is_file()
    assert "finding" in served(run, image, installed)


def served(run: Path, image: Path, site: Path) -> str:
    """What `zoo serve` answers for an image."""
    command = [sys.executable, "-c", "from zoo.cli.main import main; main()", "serve", str(run), "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(site)}
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "http://127.0.0.1:" in line, process.communicate()[1]
            port = int(line.split("http://")[1].split("/")[0].rpartition(":")[2])
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("POST", "/api/images", image.read_bytes())
                return connection.getresponse().read().decode()
        finally:
            process.terminate()
            process.communicate()
