"""What a user's words mean as images, and reading many of them: in order, ahead by a bounded number, past images that kill."""

from __future__ import annotations

import io
import itertools
import os
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.core import pools
from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.records import BadImage
from zoo.data.image_files import ENDINGS
from zoo.data.resize import square
from zoo.data.workers import CRASHED
from zoo.inference import intake
from zoo.inference.intake import expand, read_image, views_seen
from zoo.inference.reading import ImageFile, ImageReader, Read, by_processes, by_threads
from zoo.runs.run import Run

PREAMBLE = bytes(128) + b"DICM" + bytes(20)


def touch(*names: str, content: bytes = b"x") -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_files_stand_for_themselves_in_the_order_given_whatever_their_ending() -> None:
    touch("b.png", "a.xyz")
    assert list(expand(["b.png", "nothing.png", "a.xyz", "b.png"])) == ["b.png", "nothing.png", "a.xyz", "b.png"]


def test_a_folder_is_its_images_sorted_with_those_of_folders_below() -> None:
    touch(
        "f/b.PNG",
        "f/a/z.jpeg",
        "f/a/deep/er.dcm",
        "f/c.tif",
        "f/notes.txt",
        "f/labels.csv",
        "f/.hidden.png",
        "f/.x/y.png",
    )
    assert list(expand(["f"])) == ["f/a/deep/er.dcm", "f/a/z.jpeg", "f/b.PNG", "f/c.tif"]
    assert list(expand(["f/", "f/c.tif"]))[-2:] == ["f/c.tif", "f/c.tif"]


def test_dicom_files_in_folders_need_no_ending() -> None:
    touch("f/IM000001", "f/1.2.840.113619.2", "f/DICOMDIR", "f/scan.ima", content=PREAMBLE)
    touch("f/other", "f/12.5")
    assert list(expand(["f"])) == ["f/1.2.840.113619.2", "f/IM000001", "f/scan.ima"]


def test_a_link_that_leads_back_is_not_followed_and_others_are() -> None:
    touch("f/a.png", "elsewhere/b.png")
    Path("f/back").symlink_to("..")
    Path("f/there").symlink_to("../elsewhere")
    Path("f/gone").symlink_to("nothing")
    found = list(expand(["f"]))
    assert [each for each in found if "back" not in each] == ["f/a.png", "f/there/b.png"]
    assert len(found) < 10


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("f/*.png", ["f/a.png", "f/b.png"]),
        ("f/?.png", ["f/a.png", "f/b.png"]),
        ("f/[b]*", ["f/b.png"]),
        ("**/*.png", ["f/a.png", "f/b.png", "f/sub/c.png"]),
        ("f*", ["f/a.png", "f/b.png", "f/sub/c.png"]),
        ("*.jpg", ["*.jpg"]),
    ],
)
def test_a_pattern_is_its_matches_sorted(pattern: str, found: list[str]) -> None:
    touch("f/b.png", "f/a.png", "f/sub/c.png", "f/x.txt")
    assert list(expand([pattern])) == found


def test_a_name_with_brackets_that_exists_is_no_pattern() -> None:
    touch("scan[1].png", "scan1.png")
    assert list(expand(["scan[1].png"])) == ["scan[1].png"]


def test_a_dash_reads_names_folders_and_patterns_from_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("f/a.png", "f/b.png", "c.png")
    typed(monkeypatch, b"c.png\r\n\nf\nf/b*\n" + os.fsencode("\udcff.png"))
    assert list(expand(["x.png", "-", "y.png"])) == [
        "x.png",
        "c.png",
        *["f/a.png", "f/b.png"],
        "f/b.png",
        "\udcff.png",
        "y.png",
    ]


def test_names_are_taken_only_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = itertools.chain([b"1.png\n", b"2.png\n"], iter(lambda: pytest.fail("read on"), None))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=lines))
    assert list(itertools.islice(expand(["-"]), 2)) == ["1.png", "2.png"]
    assert list(itertools.islice(expand(f"{i}.png" for i in itertools.count()), 3)) == ["0.png", "1.png", "2.png"]


_NAMES = st.lists(st.sampled_from(["a", "b", "ä", "d.e", "f/a", "f/g/b", " "]), min_size=1, max_size=8)
_ENDS = st.lists(st.sampled_from([*sorted(ENDINGS), ".txt", ".PNG", ".html", ".npy"]), min_size=8, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=_NAMES, endings=_ENDS, number=st.integers(0, 10**9))
def test_of_a_folder_every_known_ending_comes_out_once(
    here: Path, names: list[str], endings: list[str], number: int
) -> None:
    root = here / f"tree-{number}-{len(os.listdir(here))}"
    files = {root / f"{name}{ending}" for name, ending in zip(names, endings, strict=False)}
    for file in files:
        touch(str(file))
    images = {str(file) for file in files if file.suffix.lower() in ENDINGS}
    found = list(expand([str(root)]))
    if images:
        assert sorted(images) == sorted(found)
    else:
        assert found == [str(root)]


def test_reading_gives_the_pixels_and_what_was_done_to_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 20), dtype=np.uint8)
    Image.fromarray(pixels).save("gray.png")
    Image.fromarray(np.dstack([pixels] * 3)).save("colour.tif")
    found, note = read_image("gray.png")
    assert np.array_equal(found, pixels)
    assert note == ""
    found, note = read_image(Path("colour.tif"))
    assert np.array_equal(found, pixels)
    assert "RGB" in note


