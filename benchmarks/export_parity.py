"""Exported files of finished runs beside zoo itself: largest difference, AUROC after quantisation, size and speed.

    python benchmarks/export_parity.py RUN... [--images DIR] [--append]

Each RUN is a path to a run whose dataset is still where it was. Every format and quantisation is written once, whatever it
loses (`--force`), into a temporary folder, and compared on the run's test images, float32 with --images on those of a folder as
well. `largest_difference` and `mean_difference` of probabilities are at the network's size; those with `original_` are for the
images as they are, which the file resizes by its own filter, as is the change of AUROC (mean over the labels, 95% interval
from a bootstrap over patients). `images_per_s` is one image at a time with its resizing. Written to
benchmarks/results/export.csv.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "results" / "export.csv"
SUFFIX = {"keras": ".keras", "savedmodel": ".savedmodel", "litert": ".tflite", "onnx": ".onnx"}
WAYS = [*((form, None) for form in SUFFIX), *((form, q) for q in ("float16", "int8") for form in ("litert", "onnx"))]


def measure(run: Path, form: str, quantize: str | None, images: str | None) -> dict[str, Any]:
    """One row of the table; the reason in `refused` where the file could not be written."""
    info = json.loads((run / "run.json").read_text())
    row = {"run": run.name, "model": info["model"], "image_size": info["image_size"], "format": form}
    row |= {"quantize": quantize or "float32", "compared_on": "folder" if images else "own images"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, f"model{SUFFIX[form]}")
        words = ["export", str(run), "--format", form, "--out", str(out), "--force", "--json"]
        words += ["--quantize", quantize] if quantize else []
        words += ["--images", images or "1000"]
        done = subprocess.run(
            [sys.executable, "-c", "from zoo.cli.main import main; main()", *words],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        return row | {"refused": done.stderr.strip().splitlines()[-1]}
    found = json.loads(done.stdout)
    parity = found["parity"]
    row |= {"megabytes": round(found["size"] / 1e6, 2), "images": parity["images"]}
    for prefix, each in (("", parity["prepared"]), ("original_", parity["original"])):
        row |= {f"{prefix}{name}_difference": f"{each[name]:.2g}" for name in ("largest", "mean")}
        row |= {f"{prefix}decisions_changed": each["flipped"]}
    row |= {"images_per_s": round(parity["images_per_s"], 1)}
    if parity["changes"]:
        change = parity["changes"][0]
        row |= {f"auroc_{name}": round(change[name], 4) for name in ("zoo", "file", "change", "low", "high")}
    return row


COLUMNS = [
    "run",
    "model",
    "image_size",
    "format",
    "quantize",
    "compared_on",
    "images",
    "largest_difference",
    "mean_difference",
    "decisions_changed",
    "original_largest_difference",
    "original_mean_difference",
    "original_decisions_changed",
    "auroc_zoo",
    "auroc_file",
    "auroc_change",
    "auroc_low",
    "auroc_high",
    "megabytes",
    "images_per_s",
    "refused",
    "python",
    "machine",
    "command",
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", help="a folder of other images to compare float32 on as well")
    parser.add_argument("--append", action="store_true", help="keep the rows that are there")
    options = parser.parse_args()
    here = {"python": platform.python_version(), "machine": platform.machine()}
    command = "python benchmarks/export_parity.py RUN" + (" --images DIR" if options.images else "")
    new = not (options.append and TARGET.exists())
    with TARGET.open("w" if new else "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        for run in options.runs:
            for form, quantize in WAYS:
                for images in [None, *([options.images] if options.images and quantize is None else [])]:
                    row = measure(run, form, quantize, images) | here | {"command": command}
                    writer.writerow(row)
                    file.flush()
                    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
