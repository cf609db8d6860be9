"""Figures as inline SVG: text stays text, ink follows the page's own colour, and equal numbers give equal bytes.

Colours are of the palette of Okabe & Ito (2008), which remains distinct for readers with any colour vision. They stand in
the drawings as CSS variables, so that a dark page can give lighter ones.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.core.quiet import import_matplotlib
from zoo.evaluation.interval import Interval
from zoo.report.curves import GRID, Curve, Curves, thin

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from zoo.evaluation.reliability import Reliability
    from zoo.evaluation.utility import DecisionCurve

INK = "#010203"  # stands for the page's text colour until the drawing is finished
BLUE, ORANGE, GREEN, RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
_VARIABLES = {INK: "currentColor", BLUE: "var(--blue,#0072b2)", ORANGE: "var(--orange,#e69f00)"} | {
    GREEN: "var(--green,#009e73)",
    RED: "var(--red,#d55e00)",
}
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "zoo",
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "path.simplify": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"), INK
    ),
}
_PANEL = (3.3, 2.8)  # inches
# margins as shares of the drawing: set by hand where many are drawn, since fitting them takes most of the time
_SQUARE = {"left": 0.19, "right": 0.965, "bottom": 0.165, "top": 0.915}
_STACK = {"left": 0.19, "right": 0.965, "bottom": 0.14, "top": 0.93, "hspace": 0.12}
_SPREAD_BINS = 25  # of the histogram below a reliability diagram
BOX_LINE, BOX_PADDING = 0.165, 0.08  # inches: of a line in a box, and around them
_NAME = 38  # letters of a name that fit over a panel


def roc_figure(curves: Curves, title: str) -> str:
    """Sensitivity against false-positive rate with its band, and the diagonal of chance."""
    with _drawing(margins=_SQUARE) as (figure, axes):
        _curve(axes, curves.roc)
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.45, linewidth=1, linestyle="--")
        _unit_square(axes, "false-positive rate (1 − specificity)", "sensitivity", title)
        return svg(figure)


def pr_figure(curves: Curves, title: str) -> str:
    """Precision against recall with its band, and the share of positive images, which is what guessing gives."""
    with _drawing(margins=_SQUARE) as (figure, axes):
        _curve(axes, curves.pr, steps=True)
        axes.plot([0, 1], [curves.prevalence] * 2, color=INK, alpha=0.45, linewidth=1, linestyle="--")
        _unit_square(axes, "recall (sensitivity)", "precision (PPV)", title)
        return svg(figure)


def training_figures(metrics: pd.DataFrame, best_epoch: int | None) -> tuple[tuple[str, str], ...]:
    """(what it shows, SVG) for loss, validation AUROC and AUPRC, and learning rate, of those that were recorded."""
    found = []
    for title, lines in (
        ("loss", {"loss": "training", "val_loss": "validation"}),
        ("validation AUROC and AUPRC", {"val_auroc": "AUROC", "val_auprc": "AUPRC"}),
        ("learning rate", {"lr": ""}),
    ):
        there = {c: name for c, name in lines.items() if c in metrics.columns and metrics[c].notna().any()}
        if there:
            found.append((title, _training_figure(metrics, there, title, best_epoch)))
    return tuple(found)


def _training_figure(metrics: pd.DataFrame, lines: dict[str, str], title: str, best_epoch: int | None) -> str:
    with _drawing() as (figure, axes):
        epochs = metrics["epoch"].to_numpy(dtype=float)
        marker = "o" if len(epochs) < 25 else None
        for (column, name), colour in zip(lines.items(), (BLUE, ORANGE), strict=False):
            axes.plot(epochs, metrics[column], color=colour, marker=marker, markersize=3.5, label=name or None)
        if best_epoch is not None:
            axes.axvline(best_epoch, color=INK, alpha=0.5, linewidth=1, linestyle=":", label="best epoch")
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1)
        if set(lines) <= {"val_auroc", "val_auprc"}:
            least = min(float(metrics[c].min()) for c in lines)
            axes.set_ylim(max(0.0, math.floor(10 * least - 0.5) / 10), 1.005)
        elif (values := metrics[list(lines)].to_numpy(dtype=float)).size and np.nanmin(values) >= 0:
            axes.set_ylim(bottom=0)
        axes.ticklabel_format(axis="y", scilimits=(-3, 4), useOffset=False)
        if len(lines) > 1:
            axes.legend(fontsize=8, handlelength=1.6)
        return svg(figure)


def reliability_figure(
    before: Reliability, after: Reliability | None, probabilities: Sequence[np.ndarray], title: str
) -> str:
    """Share of positive images against mean probability, bin by bin, before and after calibration.

    Below it stands how the images' `probabilities` lie, before and after. Both axes end where the points do, rounded up.
    """
    shown = [each for each in (before, after) if each is not None and each.bins]
    far = max((max(b.observed_high, b.predicted) for each in shown for b in each.bins), default=1.0)
    limit = min(1.0, math.ceil(10 * far + 0.2) / 10)
    with _drawing((3.3, 3.3), rows=(3.2, 1), margins=_STACK) as (figure, (axes, counts)):
        axes.plot([0, 1], [0, 1], color=INK, alpha=0.45, linewidth=1, linestyle="--")
        # points without lines between them: those of neighbouring bins, before and after, would cross each other
        for each, colour, marker, name in ((before, ORANGE, "s", "as trained"), (after, BLUE, "o", "calibrated")):
            if each is None or not each.bins:
                continue
            x, y = [b.predicted for b in each.bins], [b.observed for b in each.bins]
            last = each is shown[-1]
            if last:
                low, high = ([getattr(b, f"observed_{side}") for b in each.bins] for side in ("low", "high"))
                axes.vlines(x, low, high, color=colour, alpha=0.55, linewidth=1)
            face = colour if last else "none"
            axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=4.5, label=name)
        for images, colour in zip(probabilities, (ORANGE, BLUE), strict=False):
            counts.stairs(*np.histogram(images, _SPREAD_BINS, (0, limit)), color=colour, linewidth=1.2)
        _unit_square(axes, "", "observed share", title, limit)
        axes.tick_params(labelbottom=False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, loc="upper left", handlelength=1.6)
        counts.set_xlim(-0.02 * limit, 1.02 * limit)
        counts.set_xlabel("probability")
        counts.set_ylabel("images")
        counts.set_ylim(bottom=0)
        counts.yaxis.get_major_locator().set_params(nbins=2, integer=True)
        return svg(figure)


def decision_figure(curve: DecisionCurve, title: str) -> str:
    """Net benefit against threshold probability: the network with its band, treating everybody, treating nobody.

    The axis ends where neither of the first two is above 0 any more.
    """
    x = np.array([point.threshold for point in curve.points])
    network, everybody = (
        np.array([[v.value, v.low, v.high] for v in values]).T
        for values in ([p.network for p in curve.points], [p.treat_all for p in curve.points])
    )
    above = np.flatnonzero((network[0] > 0) | (everybody[0] > 0))
    end = min(len(x) - 1, int(above[-1]) + 1 if len(above) else 0)
    top = max(float(np.nanmax(np.append(network[2][: end + 1], network[0][: end + 1]))), 1e-3)
    with _drawing(margins=_SQUARE) as (figure, axes):
        if not np.isnan(network[1]).any():
            axes.fill_between(x, network[1], network[2], color=BLUE, alpha=0.18, linewidth=0)
        axes.plot(x, network[0], color=BLUE, label="network")
        axes.plot(x, everybody[0], color=ORANGE, linewidth=1.2, label="treat all")
        axes.axhline(0, color=INK, alpha=0.45, linewidth=1, linestyle="--", label="treat none")
        axes.set_xlim(0, float(x[end]))
        axes.set_ylim(-0.15 * top, 1.1 * top)
        axes.xaxis.get_major_locator().set_params(nbins=5)
        axes.yaxis.get_major_locator().set_params(nbins=4)
        axes.set_xlabel("threshold probability")
        axes.set_ylabel("net benefit")
        axes.set_title(_fit(title, _NAME), loc="left")
        axes.legend(fontsize=8, loc="upper right", handlelength=1.6)
        return svg(figure)


def froc_figure(lines: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Share of the lesions found against false marks per image, a line for each reader; named where they are at most four."""
    few = len(lines) <= 4
    with _drawing(margins=_SQUARE) as (figure, axes):
        for number, (name, points) in enumerate(lines.items()):
            x, y = thin(*np.array(points).T)
            colour = (BLUE, ORANGE, GREEN, RED)[number] if few else BLUE
            axes.plot(x, y, color=colour, drawstyle="steps-post", linewidth=1.3, alpha=1 if few else 0.6, label=name)
        axes.set_xlim(left=0)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("false marks per image")
        axes.set_ylabel("lesions found")
        axes.set_title(_fit(title, _NAME), loc="left")
        if few:
            axes.legend(fontsize=8, loc="lower right", handlelength=1.6)
        return svg(figure)


