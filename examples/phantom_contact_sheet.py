"""A contact sheet of phantom images: normal ones, and every finding in its box.

python examples/phantom_contact_sheet.py sheet.png
"""

from __future__ import annotations

import sys

from PIL import Image, ImageDraw

from zoo.datasets.phantom import LABELS, NORMAL, Phantom, PhantomOptions

TILE, COLUMNS = 224, 6


def main(output: str) -> None:
    options = PhantomOptions(patients=300, size=TILE)
    records = Phantom().read(None, options)
    table = records.table
    count = table[list(LABELS)].sum(axis=1)
    rows = [(NORMAL, table[count == 0][:: len(table) // 15][:COLUMNS])]
    rows += [(label, table[(table[label] == 1) & (count == 1)].iloc[:COLUMNS]) for label in LABELS]
    sheet = Image.new("RGB", (COLUMNS * TILE, len(rows) * (TILE + 14)))
    pen = ImageDraw.Draw(sheet)
    for r, (label, images) in enumerate(rows):
        for c, image in enumerate(images.itertuples()):
            left, top = c * TILE, r * (TILE + 14)
            sheet.paste(Image.fromarray(records.source.read(image.path)[0]).convert("RGB"), (left, top + 14))
            pen.text((left + 3, top + 1), f"{label} · {image.view} {image.sex} {image.age}", fill="white")
            for box in records.boxes[records.boxes["image"] == image.image].itertuples():
                x, y = left + box.x * TILE, top + 14 + box.y * TILE
                pen.rectangle((x, y, x + box.width * TILE, y + box.height * TILE), outline="orange")
    sheet.save(output)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: phantom_contact_sheet.py OUTPUT.png")
    main(sys.argv[1])
