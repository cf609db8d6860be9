"""The published set-ups of docs/recipes.md on all images at hand: a row of docs/results/recipes.csv for each run.

    python benchmarks/recipes.py --root NIH --weights EFFICIENTNET_LITE0.keras [--runs-dir DIR] [ROW ...]

A row that stands in the CSV file already is left alone, and one that was interrupted goes on; `docs/results/README.md` is written
anew from the CSV file each time. What a row leaves out of the published set-up stands in its column `reduction`.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "docs" / "results"
TABLE, PAGE = RESULTS / "recipes.csv", RESULTS / "README.md"
BEGIN, END = "<!-- made by benchmarks/recipes.py from recipes.csv -->", "<!-- end of the table -->"
METRICS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy")
LITE0 = "--recipe efficientnet-lite0-transfer --weights WEIGHTS"
SCRATCH = "from scratch, as no ImageNet weights were at hand"


@dataclass(frozen=True)
class Row:
    """One run: its name, the set-up it belongs to, what is typed behind `zoo`, and what it leaves out."""

    name: str
    setup: str
    words: str
    reduction: str = ""


ROWS = [
    Row(
        "simplified-v1",
        "simplified DenseNet v1",
        "train --recipe simplified-densenet-v1 --task binary --image-size 64",
        "64 pixels",
    ),
    Row(
        "simplified-v2",
        "simplified DenseNet v2",
        "train --recipe simplified-densenet-v2 --loss focal --set loss.label_smoothing=0.01 --task binary --image-size 64",
        "64 pixels",
    ),
    Row(
        "adults-pa",
        "a part of the images",
        "train --model mobilenetv3 --weights none --where \"view == 'PA' and age >= 18\" --image-size 96",
        f"96 pixels, {SCRATCH}",
    ),
    Row("regular", "class imbalance: plain loss", f"train {LITE0} --task multilabel --loss bce"),
    Row("weighted", "class imbalance: weighted loss", f"train {LITE0} --task multilabel --loss weighted-bce"),
    Row(
        "balanced",
        "class imbalance: rare labels drawn more often",
        f"train {LITE0} --task multilabel --loss bce --balance repeat-factor",
    ),
    Row("joined", "ensemble: mean", "ensemble regular weighted balanced"),
    Row(
        "joined-weighted",
        "ensemble: weights fitted on validation",
        "ensemble regular weighted balanced --weights fitted",
    ),
    Row("joined-features", "ensemble: features, a new head", "ensemble regular weighted balanced --by features"),
    Row("augmented", "transfer: with augmentation", f"train {LITE0} --task binary"),
    Row("plain", "transfer: without augmentation", f"train {LITE0} --task binary --augment none"),
    Row(
        "frozen",
        "transfer: features of the frozen network",
        f"train {LITE0} --task binary --freeze-epochs 10 --epochs 0",
    ),
    Row(
        "frozen-weighted",
        "transfer: features of the frozen network, weighted loss",
        f"train {LITE0} --task binary --freeze-epochs 10 --epochs 0 --loss weighted-bce",
    ),
    Row(
        "densenet121-transfer",
        "DenseNet121 transfer",
        "train --recipe densenet121-transfer --task binary --weights none --no-freeze --no-freeze-norm --image-size 64 --epochs 3",
        f"64 pixels, 3 epochs, {SCRATCH}, nothing frozen",
    ),
    Row(
        "densenet121-14",
        "14 findings, DenseNet121",
        "train --recipe densenet121-nih14 --weights none --image-size 64 --epochs 3",
        f"64 pixels, 3 epochs of 20, {SCRATCH}",
    ),
    Row(
        "densenet121-14-focal",
        "14 findings, DenseNet121, focal loss",
        "train --recipe densenet121-nih14 --loss focal --weights none --image-size 64 --epochs 3",
        f"64 pixels, 3 epochs of 20, {SCRATCH}",
    ),
    Row(
        "resnet50v2-14",
        "14 findings, ResNet50V2",
        "train --recipe resnet50v2-nih14 --weights none --image-size 64 --epochs 3",
        f"64 pixels, 3 epochs of 20, {SCRATCH}",
    ),
    Row("seven-dense", "seven classes: dense baseline", "train --recipe seven-class-dense"),
    Row("seven-cnn", "seven classes: CNN baseline", "train --recipe seven-class-cnn --image-size 96", "96 pixels"),
    Row(
        "seven-lite0",
        "seven classes: features of a frozen network",
        "train --recipe seven-class-features --model efficientnet-lite0 --weights WEIGHTS",
        "efficientnet-lite0 in place of efficientnetb6",
    ),
    Row(
        "seven-b6",
        "seven classes: EfficientNetB6",
        "train --recipe seven-class-efficientnetb6 --weights none --image-size 64 --epochs 2 --lr 1e-3",
        f"64 pixels, 2 epochs of 10, {SCRATCH}",
    ),
    Row(
        "seven-b7",
        "seven classes: EfficientNetB7",
        "train --recipe seven-class-efficientnetb7 --weights none --image-size 64 --epochs 2 --lr 1e-3",
        f"64 pixels, 2 epochs of 10, {SCRATCH}",
    ),
    Row(
        "vit",
        "Vision Transformer, layer-wise rates",
        "train --recipe vit-layer-decay --task multilabel --model vit-tiny --image-size 96 --epochs 5",
        "vit-tiny, 96 pixels, 5 epochs of 20, from scratch",
    ),
    Row(
        "twelve",
        "twelve models",
        "sweep twelve --recipe binary-table --weights none --image-size 75 --epochs 2 --over model=vgg16,resnet50,inceptionv3 "
        "--over augment=none,standard --over monitor=val_accuracy,val_recall",
        f"75 pixels, 2 epochs, {SCRATCH}",
    ),
]
COLUMNS = ["row", "run", "set_up", "reduction", "task", "images", "patients"]
COLUMNS += [f"{metric}{bound}" for metric in METRICS for bound in ("", "_low", "_high")]
COLUMNS += ["val_auroc", "minutes", "command"]


def carry_out(row: Row, arguments: argparse.Namespace) -> dict[Path, str]:
    """Do what the row says, or what an interrupted run left of it; the folders of its runs, with what each is called."""
    runs: Path = arguments.runs_dir
    typed = row.words.replace("WEIGHTS", str(arguments.weights))
    words = [*shlex.split(typed), "--runs-dir", str(runs)]
    if words[0] != "ensemble":
        words += ["--data", "nih", "--root", str(arguments.root)]
    if words[0] == "sweep":
        subprocess.run(["zoo", *words], check=True)
        trials = json.loads((runs / row.name / "sweep.json").read_text())["trials"]
        return {runs / each["run"]: f"{row.setup}: {', '.join(each['values'].values())}" for each in trials}
    begun = (runs / row.name / "config.yaml").exists()
    done = (runs / row.name / "evaluation-test.json").exists()
    if not done:
        again = ["train", "--resume", row.name, "--runs-dir", str(runs)]
        subprocess.run(["zoo", *(again if begun else [*words, "--run", row.name])], check=True)
    return {runs / row.name: row.setup}


def figures(row: Row, run: Path, setup: str) -> dict[str, str]:
    """A line of the CSV file."""
    from zoo.evaluation import Evaluation
    from zoo.runs.run import Run

    test, validation, info = Evaluation.load(run, "test"), Evaluation.load(run, "val"), Run(run).info()
    found = {"row": row.name, "run": run.name, "set_up": setup, "reduction": row.reduction, "task": test.task.kind}
    found |= {"images": str(test.images), "patients": str(test.patients)}
    for metric in METRICS:
        interval = test.averages["macro"].get(metric)
        for bound, value in (("", "value"), ("_low", "low"), ("_high", "high")):
            found[f"{metric}{bound}"] = f"{getattr(interval, value):.6f}" if interval else ""
    minutes = f"{float(info.get('seconds') or 0) / 60:.1f}"
    return found | {"val_auroc": f"{validation.headline.value:.6f}", "minutes": minutes, "command": f"zoo {row.words}"}


def read() -> list[dict[str, str]]:
    """The rows there are."""
    if not TABLE.exists():
        return []
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[dict[str, str]]) -> None:
    """The CSV file, in the order of `ROWS`, and the table of the page."""
    order = [each.name for each in ROWS]
    rows = sorted(rows, key=lambda row: (order.index(row["row"]), row["run"]))
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    PAGE.write_text(page(PAGE.read_text(), rows))


def page(text: str, rows: list[dict[str, str]]) -> str:
    """The page with its table made from the rows."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n\n{table(rows)}\n{END}{after}"