def referral_figure(curve: Mapping[float, float], title: str) -> str:
    """Wrong predictions among the most certain images, by the share that is kept; of all images as a dashed line."""
    shares, errors = np.array([*curve.items()]).T
    with _drawing(margins=_SQUARE) as (figure, axes):
        axes.plot(100 * shares, 100 * errors, color=BLUE)
        axes.axhline(100 * errors[-1], color=INK, alpha=0.45, linewidth=1, linestyle="--")
        axes.set_xlim(0, 100)
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(nbins=4)
        axes.set_xlabel("images kept, %")
        axes.set_ylabel("wrong, %")
        axes.set_title(_fit(title, _NAME), loc="left")
        return svg(figure)


def forest_figure(
    rows: Sequence[tuple[str, Interval, bool]], overall: float, xlabel: str, limits: tuple[float, float] = (0, 1)
) -> str:
    """One line per group: its value with the interval, hollow where the group is small, and all images as a vertical line."""
    with _drawing((3.6, 0.9 + 0.27 * len(rows))) as (figure, axes):
        for place, (_, interval, small) in enumerate(rows):
            if math.isnan(interval.value):
                axes.text(limits[0], place, "undefined", va="center", fontsize=8, alpha=0.7)
                continue
            if not math.isnan(interval.low):
                axes.hlines(place, interval.low, interval.high, color=BLUE, linewidth=1.4)
            face = {"markerfacecolor": "none"} if small else {}
            axes.plot([interval.value], [place], "o", color=BLUE, markersize=5, **face)
        if not math.isnan(overall):
            axes.axvline(overall, color=INK, alpha=0.5, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(rows)), [_fit(name, 24) for name, _, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(limits[0] - 0.01, limits[1] + 0.01)
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(xlabel)
        return svg(figure)


def distribution_figure(lines: Mapping[str, np.ndarray], title: str, xlabel: str, ylabel: str) -> str:
    """Shares over the values 0, 1, 2 …, in percent, one line each, at most four."""
    with _drawing(margins=_SQUARE) as (figure, axes):
        for (name, shares), colour in zip(lines.items(), (ORANGE, BLUE, GREEN, RED), strict=False):
            axes.plot(np.arange(len(shares)), 100 * shares, color=colour, linewidth=1.3, label=name)
        axes.set_title(_fit(title, _NAME), loc="left")
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_ylim(bottom=0)
        axes.yaxis.get_major_locator().set_params(nbins=4)
        axes.legend(fontsize=8, handlelength=1.6)
        return svg(figure)


def matrix_figure(values: np.ndarray, names: Sequence[str], title: str) -> str:
    """A square of shares 0 to 1, `values[i, j]` in row i and column j, the darker the more."""
    from matplotlib.patches import Rectangle

    with _drawing((1.6 + 0.3 * len(names), 1.4 + 0.3 * len(names))) as (figure, axes):
        for (row, column), value in np.ndenumerate(values):
            if value > 0:
                box = Rectangle((column - 0.5, row - 0.5), 1, 1, color=BLUE, alpha=round(float(value), 2), linewidth=0)
                axes.add_patch(box)
            if value >= 0.005:
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        short = [_fit(name, 20) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=90)
        axes.set_yticks(range(len(names)), short)
        axes.tick_params(length=0)
        axes.set_title(title, loc="left")
        return svg(figure)


def _curve(axes: Axes, curve: Curve, steps: bool = False) -> None:
    known = ~np.isnan(curve.low)
    if known.any():
        low, high = np.round(curve.low[known], 4), np.round(curve.high[known], 4)
        axes.fill_between(GRID[known], low, high, color=BLUE, alpha=0.18, linewidth=0)
    x, y = thin(curve.x, curve.y)
    axes.plot(x, y, color=BLUE, drawstyle="steps-pre" if steps else "default")


def _unit_square(axes: Axes, xlabel: str, ylabel: str, title: str, limit: float = 1.0) -> None:
    axes.set_xlim(-0.02 * limit, 1.02 * limit)
    axes.set_ylim(-0.02 * limit, 1.02 * limit)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(_fit(title, _NAME), loc="left")


def box_figure(
    size: tuple[float, float],
    boxes: Sequence[tuple[float, float, float, float, Sequence[str]]],
    arrows: Sequence[tuple[float, float, float, float]],
) -> str:
    """Boxes with lines of text, the first one bold, and arrows between them.

    Everything is in inches from the upper left corner: boxes are (left, top, width, height, lines), arrows (x, y, x, y).
    """
    margins = {"left": 0.0, "right": 1.0, "bottom": 0.0, "top": 1.0}
    with _drawing(size, margins=margins) as (figure, axes):
        axes.set_axis_off()
        axes.set_xlim(0, size[0])
        axes.set_ylim(size[1], 0)
        for left, top, width, height, lines in boxes:
            corners = [left, left + width, left + width, left, left], [top, top, top + height, top + height, top]
            axes.plot(*corners, color=INK, alpha=0.7, linewidth=0.9)
            for i, line in enumerate(lines):
                y = top + BOX_PADDING + (i + 0.5) * BOX_LINE
                weight = "normal" if i else "bold"
                axes.text(left + BOX_PADDING, y, _fit(line, _NAME), va="center", fontsize=8.5, fontweight=weight)
        for *start, x, y in arrows:
            style = {"arrowstyle": "-|>", "color": INK, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=(x, y), xytext=tuple(start), arrowprops=style)
        return svg(figure)


def _fit(name: str, letters: int) -> str:
    """A name in one line of at most so many letters, without what XML cannot hold."""
    clean = "".join(c if c.isprintable() else " " for c in name)
    return clean if len(clean) <= letters else f"{clean[: letters - 1]}…"


@contextmanager
def _drawing(
    size: tuple[float, float] = _PANEL, rows: tuple[float, ...] = (1,), margins: Mapping[str, float] | None = None
) -> Iterator[tuple[Drawing, Any]]:
    """A figure and its axes, one above the other, in the style of all figures; margins are fitted unless given."""
    matplotlib = import_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a matplotlibrc on this machine says
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=size, layout=None if margins else "constrained")
        axes = figure.subplots(len(rows), 1, height_ratios=rows)
        if margins:
            figure.subplots_adjust(**margins)
        yield figure, axes


