"""Draw docs/images/house.svg, the packages in their layers with what each imports: `python docs/generate_house.py`.

Both are read from the code: the layers from tests/test_architecture.py, the imports from every module. An arrow that
follows from others is left out (the transitive reduction), as is core, which everything imports.
"""

from __future__ import annotations

import ast
import runpy
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = Path(__file__).parent / "images" / "house.svg"
WIDTH, ROW, BOX, GAP = 900, 74, 50, 14
OUTSIDE = {
    "plugins": "the built-in strategies",
    "datasets": "readers of published layouts",
    "cli": "one file per command",
}


def imports() -> dict[str, set[str]]:
    """What each package imports of the others, from tests/test_architecture.py."""
    rules = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))
    found: dict[str, set[str]] = {}
    for module, targets in rules["graph"]().items():
        package = rules["layer"](module)
        found.setdefault(package, set()).update(t for t in map(rules["layer"], targets) if t != package)
    return found


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that other arrows imply."""

    def reach(name: str) -> set[str]:
        return set().union(*({each} | reach(each) for each in graph.get(name, ())))

    return {
        name: {t for t in targets if not any(t in reach(o) for o in targets - {t})} for name, targets in graph.items()
    }


def purpose(package: str) -> str:
    """The first sentence of a package's docstring."""
    if package in OUTSIDE:
        return OUTSIDE[package]
    file = ROOT / "zoo" / package / "__init__.py"
    text = ast.get_docstring(ast.parse((file if file.exists() else file.parent.with_suffix(".py")).read_text())) or ""
    return text.partition("\n")[0].partition(":")[0].rstrip(".")


def picture() -> str:
    """The drawing as SVG: the lowest layer at the bottom."""
    layers = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["LAYERS"]
    graph = imports()
    rows = [tuple(n for n in names if n in graph) for names in (*layers, ("plugins", "datasets", "cli"))]
    rows = [names for names in rows if names]
    height = ROW * len(rows) + GAP
    boxes: dict[str, tuple[float, float, float]] = {}
    for level, names in enumerate(rows):
        wide = min(250.0, (WIDTH - GAP * (len(names) + 1)) / len(names))
        left = (WIDTH - wide * len(names) - GAP * (len(names) - 1)) / 2
        shift = (-1) ** level * 150 if len(names) == 1 else 0  # single boxes left and right in turn: arrows stay apart
        for i, name in enumerate(names):
            boxes[name] = (left + shift + i * (wide + GAP), height - ROW * (level + 1) + GAP / 2, wide)
    lines = []
    for name, targets in reduced({n: t - {"core"} for n, t in graph.items()}).items():
        for target in sorted(targets & set(boxes)):
            (x, y, w), (tx, ty, tw) = boxes[name], boxes[target]
            lines.append(f'<line x1="{x + w / 2:.0f}" y1="{y + BOX:.0f}" x2="{tx + tw / 2:.0f}" y2="{ty - 3:.0f}"/>')
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        '<defs><marker id="tip" markerWidth="7" markerHeight="7" refX="6" refY="3.5" orient="auto">'
        '<path d="M0,0 L7,3.5 L0,7 z" fill="#78909c"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<g stroke="#78909c" stroke-width="1.2" marker-end="url(#tip)">',
        *sorted(lines),
        "</g>",
    ]
    for name, (x, y, w) in boxes.items():
        fill = "#fff3e0" if name in OUTSIDE else "#e0f2f1"
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{w:.0f}" height="{BOX}" rx="6" fill="{fill}" stroke="#00796b"/>'
        )
        at = f'x="{x + w / 2:.0f}" text-anchor="middle"'
        parts.append(f'<text {at} y="{y + 20:.0f}" font-size="15" font-weight="bold">{name}</text>')
        parts.append(
            f'<text {at} y="{y + 38:.0f}" font-size="11" fill="#37474f">{escape(_short(purpose(name), w))}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _short(text: str, width: float) -> str:
    most = int(width / 6.2)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(picture())