def table(rows: list[dict[str, str]]) -> str:
    """The rows as people read them."""
    lines = ["| set-up | run | AUROC | F1 | validation AUROC | reduction |", "|---|---|---|---|---|---|"]
    for row in rows:
        intervals = [_interval(row, metric).replace(" ", "&nbsp;") for metric in ("auroc", "f1")]
        cells = [row["set_up"], row["run"], *intervals, _short(row["val_auroc"])]
        lines.append(f"| {' | '.join([*cells, row['reduction'] or 'none'])} |")
    return "\n".join(lines) + "\n"


def _interval(row: dict[str, str], metric: str) -> str:
    value, low, high = (_short(row[f"{metric}{bound}"]) for bound in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _short(number: str) -> str:
    return f"{float(number):.3f}".removeprefix("0") if number not in ("", "nan") else "undefined"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(row.name for row in ROWS))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    for row in ROWS:
        if (arguments.rows and row.name not in arguments.rows) or row.name in {each["row"] for each in read()}:
            continue
        start = time.monotonic()
        runs = carry_out(row, arguments)
        write([*read(), *(figures(row, run, setup) for run, setup in runs.items())])
        print(json.dumps({"row": row.name, "minutes": round((time.monotonic() - start) / 60, 1)}), file=sys.stderr)


if __name__ == "__main__":
    main()
