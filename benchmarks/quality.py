"""Test results of finished runs as a table: what was run, how long it took, and every headline with its interval.

    python benchmarks/quality.py RUN [RUN ...]

Writes benchmarks/results/quality.csv, a row per run. Seconds are those of the whole command but for starting Python, preparation
included where the images were not prepared before.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

TARGET = Path(__file__).parent / "results" / "quality.csv"
NAMES = [
    "recipe_or_model",
    "task",
    "data",
    "seed",
    "split",
    "images",
    "patients",
    "auroc",
    "auroc_low",
    "auroc_high",
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "validation_auroc",
    "seconds",
]


def row(run: Path) -> list[str]:
    """The figures of one run."""
    from zoo.evaluation import Evaluation
    from zoo.runs.run import Run

    found = Run(run)
    config, info, data = found.config(), found.info(), json.loads((run / "data.json").read_text())
    test, validation = Evaluation.load(run, "test"), Evaluation.load(run, "val")
    auroc = test.headline
    accuracy = next(iter(test.per_label.values()))["accuracy"] if config["task"] == "binary" else None
    figures = [f"{v:.4f}" for v in (auroc.value, auroc.low, auroc.high)]
    figures += [f"{v:.4f}" for v in (accuracy.value, accuracy.low, accuracy.high)] if accuracy else ["", "", ""]
    what = config["recipe"] or config["model"]["name"]
    names = [what, config["task"], config["data"]["name"], str(config["seed"]), f"test ({data['split']})"]
    return [
        *names,
        str(test.images),
        str(test.patients),
        *figures,
        f"{validation.headline.value:.4f}",
        str(info["seconds"]),
    ]


def main() -> None:
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(NAMES)
        writer.writerows(row(Path(each)) for each in sys.argv[1:])
    print(TARGET.read_text(), end="")


if __name__ == "__main__":
    main()
