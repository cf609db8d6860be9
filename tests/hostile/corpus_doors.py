"""Hostile files at every door: a folder that is prepared, a list of names, an upload, and a run whose views are not known."""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import corpus_dicom as dicom
from bad_files import GRAY, SIGNATURE, chunk, encoded, header, originals
from files_of import BOMB, NAME, write, zeros
from harness import Case, Refused, outside, zoo
from PIL import Image

from zoo.core.records import BadImage

SIDE = 16
FRONTAL = frozenset(("PA", "AP"))
BROKEN_TEXT = SIGNATURE + header(20_000, 10_000) + chunk(b"tEXt", b"a\0b")[:-1] + b"\0" + chunk(b"IDAT", b"")
LARGE = {dicom.ROWS_TAG: dicom.us(9_999), dicom.COLUMNS_TAG: dicom.us(9_999)}
LATERAL: dicom.Values = {dicom.VIEW: ("CS", b"LL")}


def setup() -> None:
    from zoo.cli.main import cli  # noqa: F401
    from zoo.data.store import prepare  # noqa: F401
    from zoo.serve.decoding import read  # noqa: F401

    dicom.setup()


def prepared(folder: Path) -> bool:
    """The reason for which `image` is set aside, raised; the sound images beside it are prepared all the same."""
    import pandas as pd

    from zoo.core.records import Records
    from zoo.data.images import FileSource
    from zoo.data.store import prepare

    (folder / "sound.png").write_bytes(originals()["png"])
    names = ["sound.png", NAME]
    table = pd.DataFrame({"image": names, "path": names, "patient": names, "Mass": 0.0})
    store = prepare(Records(table, ("Mass",), FileSource(str(folder))), SIDE, folder / "cache", workers=0)
    sound, reason = store.table["reason"]
    assert sound == ""
    if reason:
        raise BadImage(reason)
    return bool(store.images[1].any())


def verified(folder: Path) -> str:
    """What the command line says of a folder, once it is prepared and verified; raises what it sets aside."""
    for number in range(20):
        place = folder / "root" / ("ill" if number % 2 else "well")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(encoded(Image.fromarray(GRAY[number:]), "PNG"))
    (folder / NAME).rename(folder / "root" / "ill" / "hostile.png")
    words = ("--data", "folder", "--root", folder / "root", "--image-size", "32", "--task", "multiclass")
    os.environ["ZOO_CACHE"] = str(folder / "cache")
    said = zoo("data", "prepare", *words)
    checked = zoo("data", "verify")
    assert "whole" in checked, checked
    if "Set aside: 0 images" not in said:
        raise BadImage(" ".join(said.split()))
    return said


def uploaded(folder: Path, views: tuple[frozenset[str] | None, ...] = (None,), pixels: int = 50_000_000) -> bool:
    """As the server reads an upload; the first run's refusal, where it refuses."""
    from zoo.serve.decoding import Request, TooManyPixels, Unreadable, read

    try:
        found = read((folder / NAME).read_bytes(), Request((SIDE,), views, False), pixels)
    except (TooManyPixels, Unreadable) as error:
        raise Refused(str(error)) from None
    if views[0] in found.rejected:
        raise Refused(found.rejected[views[0]])
    return found.squares[SIDE].shape == (SIDE, SIDE)


FILES: dict[str, tuple[bytes | Callable[[], bytes], str | None]] = {
    "a sound PNG": (originals()["png"], None),
    "a sound DICOM": (dicom.file(), None),
    "a bomb behind broken text": (BROKEN_TEXT, f"{BOMB}|20,000 × 10,000"),
    "99 deflated megapixels": (dicom.file(LARGE, syntax=dicom.DEFLATED, preamble=False), "truncated|9,999 × 9,999"),
    "1 GB in a deflated header": (lambda: _deflated_header(), "over the limit of 64 MB"),
    "a WebP of 16 million a side": (
        b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6 + bytes(99),
        f"{BOMB}|16,777,216",
    ),
    "text": (b"not an image\n", "not an image"),
    "nothing": (b"", "zero bytes"),
    "a script": (b"#!/bin/sh\nexit 1\n", "not an image"),
    "a pickle": (b"cos\nsystem\n(S'exit 1'\ntR.", "not an image"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "not an image"),
    "a page": (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "not an image"),
    "a hand": (dicom.file({0x00180015: ("CS", b"HAND")}), "not a chest X-ray"),
    "a magnetic resonance": (dicom.file({0x00080060: ("CS", b"MR")}), "not a chest X-ray"),
}


def _deflated_header() -> bytes:
    start = dicom.file(syntax=dicom.DEFLATED)[: 132 + len(dicom.meta(dicom.DEFLATED))]

    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    long = dicom.element(0x00090010, "OB", b"", 1 << 30)
    return start + squeeze.compress(long) + squeeze.flush(zlib.Z_FULL_FLUSH) + zeros(1 << 30, wrapped=False)


