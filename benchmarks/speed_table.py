"""The table of docs/results/speed.md, from the CSV files in benchmarks/results.

    python benchmarks/speed_table.py           # print the table
    python benchmarks/speed_table.py --write   # put it between the two markers in docs/results/speed.md

A line whose CSV file or row is not there is left out. A test compares docs/results/speed.md with what this prints.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "results" / "speed.md"
RESULTS = Path(__file__).parent / "results"
BEGIN = "<!-- speed: made by benchmarks/speed_table.py from benchmarks/results -->"
END = "<!-- end of speed -->"
HEAD = ["| what | beside | times as fast |", "|---|---|---|"]
Row = dict[str, str]


def quotient(row: Row, prefix: str = "") -> str:
    """Median and range of a ratio over the rounds."""
    middle, least, most = (float(row[f"{prefix}ratio_{name}"]) for name in ("median", "min", "max"))
    return f"{short(middle)} ({short(least)}–{short(most)})"


def short(value: float) -> str:
    """Two or three digits, without the zero before the point."""
    text = f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return text.removeprefix("0") if value < 1 else text


def of_processor(row: Row) -> str:
    """The ratio of processor times."""
    return f"{quotient(row, 'cpu_')} in processor time"


def share(row: Row) -> str:
    """A ratio as a share of what is possible."""
    return f"{float(row['ratio_median']):.0%} ({float(row['ratio_min']):.0%}–{float(row['ratio_max']):.0%})"


@dataclass(frozen=True)
class Line:
    """A line of the table: what was measured, beside what, the CSV file, which row of it, and how its figure is shown."""

    what: str
    beside: str
    file: str
    where: Row = field(default_factory=dict)
    show: Callable[[Row], str] = quotient

    def text(self) -> str | None:
        """The line; None where the figure is not there."""
        file = RESULTS / f"{self.file}.csv"
        if not file.exists():
            return None
        with file.open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if all(row.get(k) == v for k, v in self.where.items())]
        return f"| {self.what} | {self.beside} | {self.show(rows[0])} |" if rows else None


def preparation(images: str, contender: str) -> Row:
    return {"images": images, "contender": contender}


LINES = [
    *(
        Line(what if not number else "the same", peer, "preparation", preparation(images, contender))
        for images, what in {
            "gray as published": "preparing 1024-pixel gray images in 2 processes",
            "as published": "the same, 9% of the images RGBA",
            "as they lie": "the same, the gray ones written anew with other filters",
        }.items()
        for number, (contender, peer) in enumerate(
            {
                "pillow": "Pillow in 2 processes",
                "tf.data": "tf.data with 2 parallel calls",
                "limit": "inflating and resizing alone",
            }.items()
        )
    ),
    *(
        Line(
            f"batches of prepared images, made of {side}-pixel PNGs" if not number else "the same",
            peer,
            "batches",
            {"png_side": side, "contender": name},
        )
        for side in ("1024", "224")
        for number, (name, peer) in enumerate(
            {
                "keras": "Keras `image_dataset_from_directory`",
                "torchvision": "torchvision, DataLoader with 2 workers",
                "torchxrayvision": "torchxrayvision, DataLoader with 2 workers",
            }.items()
        )
    ),
    Line(
        "training MobileNetV3Small from 1024-pixel PNGs",
        "Keras, its stalls left out",
        "end_to_end",
        {"png_side": "1024", "contender": "keras"},
    ),
    Line("the same", "timm with torchvision", "end_to_end", {"png_side": "1024", "contender": "timm"}),
    Line(
        "the same",
        "its own steps without any input",
        "end_to_end",
        {"png_side": "1024", "contender": "zoo, steps only"},
        share,
    ),
    Line(
        "training step of DenseNet121, float32",
        "Keras",
        "training_step",
        {"model": "densenet121", "contender": "keras"},
        of_processor,
    ),
    Line(
        "the same", "timm, channels last", "training_step", {"model": "densenet121", "contender": "timm channels_last"}
    ),
    Line("the same", "timm, contiguous", "training_step", {"model": "densenet121", "contender": "timm contiguous"}),
    Line(
        "training step of MobileNetV3Small, float32",
        "Keras",
        "training_step",
        {"model": "mobilenetv3", "contender": "keras"},
        of_processor,
    ),
    Line(
        "the same", "timm, channels last", "training_step", {"model": "mobilenetv3", "contender": "timm channels_last"}
    ),
    Line("`zoo train`, MobileNetV3 at 96 pixels", "Keras `fit` on arrays", "training_overhead", {"image_size": "96"}),
    Line("the same at 224 pixels", "Keras `fit` on arrays", "training_overhead", {"image_size": "224"}),
    Line(
        "epochs of a frozen MobileNetV3, features kept",
        "features computed anew",
        "frozen_features",
        {"model": "mobilenetv3"},
    ),
    Line(
        "inference of MobileNetV3Small",
        "Keras `predict` on arrays",
        "inference",
        {"model": "mobilenetv3", "contender": "zoo-keras"},
    ),
    Line(
        "the same in LiteRT",
        "Keras `predict` on arrays",
        "inference",
        {"model": "mobilenetv3", "contender": "zoo-litert"},
    ),
    Line(
        "the same in ONNX Runtime",
        "Keras `predict` on arrays",
        "inference",
        {"model": "mobilenetv3", "contender": "zoo-onnx"},
    ),
]


def pause() -> str | None:
    """A sentence on the pause before validation."""
    file = RESULTS / "epoch_gap.csv"
    if not file.exists():
        return None
    with file.open(newline="") as stream:
        gaps = [float(row["gap_ms"]) for row in csv.DictReader(stream)]
    below = sum(gap < 50 for gap in gaps)
    return (
        f"Between the last batch of an epoch and validation {below} of {len(gaps)} epochs pause for less than 50 ms "
        f"(at most {max(gaps):.0f})."
    )


def scale() -> str | None:
    """A sentence on NIH at its full number of rows."""
    file = RESULTS / "full_scale.csv"
    if not file.exists():
        return None
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    least, most = (of(int(row["rows"]) for row in rows) for of in (min, max))
    found = {row["stage"]: row for row in rows if int(row["rows"]) == most}
    read, prepare, load, train = (float(found[stage]["seconds"]) for stage in ("read", "prepare", "load", "train"))
    peak = max(float(found[stage]["own_mb"]) for stage in ("read", "prepare", "load"))
    growth = max(float(row["growth"]) for row in rows if row["growth"])
    training = f"{train:.0f} s and {float(found['train']['own_mb']):,.0f} MB"
    return (
        f"The published tables of {most:,} images, with 32-pixel images in place of the X-rays, are read in {read:.1f} s, "
        f"prepared in {prepare:.1f} s by two processes, and audited and split in {load:.1f} s, in {peak:,.0f} MB of memory; "
        f"an epoch of tiny-cnn with its evaluation takes {training}. From {least:,} images on no stage's time grows faster "
        f"than their number to the power of {growth:.2f}."
    )


def table() -> str:
    """What stands between the markers."""
    lines = [*HEAD, *(text for line in LINES if (text := line.text()) is not None)]
    sentences = [text for text in (pause(), scale()) if text is not None]
    return "\n".join([*lines, *(["", *sentences] if sentences else [])])


def shown(page: str) -> str:
    """What a page has between the markers.

    Raises:
        ValueError: a marker is not there.
    """
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()


def main() -> None:
    if sys.argv[1:] == ["--write"]:
        page = PAGE.read_text(encoding="utf-8")
        before, after = page[: page.index(BEGIN)], page[page.index(END) :]
        PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{after}", encoding="utf-8")
        return
    print(f"{BEGIN}\n\n{table()}\n\n{END}")


if __name__ == "__main__":
    main()
