"""The side of PyTorch in the benchmarks; runs in the environment `torch` of peers.py, without zoo.

    python benchmarks/torch_peers.py batches LOADER FOLDER SIZE BATCH
    python benchmarks/torch_peers.py train MODEL FOLDER SIZE BATCH EPOCHS
    python benchmarks/torch_peers.py steps MODEL LAYOUT SIZE BATCH STEPS

LOADER is torchvision or torchxrayvision, MODEL a name of timm's, LAYOUT channels_last or contiguous. Each prints one line of JSON.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import Costs, StepClock

WORKERS = 2
_KEPT: list[Any] = []


def open_torchvision() -> Any:
    """Import torchvision, also where its compiled operators do not fit this PyTorch: no loader or transform uses them."""
    try:
        import torchvision
    except RuntimeError:  # operator torchvision::nms does not exist
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        _KEPT.append(library)
        for name in ("nms", "qnms", "roi_align", "qroi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"):
            library.define(f"{name}() -> ()")
        for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool"):
            library.define(f"_{name}_backward() -> ()")
        import torchvision
    return torchvision


def versions() -> dict[str, str]:
    """Versions of the peers, all imported."""
    torchvision = open_torchvision()
    import timm
    import torchxrayvision

    found = {"torch": torch, "torchvision": torchvision, "timm": timm, "torchxrayvision": torchxrayvision}
    return {name: str(module.__version__) for name, module in found.items()}


def by_torchvision(folder: Path, size: int, batch: int) -> Any:
    """Gray images of a folder per class, decoded and resized by torchvision's own loader and transforms (Pillow)."""
    torchvision = open_torchvision()
    t = torchvision.transforms
    steps = [t.Grayscale(), t.Resize((size, size)), t.PILToTensor(), t.ConvertImageDtype(torch.float32)]
    images = torchvision.datasets.ImageFolder(str(folder), t.Compose(steps))
    return loader(images, batch)


def by_torchxrayvision(folder: Path, size: int, batch: int) -> Any:
    """The same images through the NIH dataset of torchxrayvision with its own transforms; its table is written beside."""
    torchvision = open_torchvision()
    import torchxrayvision

    names = sorted(file.relative_to(folder).as_posix() for file in folder.glob("*/*.png"))
    table = Path(tempfile.mkdtemp()) / "images.csv"
    head = [
        "Image Index",
        "Finding Labels",
        "Follow-up #",
        "Patient ID",
        "Patient Age",
        "Patient Gender",
        "View Position",
    ]
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(head)
        writer.writerows([name, "Mass", 0, number, 50, "M", "PA"] for number, name in enumerate(names))
    shape = [torchxrayvision.datasets.XRayCenterCrop(), torchxrayvision.datasets.XRayResizer(size)]
    images = torchxrayvision.datasets.NIH_Dataset(
        imgpath=str(folder), csvpath=str(table), transform=torchvision.transforms.Compose(shape), unique_patients=False
    )
    return loader(images, batch)


def loader(images: Any, batch: int) -> Any:
    return torch.utils.data.DataLoader(
        images, batch_size=batch, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True
    )


def batches(name: str, folder: Path, size: int, batch: int) -> Costs:
    """Images per second of one epoch of batches, the workers running already."""
    made = {"torchvision": by_torchvision, "torchxrayvision": by_torchxrayvision}[name](folder, size, batch)
    next(iter(made))  # starts the workers
    start, count = time.perf_counter(), 0
    for each in made:
        count += len(each["img"] if isinstance(each, dict) else each[0])
    return {"images_per_s": count / (time.perf_counter() - start), "images": count}


class Training:
    """A timm network, binary, one channel in, with Adam and the loss from logits, at float32."""

    def __init__(self, model: str, layout: str) -> None:
        open_torchvision()
        import timm

        self.layout = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}[layout]
        self.network = timm.create_model(model, num_classes=1, in_chans=1).to(memory_format=self.layout).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.loss = torch.nn.BCEWithLogitsLoss()
        self.clock = StepClock()

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        images = ((images - 0.5) / 0.25).to(memory_format=self.layout)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.network(images), labels.float()[:, None])
        loss.backward()
        self.optimizer.step()
        loss.item()
        self.clock.step()


def train(model: str, folder: Path, size: int, batch: int, epochs: int) -> Costs:
    """A training fed by torchvision from PNG, channels last."""
    batches, training = by_torchvision(folder, size, batch), Training(model, "channels_last")
    for _ in range(epochs):
        training.clock.begin_epoch()
        for images, labels in batches:
            training.step(images, labels)
    return training.clock.costs(batch)


def steps(model: str, layout: str, size: int, batch: int, count: int) -> Costs:
    """Steps on one batch in memory."""
    training = Training(model, layout)
    images, labels = torch.rand(batch, 1, size, size), torch.randint(0, 2, (batch,))
    for length in (3, count + 1):
        training.clock.begin_epoch()
        for _ in range(length):
            training.step(images, labels)
    return training.clock.costs(batch)


def main() -> None:
    what, name, *words = sys.argv[1:]
    if what == "steps":
        found = steps(name, words[0], *map(int, words[1:]))
    else:
        numbers = [int(word) for word in words[1:]]
        found = {"batches": batches, "train": train}[what](name, Path(words[0]), *numbers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