def svg(figure: Drawing) -> str:
    """The drawing as an `<svg>` element to stand inside a page: no size of its own, ids that no other figure has."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():  # letters that matplotlib's font lacks are drawn by the browser, which has them
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<style.*?</style>| xmlns(:\w+)?=\"[^\"]*\"", "", text, flags=re.DOTALL)  # not needed inside a page
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r' transform="rotate\(-?0 [^)]*\)"', "", text)
    text = re.sub(r"<[^>]*>", _round, text)  # the places of what is drawn, never a number that is written out
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    text = re.sub(r"\s*\n\s*", "\n", text).replace("\n", " ")
    return _own_ids(_size(text))


def _round(tag: re.Match[str]) -> str:
    return re.sub(r"(?<![\w#.])-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag[0])


def _size(text: str) -> str:
    """Let the page decide how wide a drawing is; it is never wider than its letters can bear."""
    found = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', text)
    width = float(found[1]) if found else 0
    return re.sub(
        r'width="[\d.]+pt" height="[\d.]+pt"', f'width="{width * 4 / 3:.0f}" aria-hidden="true"', text, count=1
    )


def _own_ids(text: str) -> str:
    """Drop the ids that nothing refers to and make the others the figure's own, from a digest of what it shows."""
    used = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    own = hashlib.sha256(text.encode()).hexdigest()[:8]

    def keep(match: re.Match[str]) -> str:
        return f' id="{own}-{match[1]}"' if match[1] in used else ""

    text = re.sub(r' id="([^"]+)"', keep, text)
    text = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{own}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{own}-\1)", text)
