"""NIH ChestX-ray14 at its full number of rows, without its images: time and memory of every stage, at three sizes.

    python benchmarks/full_scale.py [ROWS ...]

For each of ROWS (1000, 10000, 112120) a set in the published layout is made: the rows of whole patients from the published
tables in ../shared/data/nih-metadata (made-up rows where those are not there), and for each a 32-pixel PNG, all different, in
twelve folders. Then, in a process of its own:

- read: tables, lists, boxes, and where every image lies;
- prepare: every image decoded, resized and written with its checksum, in two processes;
- load: read once more, the store found by its fingerprint, labels and patients audited, copies looked for, split by the lists,
  validation drawn;
- train: `zoo train` of tiny-cnn on all 14 findings for one epoch, with what comes before it (load) and after it (validation,
  predictions for validation and test, metrics with their intervals, all files); `epoch_s` are its steps alone.

`peak_mb` is the greatest resident memory of the stage, all processes together, `own_mb` without the pages of memory-mapped files.
`us_per_row` says whether the cost grows linearly; `growth` is the exponent of the time between this size and the one before (1 is
linear, less where a constant cost counts). Written to benchmarks/results/full_scale.csv.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import machine, run, watched, write_csv
from images import made, published_png

METADATA = Path(__file__).parents[2] / "shared" / "data" / "nih-metadata"
ROWS, SIDE, FOLDERS, PROCESSES = (1_000, 10_000, 112_120), 32, 12, 2
TABLE = "Data_Entry_2017_v2020.csv"
LISTS = ("train_val_list.txt", "test_list.txt")


def tables(count: int) -> tuple[Any, set[str]]:
    """About `count` rows of whole patients, and the images among them that are test images."""
    import numpy as np
    import pandas as pd

    if (METADATA / f"{TABLE}.gz").exists():
        table = pd.read_csv(METADATA / f"{TABLE}.gz", dtype=str, keep_default_na=False)
        test = set((METADATA / LISTS[1]).read_text().split())
    else:
        rng, number = np.random.default_rng(0), np.arange(ROWS[-1])
        patient = number // 4 + 1
        columns = {
            "Image Index": [f"{p:08d}_{n % 4:03d}.png" for p, n in zip(patient, number, strict=True)],
            "Finding Labels": rng.choice(["No Finding", "Effusion", "Mass|Nodule", "Cardiomegaly"], len(number)),
            "Follow-up #": number % 4,
            "Patient ID": patient,
            "Patient Age": rng.integers(18, 90, len(number)),
            "Patient Gender": rng.choice(["M", "F"], len(number)),
            "View Position": rng.choice(["PA", "AP"], len(number)),
        }
        table = pd.DataFrame(columns).astype(str)
        test = set(table["Image Index"][patient % 5 == 0])
    patients = np.random.default_rng(0).permutation(table["Patient ID"].unique())
    rows = table.groupby("Patient ID").size()[patients].cumsum()
    table = table[table["Patient ID"].isin(set(rows.index[: int((rows < count).sum()) + 1]))]
    return table, test & set(table["Image Index"])


def write_layout(root: Path, count: int) -> int:
    """Write the set; returns its rows."""
    table, test = tables(count)
    table.to_csv(root / TABLE, index=False)
    names = table["Image Index"].tolist()
    (root / LISTS[0]).write_text("\n".join(name for name in names if name not in test) + "\n")
    (root / LISTS[1]).write_text("\n".join(sorted(test)) + "\n")
    boxes = METADATA / "BBox_List_2017.csv"
    if boxes.exists():
        (root / boxes.name).write_bytes(boxes.read_bytes())
    folders = [root / f"images_{number + 1:03d}" / "images" for number in range(FOLDERS)]
    for folder in folders:
        folder.mkdir(parents=True)
    for number, name in enumerate(names):
        (folders[number * FOLDERS // len(names)] / name).write_bytes(published_png(made(number, SIDE)))
    return len(names)


def stages(root: Path) -> dict[str, dict[str, float]]:
    """Seconds and memory of each stage."""
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.data.pipeline import load_images, read_records
    from zoo.data.store import prepare

    options = {"epochs": 1, "batch_size": 256, "image_size": SIDE, "task": "multilabel", "weights": "none"}
    layer = {"data": {"name": "nih", "root": str(root)}, "model": {"name": "tiny-cnn"}, **options}
    config = resolve([layer], registry())
    found: dict[str, dict[str, float]] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        with watched() as memory:
            value = work()
        found[name] = {"seconds": time.perf_counter() - start, "peak_mb": memory.peak, "own_mb": memory.own}
        return value

    records = stage("read", lambda: read_records(config, registry()))
    stage("prepare", lambda: prepare(records, SIDE, name="nih", workers=PROCESSES))
    stage("load", lambda: load_images(config, registry()))

    def train() -> float:
        from zoo.inference.training import train as zoo_train

        with tempfile.TemporaryDirectory() as runs:
            outcome = zoo_train(config, registry(), Path(runs), "run")
            rows = (outcome.run.path / "metrics.csv").read_text().splitlines()
        return float(dict(zip(rows[0].split(","), rows[1].split(","), strict=True))["seconds"])

    found["train"]["epoch_s"] = stage("train", train)
    return found


def main() -> None:
    if sys.argv[1:2] == ["stages"]:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["ZOO_CACHE"] = cache
            print(json.dumps(stages(Path(sys.argv[2]))))
        return
    lines: list[dict[str, Any]] = []
    before: dict[str, tuple[int, float]] = {}
    for wanted in [int(word) for word in sys.argv[1:]] or ROWS:
        with tempfile.TemporaryDirectory() as made_here:
            start = time.perf_counter()
            count = write_layout(Path(made_here), wanted)
            print(f"{count:,} images written in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
            found: Any = run([sys.executable, __file__, "stages", made_here])
        for name, cost in found.items():
            growth = ""
            if name in before:
                growth = f"{math.log(cost['seconds'] / before[name][1]) / math.log(count / before[name][0]):.2f}"
            before[name] = (count, cost["seconds"])
            row = {"stage": name, "rows": count, "seconds": f"{cost['seconds']:.2f}"}
            row |= {"us_per_row": f"{cost['seconds'] / count * 1e6:.0f}", "growth": growth}
            row |= {key: f"{cost[key]:.0f}" for key in ("peak_mb", "own_mb")}
            row |= {"epoch_s": f"{cost['epoch_s']:.2f}" if "epoch_s" in cost else ""}
            lines.append({**row, "processes": PROCESSES, **machine()})
            print({key: row[key] for key in ("stage", "rows", "seconds", "growth")}, file=sys.stderr, flush=True)
    write_csv("full_scale", sorted(lines, key=lambda row: list(found).index(row["stage"])))


if __name__ == "__main__":
    main()
