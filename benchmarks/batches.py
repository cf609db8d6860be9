"""Batches of images for a training: zoo's index look-ups in its prepared store beside readers that decode PNGs every time.

    python benchmarks/batches.py [ROUNDS [IMAGES [SIDE ...]]]

IMAGES images (960) are written once at each SIDE (1024 and 224) as the published ones are (`images.py`): the gray originals of
../shared/data/nih-originals, turned and shifted so that no two are the same, or made ones where those are not there. All give gray
batches of 32 at 224 pixels, shuffled:

- zoo: what `zoo train` hands to Keras, from the prepared store, after one epoch of warming up. Preparing is a cost paid once, and
  reported as `preparing_s`;
- keras: `image_dataset_from_directory`, color_mode="grayscale", its own settings else;
- torchvision: ImageFolder with Grayscale, Resize and PILToTensor in a DataLoader with two workers, started before;
- torchxrayvision: its NIH_Dataset with XRayCenterCrop and XRayResizer in the same loader.

Every contender runs by itself in an environment of its own (`peers.py`), in an order that rotates. Images and readers are in the
file cache of the system after the first round. Written to benchmarks/results/batches.csv; `ratio` is zoo's rate to the
contender's within a round.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import alternate, machine, median, ratios, write_csv
from images import originals, write_folders
from peers import python_of

SIZE, BATCH = 224, 32
HERE = Path(__file__).parent


def measure(side: int, rounds: int, count: int) -> list[dict[str, object]]:
    """One line per contender on images of one size."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        write_folders(root, side, {"train": count, "val": BATCH, "test": BATCH})
        last, train = [str(SIZE), str(BATCH)], str(root / "train")
        torch = [python_of("torch"), str(HERE / "torch_peers.py"), "batches"]
        commands = {
            "zoo": [sys.executable, str(HERE / "zoo_side.py"), "batches", str(root), *last],
            "keras": [python_of("keras"), str(HERE / "keras_peer.py"), "batches", train, *last],
            "torchvision": [*torch, "torchvision", train, *last],
            "torchxrayvision": [*torch, "torchxrayvision", train, *last],
        }
        costs = alternate(commands, rounds)
    zoo = [each["images_per_s"] for each in costs["zoo"]]
    return [
        {
            "png_side": side,
            "contender": name,
            "images_per_s": median(found, "images_per_s", 0),
            **ratios(zoo, [each["images_per_s"] for each in found], 1),
            "preparing_s": median(found, "preparing_s"),
            "images": count,
            "source": "originals" if originals() else "made",
            "rounds": rounds,
            **machine(),
        }
        for name, found in costs.items()
    ]


def main() -> None:
    numbers = [int(word) for word in sys.argv[1:]]
    rounds, count = (numbers[at] if len(numbers) > at else default for at, default in ((0, 5), (1, 960)))
    write_csv("batches", [row for side in numbers[2:] or (1024, 224) for row in measure(side, rounds, count)])


if __name__ == "__main__":
    main()
