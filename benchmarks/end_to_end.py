"""Training MobileNetV3Small from PNG files, end to end: zoo beside stock Keras and beside timm with torchvision.

    python benchmarks/end_to_end.py [ROUNDS [IMAGES [EPOCHS [SIDE ...]]]]

IMAGES images (960) of SIDE pixels (1024) are written as in `batches.py`. Each contender trains the network on them for EPOCHS
(3), at 224 pixels in batches of 32, one channel in, random weights, Adam, float32, without augmentation:

- zoo: `zoo train` from the prepared store; preparing is a cost paid once, and reported as `preparing_s`;
- zoo, steps only: the same with one batch handed over again and again, which is what the arithmetic alone takes;
- keras: `fit` on `image_dataset_from_directory`;
- timm: mobilenetv3_small_100, channels last, on torchvision's ImageFolder in a DataLoader with two workers.

The first epoch, with tracing and first use, is left out of all, and validation too. `images_per_s` leaves out stalls, in all by
the same rule: pauses between the ends of two steps of an epoch that are more than five times the median pause. They are counted
in `stalls` and summed up in `stalled_s`; `images_per_s_whole` has them, and the time up to an epoch's first step. Written to
benchmarks/results/end_to_end.csv; `ratio` is that of zoo's `images_per_s` to the contender's within a round.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import alternate, machine, median, ratios, write_csv
from images import originals, write_folders
from peers import python_of

SIZE, BATCH = "224", "32"
HERE = Path(__file__).parent


def measure(side: int, rounds: int, count: int, epochs: str) -> list[dict[str, object]]:
    """One line per contender on images of one size."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        write_folders(root, side, {"train": count, "val": int(BATCH), "test": int(BATCH)})
        zoo = [sys.executable, str(HERE / "zoo_side.py")]
        given = [SIZE, BATCH, epochs]
        keras = [python_of("keras"), str(HERE / "keras_peer.py"), "train", "MobileNetV3Small"]
        timm = [python_of("torch"), str(HERE / "torch_peers.py"), "train", "mobilenetv3_small_100"]
        commands = {
            "zoo": [*zoo, "train", "mobilenetv3", str(root), *given],
            "zoo, steps only": [*zoo, "steps", "mobilenetv3", str(root), *given],
            "keras": [*keras, str(root / "train"), *given],
            "timm": [*timm, str(root / "train"), *given],
        }
        costs = alternate(commands, rounds)
    rate = [each["images_per_s"] for each in costs["zoo"]]
    return [
        {
            "png_side": side,
            "contender": name,
            "images_per_s": median(found, "images_per_s"),
            **ratios(rate, [each["images_per_s"] for each in found], 3),
            "images_per_s_whole": median(found, "images_per_s_whole"),
            "stalls": median(found, "stalls", 0),
            "stalled_s": median(found, "stalled_s", 2),
            "preparing_s": median(found, "preparing_s"),
            "images": count,
            "epochs": epochs,
            "source": "originals" if originals() else "made",
            "rounds": rounds,
            **machine(),
        }
        for name, found in costs.items()
    ]


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]]
    rounds, count, epochs = (numbers[at] if len(numbers) > at else n for at, n in enumerate((5, 960, 3)))
    rows = [row for side in numbers[3:] or (1024,) for row in measure(side, rounds, count, str(epochs))]
    write_csv("end_to_end", rows)


if __name__ == "__main__":
    main()
