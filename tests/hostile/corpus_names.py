"""Hostile names and cells: of files, columns, labels, patients, members of archives and words of the command line; stores whose
bytes were changed; files that links lead away from."""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from harness import Case, Refused, outside, zoo
from PIL import Image

from zoo.core.cells import csv_text, guarded_text
from zoo.core.files import open_inside
from zoo.core.tables import read_table
from zoo.core.tasks import Task

BAD = os.fsdecode(b"\xff\xfe")  # no UTF-8
CELLS = {
    "carriage return": "a\rb",
    "carriage return alone": "x\r",
    "newline": "a\nError: forged",
    "both": "a\r\nb",
    "quotes": '"a""b"',
    "delimiters": "a,b;c\td",
    "formula": "=HYPERLINK(1)",
    "number": "-0.5",
    "missing": "NA",
    "escape": "\x1b[31m\x07y",
    "c1": "a\x9b31mb",
    "override": "a\u202eb",
    "isolate": "a\u2066b",
    "separator": "a\u2028b",
    "markup": "[red]a[link=b]",
    "zero width": "a\u200b\ufeffb",
    "private": "\ue000\U0010ffff",
    "combining": "a" + "\u0301" * 500,
    "long": "x" * 60_000,
    "apostrophe": "'=1",
    "backslash": "a\\nb\\",
    "braces": "{x!r} %s ${HOME}",
}
FILES = {name: text for name, text in CELLS.items() if name not in ("long", "combining", "carriage return alone")}
COMMANDS: dict[str, tuple[list[str], str]] = {
    "a run": (["evaluate", "{}"], "there is no run"),
    "a command": (["{}"], "unknown command"),
    "a dataset": (["data", "prepare", "--data", "{}"], "unknown dataset"),
    "a root": (["data", "prepare", "--data", "csv", "--root", "{}"], "--root .* does not exist"),
    "a model": (["train", "--model", "{}"], "unknown model"),
    "a setting": (["train", "--set", "{}=1"], "{}"),
    "an option": (["train", "--{}"], "[Nn]o such option"),
    "an archive": (["data", "download", "nih", "--out", "x", "--archive", "{}"], "does not exist"),
    "an entry": (["info", "{}"], "{}"),
}


def setup() -> None:
    """Load what the cases share, before their time and memory count."""
    zoo("list", "datasets")


def image(file: Path | bytes, value: int = 0) -> None:
    with open(file, "wb") as stream:
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(stream, "PNG")


# tables


def write_table(cell: str, folder: Path) -> None:
    table = pd.DataFrame({"image": [cell, "b"], f"c{cell}": ["1", cell]}, dtype=object)
    (folder / "t.csv").write_text(csv_text(table), newline="")


def table_holds(cell: str, folder: Path) -> bool:
    table, _ = read_table(folder / "t.csv")
    return table.to_numpy().tolist() == [[cell.strip(), "1"], ["b", cell.strip()]]


def write_images(cell: str, folder: Path) -> None:
    rows = [(f"{cell}.png", cell, "normal", cell), ("b.png", "q", cell, "")]
    table = pd.DataFrame(rows, columns=["image", "patient", "label", "note"], dtype=object)
    (folder / "images.csv").write_text(csv_text(table), newline="")
    for number, row in enumerate(rows):
        image(folder / row[0], number)


def dataset(name: str, folder: Path) -> Any:
    from zoo.core.registry import registry
    from zoo.data.pipeline import with_writable_names

    reader = registry().get("dataset", name)
    return with_writable_names(reader.read(folder, reader.Options()))


def prepared_names(cell: str, folder: Path) -> bool:
    """Whether the store names the images as they are, made and found again, and both are read."""
    from zoo.data.store import prepare

    records = dataset("csv", folder)
    for _ in range(2):
        store = prepare(records, 4, folder / "cache")
        good = store.table["image"].tolist() == [f"{cell}.png", "b.png"] and not store.table["reason"].any()
        if not good or store.images[:, 0, 0].tolist() != [0, 1]:
            return False
    written = pd.read_csv(store.path / "images.csv", dtype=str, keep_default_na=False)
    return bool(written["image"].tolist() == [f"{cell}.png", "b.png"])


def predictions_hold(cell: str, folder: Path) -> bool:
    from zoo.evaluation import Predictions

    task = Task("multilabel", ("a", f"l{cell}"))
    table = pd.DataFrame({"image": [cell, "b"], "patient": [cell, "b"]}, dtype=object)
    made = Predictions(task, table, np.eye(2), np.eye(2, dtype=np.float32))
    made.save(folder / "p.csv")
    return Predictions.load(folder / "p.csv", task).table["image"].tolist() == [cell, "b"]


