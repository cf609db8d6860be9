"""The training step alone: zoo beside stock Keras and timm on one batch in memory.

    python benchmarks/training_step.py [ROUNDS [STEPS [MODEL ...]]]

MODEL is densenet121 or mobilenetv3 (both). Batches of 32 images at 224 pixels, one channel in, binary, random weights, Adam:

- zoo: `zoo train` at float32 with one batch handed over again and again;
- zoo bfloat16: the same at mixed_bfloat16, for information;
- keras: `fit` on a dataset of one batch, repeated, at float32;
- timm channels_last, timm contiguous: a plain loop in PyTorch at float32.

STEPS (8) are measured in each after those of a first epoch. `ratio` is that of zoo's rate to the contender's within a round (pauses
of more than five median ones are left out in all, as in `end_to_end.py`); `cpu_ratio` is that of the processor time of a step, the
contender's to zoo's. PyTorch's threads wait by spinning, which counts as processor time: believe its `cpu_ratio` on an
otherwise idle machine only. Written to benchmarks/results/training_step.csv.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import alternate, machine, median, ratios, write_csv
from images import write_folders
from peers import python_of

SIZE, BATCH = "224", "32"
HERE = Path(__file__).parent
# zoo's name of the network, and its names in keras.applications and timm
NETWORKS = {
    "densenet121": ("DenseNet121", "densenet121"),
    "mobilenetv3": ("MobileNetV3Small", "mobilenetv3_small_100"),
}


def measure(model: str, rounds: int, steps: int) -> list[dict[str, object]]:
    """One line per contender with one network."""
    keras, timm = NETWORKS[model]
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        # an epoch has as many steps as there are batches of images
        write_folders(root, int(SIZE), {"train": (steps + 1) * int(BATCH), "val": int(BATCH), "test": int(BATCH)})
        zoo = [sys.executable, str(HERE / "zoo_side.py"), "steps", model, str(root), SIZE, BATCH, "2"]
        torch = [python_of("torch"), str(HERE / "torch_peers.py"), "steps", timm]
        commands = {
            "zoo": [*zoo, "float32"],
            "zoo bfloat16": [*zoo, "mixed_bfloat16"],
            "keras": [python_of("keras"), str(HERE / "keras_peer.py"), "steps", keras, SIZE, BATCH, str(steps)],
            **{
                f"timm {layout}": [*torch, layout, SIZE, BATCH, str(steps)]
                for layout in ("channels_last", "contiguous")
            },
        }
        costs = alternate(commands, rounds)
    rows = []
    for name, found in costs.items():
        row: dict[str, object] = {"model": model, "contender": name, "images_per_s": median(found, "images_per_s")}
        row |= ratios(*([each["images_per_s"] for each in costs[which]] for which in ("zoo", name)))
        row |= {"cpu_ms_per_step": median(found, "cpu_ms_per_step", 0)}
        of_cpu = ratios(*([each["cpu_ms_per_step"] for each in costs[which]] for which in (name, "zoo")))
        row |= {f"cpu_{key}": value for key, value in of_cpu.items()}
        rows.append({**row, "steps": steps, "batch_size": BATCH, "image_size": SIZE, "rounds": rounds, **machine()})
    return rows


def main() -> None:
    words = sys.argv[1:]
    rounds, steps = (int(words[at]) if len(words) > at else n for at, n in enumerate((5, 8)))
    write_csv("training_step", [row for model in words[2:] or NETWORKS for row in measure(model, rounds, steps)])


if __name__ == "__main__":
    main()