def test_what_is_no_image_has_a_reason() -> None:
    touch("empty/notes.txt", "text.png")
    touch("zero.png", content=b"")
    os.mkfifo("pipe.png")
    reasons = {
        "empty": "a folder with no image in it",
        "text.png": "not an image",
        "zero.png": "zero bytes",
        "nothing.png": "missing file",
        "pipe.png": "not a regular file",
        "*.jpg": "missing file",
        "a\0b.png": "cannot be",
    }
    for name, reason in reasons.items():
        assert list(expand([name])) == [name]
        with pytest.raises(BadImage, match=reason):
            read_image(name)


def test_a_folder_that_may_not_be_looked_into_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("f/closed/a.png", "f/b.png")
    scan = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(intake.os, "scandir", refuse)
    assert list(expand(["f"])) == ["f/b.png", "f/closed"]
    with pytest.raises(BadImage, match=r"a folder that cannot be read \(Permission denied\)"):
        read_image("f/closed")


def write_images(count: int, size: int = 40) -> list[str]:
    for i in range(count):
        Image.fromarray(np.full((size, size // 2), i, np.uint8)).save(f"{i}.png")
    return [f"{i}.png" for i in range(count)]


class Deadly(ImageReader):
    """A reader that some images kill, as a broken decoder does."""

    def __call__(self, image: ImageFile, number: int = 0) -> Read:
        if "deadly" in str(image):
            os._exit(3)
        return super().__call__(image, number)


Way = Callable[..., Generator[Read, None, None]]
WAYS = [(by_threads, 0), (by_threads, 1), (by_threads, 3), (by_processes, 1), (by_processes, 2)]


@pytest.mark.parametrize(("way", "workers"), WAYS)
def test_images_come_in_their_order_with_a_reason_where_they_cannot_be_read(way: Way, workers: int) -> None:
    names = [*write_images(9), "nothing.png", "0.png"]
    found = list(way(ImageReader(32), names, workers, 4))
    assert [each.file for each in found] == names
    assert [each.reason for each in found] == [""] * 9 + ["missing file", ""]
    for i in range(9):
        assert np.array_equal(found[i].image, square(np.full((40, 20), i, np.uint8), 32))


@pytest.mark.parametrize(("way", "workers"), WAYS)
def test_no_more_images_are_taken_than_may_wait(way: Way, workers: int) -> None:
    taken: list[str] = []

    def names() -> Iterator[str]:
        for i in itertools.count():
            taken.append(f"{i}.png")
            yield taken[-1]

    images: Generator[Read, None, None] = way(ImageReader(8), names(), workers, 6)
    assert taken == []
    for number in range(1, 4):
        assert next(images).reason == "missing file"
        assert len(taken) <= number + 5
    images.close()


@pytest.mark.parametrize("way", [by_threads, by_processes])
def test_arrays_are_images_too_and_what_is_none_is_refused(way: Way) -> None:
    good = np.arange(64, dtype=np.uint8).reshape(8, 8)
    found = list(way(ImageReader(8), [good, good[..., None]], 1, 4))
    assert [each.file for each in found] == ["array 0", "array 1"]
    assert all(np.array_equal(each.image, good) for each in found)
    for bad in (good.astype(float), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8), np.uint8), np.zeros(8, np.uint8)):
        with pytest.raises(UsageError, match="an image is a gray uint8 array"):
            list(way(ImageReader(8), [bad], 1, 4))


def test_an_image_that_kills_its_reader_costs_one_prediction() -> None:
    names = write_images(7)
    names.insert(2, "deadly-a.png")
    names.insert(3, "deadly-b.png")
    names.append("deadly-c.png")
    found = list(by_processes(Deadly(16), names, 2, 4))
    assert [each.file for each in found] == names
    assert [each.reason for each in found] == [CRASHED if "deadly" in name else "" for name in names]


def test_readers_that_die_on_image_after_image_end_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_CRASHES", 1)
    with pytest.raises(ZooError, match=r"processes died on 2 images.*--workers 1"):
        list(by_processes(Deadly(16), ["deadly-1.png", "deadly-2.png"], 1, 4))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    names = write_images(5, 200)

    def peak(images: Iterable[str]) -> int:
        tracemalloc.start()
        for _ in by_threads(ImageReader(64), images, 2, 40):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(names)
    few, many = peak(names * 40), peak(itertools.islice(itertools.cycle(names), 3000))
    assert many < few + 300_000  # bytes; 3,000 images are 12 MB


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_from_windows_keeps_its_first_image(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("f/a.png", "b.png")
    typed(monkeypatch, "f\\a.png\r\nb.png\r\n".encode(encoding))
    assert list(expand(["-"])) == ["f/a.png", "b.png"]


def test_the_views_of_a_run_are_those_of_its_training_images(here: Path) -> None:
    head = "image,patient,split,view\n"
    for rows, views in {
        "a,1,train,PA\nb,2,train,AP\nc,3,test,LATERAL\n": {"PA", "AP"},
        "a,1,train,PA\nb,2,train,\n": {"PA"},
        "a,1,train,\nb,2,test,PA\n": None,
    }.items():
        Path("images.csv").write_text(head + rows)
        assert views_seen(Run(here)) == views
    Path("images.csv").write_text("image,patient,split\na,1,train\n")
    assert views_seen(Run(here)) is None


@pytest.mark.parametrize(
    "table",
    [None, b"", b"image,patient\na,1\n", b"image,patient,split,view\nb,2,test,PA\n", b'"image,\xff\xfe\n', b"\0" * 40],
)
def test_a_run_whose_views_cannot_be_known_is_refused_unless_forced(
    here: Path, table: bytes | None, logged: list[str]
) -> None:
    if table is not None:
        Path("images.csv").write_bytes(table)
    with pytest.raises(DataError, match=r"which views the run .* saw is not known.*images\.csv.*--force"):
        views_seen(Run(here))
    assert views_seen(Run(here), unknown=True) is None
    assert any("the views of images are not checked" in line for line in logged)
