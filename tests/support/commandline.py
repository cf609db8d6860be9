"""What the tests of the command line share: typing a command, images to type it on, and what a refusal looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from zoo.cli.main import cli

QUICK = [
    "--model",
    "tiny-cnn",
    "--set",
    "model.width=8",
    "--set",
    "model.depth=1",
    "--image-size",
    "32",
    "--epochs",
    "1",
]
PHANTOM = [*QUICK, "--data", "phantom", "--set", "data.patients=40", "--batch-size", "16"]
CSV = [*QUICK, "--data", "csv", "--root", "images", "--batch-size", "4"]


def flat(text: str) -> str:
    """Printed text without its line breaks."""
    return " ".join(text.split())


def zoo(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def refused(result: Result, code: int, *parts: str) -> None:
    """One line on stderr, the right exit code, no traceback, and no run left behind."""
    assert result.exit_code == code, result.output
    error = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(error) == 1
    for part in parts:
        assert part in error[0]
    assert "Traceback" not in result.stderr
    assert not list(Path().glob("runs/*"))


def make_images(count: int, size: int = 40) -> None:
    Path("images").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(f"images/{i}.png")


def table(header: str, rows: list[str]) -> None:
    Path("images/t.csv").write_text("\n".join([header, *rows]) + "\n")