def raw(data: bytes, folder: Path) -> None:
    (folder / "t.csv").write_bytes(data)


# folders, archives and links


def write_classes(names: list[bytes], folder: Path) -> None:
    for number, name in enumerate(names):
        path = os.fsencode(folder) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        image(path, number)


def classes_without(count: int, folder: Path) -> bool:
    records = dataset("folder", folder)
    return len(records.set_aside) == count and "not Unicode" in " ".join(records.set_aside["reason"])


def audited(words: str, folder: Path) -> bool:
    zoo("data", "audit", "--data", "folder", "--root", folder, "--csv", folder / "issues.csv")
    return words in (folder / "issues.csv").read_text()


def write_tar(name: bytes, kind: bytes, folder: Path) -> None:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tape:
        info = tarfile.TarInfo(os.fsdecode(name))
        info.type, info.size, info.linkname = kind, 1 if kind == tarfile.REGTYPE else 0, str(outside(folder))
        tape.addfile(info, io.BytesIO(b"x"))


def unpacked(folder: Path) -> list[str]:
    from zoo.data import archives

    archives.unpack(folder / "a.tar.gz", folder / "out", lambda name: name)
    return list(archives.read_manifest(folder / "out"))


def links(name: str, target: str, folder: Path) -> None:
    (folder / "root/a").mkdir(parents=True)
    (folder / "root/a/b").write_text("inside")
    (folder / "root2").mkdir()
    (folder / "root2/b").write_text("beside")
    if target == "fifo":
        os.mkfifo(folder / "root" / name)
    elif target:
        (folder / "root" / name).symlink_to(target.format(outside=outside(folder)))


def opened(path: str, folder: Path) -> bool:
    with open_inside(folder / "root", path.format(outside=outside(folder))) as stream:
        return stream.read() == b"inside"


# stores


def flip(name: str, place: float, folder: Path) -> None:
    write_images("a", folder)
    from zoo.data.store import prepare

    file = prepare(dataset("csv", folder), 4, folder / "cache").path / name
    data = bytearray(file.read_bytes())
    data[int(place * (len(data) - 1))] ^= 0x04
    file.write_bytes(data)


def store_is_whole(folder: Path) -> bool:
    from zoo.data.store import prepare

    store = prepare(dataset("csv", folder), 4, folder / "cache")
    names = store.table["image"].tolist() == ["a.png", "b.png"] and not store.table["reason"].any()
    return bool(names and store.images[:, 0, 0].tolist() == [0, 1])


# what people see


def shows(words: list[str], cell: str, folder: Path) -> str:
    """Run a command that names what is wrong; nothing of the name may reach the terminal raw."""
    try:
        return zoo(*(word.format(cell) if "{}" in word else word for word in words))
    except Refused as refused:
        if any(sign in str(refused) for sign in "\x1b\x9b\x07\u202e"):
            raise ValueError("a name reached the terminal raw") from None
        raise


def guards(cell: str, folder: Path) -> bool:
    text = guarded_text(pd.DataFrame({"image": [cell], "n": [-0.5]}, dtype=object))
    row = list(csv.reader(io.StringIO(text, newline="")))[1]
    return row[1] == "-0.5" and row[0] in (cell, f"'{cell}") and (row[0] == "-0.5" or row[0][:1] not in "=+-@\t\r\n")


def of_cells(kind: str, cells: dict[str, str], write: Any, read: Any) -> list[Case]:
    return [Case(f"{kind}: {name}", partial(write, cell), partial(read, cell), None) for name, cell in cells.items()]


