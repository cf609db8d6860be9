"""The picture of one heat map: the image, the map, radiologists' boxes and the prediction."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.files import replacing
from zoo.core.quiet import import_matplotlib
from zoo.core.text import RESEARCH_ONLY

COLOURS = "inferno"  # perceptually uniform: equal steps of the map look equal
FAINTEST = 0.3  # where in the colours a map begins: those before are black, and would look like a dark image
BOX_COLOUR = "#35e0ff"  # cyan: the one hue that neither the image nor the map has
STRONGEST = 0.72  # opacity of the map's maximum: the image stays visible below it
INCHES, DPI = (5.0, 4.95), 100


@dataclass(frozen=True, eq=False)
class Picture:
    """What one picture shows: an image `(S, S)` in [0, 255], its map `(S, S)` in [0, 1], boxes `(M, 4)` in fractions."""

    image: np.ndarray
    heat: np.ndarray
    name: str
    label: str
    probability: float
    reference: int | None
    boxes: np.ndarray
    how: str


def save_picture(picture: Picture, path: Path) -> None:
    """Draw a picture and write it as PNG, whole or not at all."""
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.03, 0.06, 0.82, 0.82 * INCHES[0] / INCHES[1]))
    _draw(axes, picture)
    _colour_bar(figure, axes)
    grey: dict[str, Any] = {"fontsize": 8, "color": "#444444", "va": "center", "parse_math": False}
    edge = axes.get_position().x1
    figure.text(0.03, 0.963, _label(picture.label), fontsize=12, weight="bold", va="center", parse_math=False)
    figure.text(edge, 0.963, _prediction(picture), fontsize=9.5, ha="right", va="center", parse_math=False)
    figure.text(0.03, 0.917, _shorten(picture.name, 30), **grey)
    figure.text(edge, 0.917, _shorten(picture.how, 42), ha="right", **grey)
    figure.text(0.03, 0.028, RESEARCH_ONLY, **grey)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter of a file's name that the font lacks
        figure.savefig(partial, format="png", metadata={"Software": None})


def _label(label: str) -> str:
    label = label.replace("_", " ")
    return label if len(label) <= 22 else f"{label[:21]}…"


def _prediction(picture: Picture) -> str:
    from zoo.evaluation.interval import short

    said = f"probability {short(picture.probability)}"
    if picture.reference is None:
        return said
    return f"{said}, reference label: {'present' if picture.reference else 'absent'}"


def _shorten(text: str, length: int) -> str:
    """The end of a long text: of a path, the file's name."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


def _draw(axes: Any, picture: Picture) -> None:
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, withStroke

    size = len(picture.image)
    axes.imshow(picture.image, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 1, 0), interpolation="bilinear")
    colours = _colours(picture.heat)
    axes.imshow(colours, extent=(0, 1, 1, 0), interpolation="bilinear")
    if picture.heat.max() > 0:
        middle = (np.arange(size) + 0.5) / size
        axes.contour(middle, middle, picture.heat, levels=[0.5], colors="white", linewidths=0.9)
    else:
        axes.text(0.5, 0.97, "the map is zero everywhere", color="white", ha="center", fontsize=9)
    for x, y, width, height in picture.boxes:
        outline = [withStroke(linewidth=3.4, foreground="black"), Normal()]
        box = Rectangle((x, y), width, height, fill=False, edgecolor=BOX_COLOUR, linewidth=1.8, path_effects=outline)
        axes.add_patch(box)
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    axes.set_axis_off()


def _colours(heat: np.ndarray) -> np.ndarray:
    """Red, green, blue and opacity of heat in [0, 1]: a new last axis of 4. What is faint is transparent."""
    from matplotlib import colormaps

    colours = np.asarray(colormaps[COLOURS](FAINTEST + (1 - FAINTEST) * heat))
    colours[..., 3] = STRONGEST * np.clip(heat / 0.7, 0, 1)
    return colours


def _colour_bar(figure: Any, axes: Any) -> None:
    """The map's colours as they look on a gray image; the white line is drawn at half of the maximum."""
    place = axes.get_position()
    bar = figure.add_axes((place.x1 + 0.025, place.y0 + place.height * 0.2, 0.03, place.height * 0.6))
    colours = _colours(np.linspace(0, 1, 128))
    opacity = colours[:, 3:]
    bar.imshow(
        (opacity * colours[:, :3] + (1 - opacity) * 0.4)[:, None], origin="lower", extent=(0, 1, 0, 1), aspect="auto"
    )
    bar.axhline(0.5, color="white", linewidth=0.9)
    bar.set_xticks([])
    bar.set_yticks([0, 0.5, 1], ["0", ".5", "1"], fontsize=8)
    bar.yaxis.tick_right()
    bar.tick_params(length=2)
    bar.set_title("heat", fontsize=8)


def file_name(number: int, image: str, label: str) -> str:
    """A picture's file name from plain letters: number, image and label."""
    parts = [_plain(Path(image).stem), _plain(label)]
    return f"{number:0{max(3, int(math.log10(number + 1)) + 1)}d}-{'-'.join(p for p in parts if p)}.png"


def _plain(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "-" for c in text).strip("-.")[:60]