def _everywhere() -> Iterator[Case]:
    for name, (content, refused) in FILES.items():
        for door in (prepared, uploaded):
            yield Case(f"{door.__name__}: {name}", partial(write, content=content), door, refused)
    for name in ("a sound PNG", "a bomb behind broken text", "text", "1 GB in a deflated header"):
        content, refused = FILES[name]
        yield Case(f"verified: {name}", partial(write, content=content), verified, refused)


def _views() -> Iterator[Case]:
    seen = (FRONTAL, None), (None, FRONTAL), (frozenset(("LATERAL",)), FRONTAL), (FRONTAL, frozenset(("PA",)))
    words = "not a view that the network saw"
    for number, (views, refused) in enumerate(zip(seen, (words, None, None, words), strict=True)):
        for preamble in (True, False):
            content = dicom.file(LATERAL, preamble=preamble)
            name = f"uploaded: a lateral to pair {number}{'' if preamble else ', without a preamble'}"
            yield Case(name, partial(write, content=content), partial(uploaded, views=views), refused)


def _table(content: bytes | None, folder: Path) -> None:
    if content is not None:
        (folder / "images.csv").write_bytes(content)


def _seen(folder: Path) -> bool:
    from zoo.inference.intake import views_seen
    from zoo.runs.run import Run

    return views_seen(Run(folder)) == {"PA"}


def _runs() -> Iterator[Case]:
    head, words = b"image,patient,split,view\n", r"which views the run .* saw is not known"
    for name, content, refused in (
        ("sound", head + b"a,1,train,PA\n", None),
        ("missing", None, words),
        ("empty", b"", words),
        ("of zeros", bytes(500), words),
        ("of noise", bytes(range(128, 256)) * 9, words),
        ("without rows", head, words),
        ("without training images", head + b"a,1,test,PA\n", words),
        ("without splits", b"image,patient,view\na,1,PA\n", words),
        ("of one line", head[:12], words),
        ("of ragged rows", head + b"a,1,train,PA\nb,2,train,PA,1,2,3\n", words),
    ):
        yield Case(f"a run's table: {name}", partial(_table, content), _seen, refused)


def _special(make: Callable[[Path], object], folder: Path) -> None:
    (folder / "images").mkdir()
    (folder / "images" / "sound.png").write_bytes(originals()["png"])
    make(folder / "images" / NAME)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the name of a socket is short
        made.bind(path.name)


def _named(folder: Path) -> bool:
    return dicom.read(folder / "images")


def _walked(folder: Path) -> bool:
    from zoo.inference.intake import expand

    return [Path(each).name for each in expand([str(folder / "images")])] == ["sound.png"]


def _specials() -> Iterator[Case]:
    for name, make, refused in (
        ("a FIFO", os.mkfifo, "not a regular file"),
        ("a socket", _socket, "not a regular file"),
        ("/dev/zero", lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        ("/dev/tty", lambda path: path.symlink_to("/dev/tty"), "not a regular file"),
        ("a folder", lambda path: path.mkdir(), "folder"),
        ("a link to nothing", lambda path: path.symlink_to("nothing"), "missing file"),
        ("a link to itself", lambda path: path.symlink_to(path.name), "cannot be read"),
        ("a link to its folder", lambda path: path.symlink_to("."), "folder"),
        ("a sparse file of 1 TB", lambda path: (path.touch(), os.truncate(path, 1 << 40)), "over the limit of 500 MB"),
    ):
        yield Case(f"named: {name}", partial(_special, make), _named, refused)
        yield Case(f"walked: {name}", partial(_special, make), _walked, None)


def _left(path: str, folder: Path) -> bool:
    from zoo.data.images import FileSource

    (folder / "sound.png").write_bytes(originals()["png"])
    return FileSource(str(folder)).read(path.format(outside=outside(folder)))[0].any()


def _paths() -> Iterator[Case]:
    for path, refused in (
        ("sound.png", None),
        ("./x/../sound.png", None),
        ("../outside/secret", "outside the root"),
        ("{outside}", "outside the root"),
        ("/etc/passwd", "outside the root"),
        ("/proc/self/environ", "outside the root"),
        ("sound.png/../../outside/secret", "outside the root"),
        ("", "a directory"),
        (".", "a directory"),
        ("..", "outside the root"),
        ("a\0b", "."),
        ("x" * 5_000, "."),
        ("sound.png/", None),
    ):
        yield Case(f"a path in a table: {path[:40]!a}", lambda folder: None, partial(_left, path), refused)


CASES = [*_everywhere(), *_views(), *_runs(), *_specials(), *_paths()]