def nothing(*_: Any) -> None:
    """Write no file."""


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "NUL in UTF-8": (b"image,label\na\0b,c\n", "not text"),
    "NUL in UTF-16": ("image,label\na\0b,c\n".encode("utf-16"), "not text"),
    "half a surrogate in UTF-16": (b"\xff\xfei\0,\0b\0\n\0\x00\xd8,\0c\0\n\0", "cannot be read"),
    "half a character in UTF-16": (b"\xff\xfei\0,\0b\0\n\0a", "cannot be read"),
    "a quote that never ends": (b'image,label\n"a,b\nc,d\n', "cannot be read"),
    "more cells than names": (b"image,label\na,b,c\n", "more cells than the header"),
}
CLASSES: dict[str, tuple[list[bytes], Callable[[Path], object], str | None]] = {
    "an image that is not Unicode": ([b"a/1.png", b"a/\xff.png", b"b/1.png"], partial(classes_without, 1), None),
    "an audit of it": ([b"a/1.png", b"a/\xff\x1b.png", b"b/1.png"], partial(audited, r"a/\udcff\x1b.png"), None),
    "a class that is not Unicode": ([b"a/1.png", b"\xff/1.png"], partial(dataset, "folder"), "name of the finding"),
    "an audit of that": ([b"a/1.png", b"\xff/1.png"], partial(audited, ""), r"finding '\\udcff' is not Unicode"),
    "a class with an escape": ([b"a/1.png", b"\x1b[1m/1.png"], partial(dataset, "folder"), None),
    "a class with line breaks": ([b"a/1.png", b"x\r\nError: y/1.png"], partial(dataset, "folder"), None),
}
MEMBERS: dict[str, tuple[bytes, bytes, Any, str | None]] = {
    "line breaks": (b"a\r\nb.png", tarfile.REGTYPE, lambda f: unpacked(f) == ["a\r\nb.png"], None),
    "a formula": (b"=1.png", tarfile.REGTYPE, lambda f: unpacked(f) == ["=1.png"], None),
    "not Unicode": (b"\xff.png", tarfile.REGTYPE, unpacked, "is not Unicode"),
    "upwards": (b"../\x1b.png", tarfile.REGTYPE, unpacked, "leads out of its folder"),
    "a link": (b"a\x1b.png", tarfile.SYMTYPE, unpacked, "is a link, a device"),
    "a hard link": (b"a.png", tarfile.LNKTYPE, unpacked, "is a link, a device"),
}
PLACES: dict[str, tuple[str, str, str, str | None]] = {
    "a file": ("", "", "a/b", None),
    "a link within": ("l", "a/b", "l", None),
    "a folder's link within": ("l", "a", "l/b", None),
    "an outward link": ("l", "{outside}", "l", "leads out of"),
    "an outward folder": ("l", "../root2", "l/b", "leads out of"),
    "up and away": ("", "", "../root2/b", "leads out of"),
    "an absolute path": ("", "", "{outside}", "leads out of"),
    "a link to itself": ("l", "l", "l", "became a link"),
    "a FIFO": ("l", "fifo", "l", "no regular file"),
    "a folder": ("", "", "a", "a directory"),
    "a device": ("l", "/dev/zero", "l", "leads out of"),
}
FLIPS = {
    f"{name} at {place:.0%}": (name, place)
    for name in ("images.csv", "chunks.jsonl", "store.json")
    for place in (0.0, 0.4, 0.9)
}
CASES = [
    *of_cells("a cell", CELLS, write_table, table_holds),
    *of_cells("a file's name", FILES, write_images, prepared_names),
    *of_cells(
        "predictions",
        {k: CELLS[k] for k in ("carriage return", "both", "quotes", "missing", "escape")},
        nothing,
        predictions_hold,
    ),
    *of_cells(
        "a spreadsheet", {k: CELLS[k] for k in ("formula", "number", "apostrophe", "carriage return")}, nothing, guards
    ),
    *(
        Case(f"a table with {name}", partial(raw, data), lambda f: read_table(f / "t.csv"), words)
        for name, (data, words) in UNREADABLE.items()
    ),
    *(
        Case(f"classes: {name}", partial(write_classes, names), read, words)
        for name, (names, read, words) in CLASSES.items()
    ),
    *(
        Case(f"a member: {name}", partial(write_tar, member, kind), read, words)
        for name, (member, kind, read, words) in MEMBERS.items()
    ),
    *(
        Case(f"a place: {name}", partial(links, link, target), partial(opened, path), words)
        for name, (link, target, path, words) in PLACES.items()
    ),
    *(Case(f"a changed byte of {name}", partial(flip, *where), store_is_whole, None) for name, where in FLIPS.items()),
    *(
        Case(
            f"a changed pixel at {p:.0%}", partial(flip, "images.npy", p), store_is_whole, "no longer have the checksum"
        )
        for p in (0.9, 1.0)
    ),
    Case("a changed header of the pixels", partial(flip, "images.npy", 0.02), store_is_whole, None),
    *(
        Case(f"{name} called {cell}", nothing, partial(shows, words, CELLS[cell]), expected.format(".*"))
        for name, (words, expected) in COMMANDS.items()
        for cell in ("newline", "escape")
    ),
    Case(
        "a root that is not Unicode",
        nothing,
        lambda f: zoo("data", "prepare", "--data", "csv", "--root", BAD),
        "is not Unicode|does not exist",
    ),
]
