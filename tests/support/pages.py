"""The commands that pages of the documentation show, and a folder in which they run as written but shorter."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import click
import pandas as pd
from click.testing import CliRunner

from zoo.cli.main import cli
from zoo.core.registry import registry

ROOT = Path(__file__).parents[2]
SIZE = "80"  # pixels: above the least of every network that the pages name
SMALL = ["--limit", "110", "--epochs", "1", "--batch-size", "8"]
RUNS = ("NAME", "OTHER", "THIRD")


def commands(text: str) -> list[str]:
    """The lines of a page's bash blocks that start with zoo, continuation lines joined."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("zoo ")]


def sections(page: Path) -> dict[str, list[str]]:
    """The commands of each section of a page, by its heading."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {title: commands(text) for title, text in zip(parts[::2], parts[1::2], strict=True)}


def words_of(line: str) -> list[str]:
    """What a shell makes of a command, without the name of the program and the comment behind it."""
    return shlex.split(line, comments=True)[1:]


def check(line: str) -> None:
    """Parse a command as click does, without carrying it out.

    Raises:
        click.UsageError: there is no such command or option, or an argument too many.
    """
    words, command = words_of(line), cli
    context = click.Context(cli, info_name="zoo")
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(words)
        name, found, words = command.resolve_command(context, words)
        assert found is not None, line
        command, context = found, click.Context(found, parent=context, info_name=name)
    _, left, _ = command.make_parser(context).parse_args(words)
    if left:
        raise click.UsageError(f"unexpected argument {left[0]}", context)


def made_by(line: str) -> list[str]:
    """The name of the run that a command makes."""
    words = words_of(line)
    return [words[words.index("--run") + 1]] if "--run" in words else []


class Sandbox:
    """A folder with what the pages take for granted: images in several layouts, weights, finished runs.

    `light` trains tiny-cnn where a page names another network: that these train is a matter of conformance.
    """

    def __init__(self, folder: Path, *, light: bool) -> None:
        from layouts import medmnist, phantom_as_nih, write_image

        self.folder, self.light = folder, light
        phantom_as_nih(folder / "nih", 140)
        self._classes()
        (folder / "medmnist").mkdir()
        medmnist(folder / "medmnist")
        self._table()
        write_image(folder / "image.png")
        shutil.copytree(folder / "classes", folder / "images")
        self.weights("efficientnet-lite0")
        self.roots = {"nih": "nih", "folder": "classes", "csv": "csv", "medmnist": "medmnist"}

    def add_runs(self) -> None:
        """Runs of the names that pages use, on phantom."""
        base = ["train", "--model", "tiny-cnn", "--task", "multilabel", "--image-size", "64", *SMALL]
        for width, name in enumerate(RUNS, 4):
            self.run(f"zoo {shlex.join(base)} --set model.width={width} --run {name}")
        table = pd.read_csv(Path("runs", RUNS[0], "predictions", "test.csv"))
        labels = table.filter(regex="^label:").rename(columns=lambda name: name.removeprefix("label:"))
        table[["image"]].join(labels).to_csv("expert_labels.csv", index=False)

    def run(self, line: str) -> None:
        """Carry out a command in its short form; its exit code must be 0, or 1 of an audit that finds leaks."""
        words = [self._here(word, words_of(line)) for word in words_of(line)]
        if words[0] in ("train", "sweep") and "--resume" not in words:
            words = self._fewer(self._lighter(words) if self.light else words)
            words += self._shortened(words)
        if words[0] == "ensemble" and "features" in words:
            words += ["--epochs", "1"]
        if "--quantize" in words:
            words.append("--force")  # a network that has learned nothing changes its mind easily
        result = CliRunner().invoke(cli, words)
        leaks = words[:2] == ["data", "audit"] and result.exit_code == 1 and not result.stderr.startswith("Error")
        assert leaks or result.exit_code == 0, f"{line}\n{result.output}"
        assert "Traceback" not in result.stderr

    def weights(self, model: str) -> Path:
        """A file of weights, as published ones would be, for a network that starts from some."""
        from zoo.core.tasks import Task

        file = self.folder / f"{model}.keras"
        if not file.exists():
            strategy: Any = registry().get("model", model)
            strategy.build(Task("binary", ("abnormal",)), int(SIZE), None, strategy.Options()).save(file)
        return file

    def _here(self, word: str, words: list[str]) -> str:
        """Files and folders of the pages, as they lie here."""
        if word == "DIR" or word.startswith("/data/"):
            data = words[words.index("--data") + 1] if "--data" in words else "nih"
            named = {"/data/classes": "classes", "/data/efficientnet_lite0.keras": "efficientnet-lite0.keras"}
            return str(self.folder / named.get(word, self.roots.get(data, "classes")))
        return word

    def _lighter(self, words: list[str]) -> list[str]:
        """The same with tiny-cnn, but for recipes, whose options are those of their own network."""
        if "--recipe" in words:
            return words
        if "--model" in words:
            place = words.index("--model") + 1
            return [*words[:place], "tiny-cnn", *words[place + 1 :]]
        if any(word.startswith("model=") for word in words):
            return ["model=tiny-cnn" if word.startswith("model=") else word for word in words]
        return [*words, "--model", "tiny-cnn"]

    def _fewer(self, words: list[str]) -> list[str]:
        """A sweep of every network with the last value of what else varies, or of three trials."""
        kept = list(words)
        for place, word in enumerate(words[:-1], 1):
            if word == "--trials":
                kept[place] = "3"
            if word == "--over" and "--trials" not in words and not words[place].startswith("model="):
                setting, _, values = words[place].partition("=")
                kept[place] = f"{setting}={values.rpartition(',')[2]}"
        return kept

    def _shortened(self, words: list[str]) -> list[str]:
        """Fewer and smaller images, one epoch, and weights that need no download."""
        if "tfrecord" in words or "medmnist" in words:
            return [*SMALL, *([] if "tiny-cnn" in words else ["--weights", "none"])]
        size = [] if "--image-size" in words else ["--image-size", SIZE]
        if "tiny-cnn" in words:
            return [*SMALL, *size]
        found = registry().get("recipe", words[words.index("--recipe") + 1]).config if "--recipe" in words else {}
        if not found.get("freeze"):
            return [*SMALL, *size, *([] if "--weights" in words else ["--weights", "none"])]
        head_alone = "0" in words or found.get("epochs") == 0
        short = [*SMALL, *size, "--freeze-epochs", "1", *(["--epochs", "0"] if head_alone else [])]
        model = found.get("model", {}).get("name", "mobilenetv3")
        return short if "--weights" in words else [*short, "--weights", str(self.weights(model))]

    def _classes(self) -> None:
        """The images with one class as a folder of each."""
        for image, labels in pd.read_csv(self.folder / "nih" / "Data_Entry_2017.csv").iloc[:, :2].to_numpy():
            if "|" not in labels:
                target = self.folder / "classes" / labels
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.folder / "nih" / "images" / image, target)

    def _table(self) -> None:
        """The images with a table that has a column per finding."""
        table = pd.read_csv(self.folder / "nih" / "Data_Entry_2017.csv")
        found = {"image": table["Image Index"], "patient": table["Patient ID"]}
        found |= {name: table["Finding Labels"].str.contains(name).astype(int) for name in ("Effusion", "Mass")}
        shutil.copytree(self.folder / "nih" / "images", self.folder / "csv")
        pd.DataFrame(found).to_csv(self.folder / "csv" / "images.csv", index=False)
