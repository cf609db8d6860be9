"""Try every export of a model of each family, and write the table of docs/export.md: `python docs/generate_exports.py [MODEL...]`.

A network with random weights and 3 labels, at the smallest size the model allows but at least 64 pixels, is written in every
format and compared with zoo on drawn images at that size. Its batch statistics are taken from these images, and its head is
scaled so that their logits have a standard deviation of 2: a random network would give all images one prediction. Without
models named, the lightest of each plugin is measured, whose layers are those of its sisters; the measurements are kept in
benchmarks/results/export_models.csv, where those of others stay.
"""

from __future__ import annotations

import csv
import functools
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

TARGET = Path(__file__).parent / "export.md"
KEPT = Path(__file__).parents[1] / "benchmarks" / "results" / "export_models.csv"
BEGIN, END = "<!-- made by docs/generate_exports.py -->", "<!-- end -->"
IMAGES, SAMPLES, SMALLEST = 24, 24, 64
COLUMNS = ("model", "image_size", "format", "quantize", "difference", "refused")
WAYS = (
    ("keras", ""),
    ("savedmodel", ""),
    ("litert", ""),
    ("litert", "float16"),
    ("litert", "int8"),
    ("onnx", ""),
    ("onnx", "float16"),
    ("onnx", "int8"),
)


def measure(name: str) -> list[dict[str, Any]]:
    """One row per way to export a model: the largest difference of a probability, or why it cannot be written."""
    from zoo.core.errors import ZooError
    from zoo.core.registry import registry
    from zoo.core.tasks import Task
    from zoo.engine import devices
    from zoo.export import formats
    from zoo.export import trial_images as image_sources
    from zoo.export.network import assemble
    from zoo.export.parity import zoo_probabilities
    from zoo.inference.operating_point import OperatingPoint
    from zoo.nn.inference import for_inference

    model = registry().get("model", name)
    task, size = Task("multilabel", ("A", "B", "C")), max(SMALLEST, model.info.min_image_size)
    rows = []
    with devices.session("cpu", "float32", 0), tempfile.TemporaryDirectory() as folder:
        network = model.build(task, size, None, model.Options())
        images = image_sources.drawn_images(IMAGES + SAMPLES, registry())
        pixels = image_sources.prepared(images.pixels, size)
        _spread(network, pixels)
        pixels, samples = pixels[:IMAGES], pixels[IMAGES:]
        expected = zoo_probabilities(network, OperatingPoint(task, {}), pixels)
        bare = for_inference(network, float32=True)
        for form, quantize in WAYS:
            row = {"model": name, "image_size": size, "format": form, "quantize": quantize}
            file = Path(folder, f"{form}-{quantize}{formats.FORMATS[form].suffix}")
            try:
                chosen = formats.check_format(form, quantize or None)
                formats.write(chosen, file, functools.partial(assemble, bare, task, None), quantize or None, samples)
                run = formats.open_file(chosen, file)
                found = np.stack([run(image) for image in pixels])
                rows.append(row | {"difference": f"{np.abs(found - expected).max():.1e}"})
            except ZooError as error:
                rows.append(row | {"refused": str(error)})
            print(rows[-1], flush=True)
    return rows


def _spread(network: Any, images: np.ndarray) -> None:
    """Take batch statistics from the images; scale and shift a head of the usual kind to logits of mean 0 and deviation 2."""
    import keras

    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(images[..., None].astype("float32"), training=True)
    head = next((layer for layer in network.layers if layer.name == "logits"), None)
    if head is None:
        return
    logits = network.predict(images[..., None], verbose=0)
    factor = 2 / np.maximum(logits.std(axis=0), 1e-6)
    kernel, bias = head.get_weights()
    head.set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])


def table(rows: list[dict[str, str]], names: Iterable[str]) -> str:
    """The table in Markdown: models down, ways across; "not tried" stands where there is no measurement yet."""
    heads = [f"{form} {quantize}".strip() for form, quantize in WAYS]
    lines = [f"| model | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    reasons = []
    for name in names:
        found = {(row["format"], row["quantize"]): row for row in rows if row["model"] == name}
        cells = []
        for form, quantize in WAYS:
            row = found.get((form, quantize))
            done = "yes" if quantize else (row or {}).get("difference", "")
            cells.append("not tried" if row is None else done if row["difference"] else "no")
            if row is not None and row["refused"]:
                reasons.append(f"- {name}, {form} {quantize}".rstrip() + f": {row['refused']}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, *(["", *reasons] if reasons else [])])


def kept() -> list[dict[str, str]]:
    """The measurements so far."""
    if not KEPT.exists():
        return []
    with KEPT.open(newline="") as file:
        return list(csv.DictReader(file))


def page(text: str, rows: list[dict[str, str]]) -> str:
    """The page with the table put between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(rows, shown(rows))}\n\n{END}{rest.partition(END)[2]}"


def shown(rows: list[dict[str, str]]) -> list[str]:
    """The models of the table: the lightest of each family, and those that were measured beside them."""
    from zoo.core.registry import registry

    wanted = {*lightest(), *(row["model"] for row in rows)}
    return [name for name in registry().names("model") if name in wanted]


def lightest() -> list[str]:
    """The built-in model with the fewest parameters of each plugin."""
    from zoo.core.registry import registry

    built_in = [each for each in registry().entries("model") if each.origin.distribution == "cxr-zoo"]
    ordered = sorted(built_in, key=lambda each: each.strategy.info.parameters)
    return list({each.origin.plugin: each.name for each in reversed(ordered)}.values())


def main(names: list[str]) -> None:
    from zoo.core.registry import registry

    for name in names or lightest():
        rows = [*(row for row in kept() if row["model"] != name), *measure(name)]
        order = registry().names("model")
        rows.sort(key=lambda row: order.index(row["model"]) if row["model"] in order else len(order))
        with KEPT.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
            writer.writeheader()
            writer.writerows(rows)
        TARGET.write_text(page(TARGET.read_text(), kept()))


if __name__ == "__main__":
    main(sys.argv[1:])
