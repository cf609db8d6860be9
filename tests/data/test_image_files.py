"""One answer to which files are images: the reader of class folders and prediction find the same ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.decode import decode
from zoo.data.formats import AVIF
from zoo.data.image_files import ENDINGS, image_files, is_hidden
from zoo.datasets.folder import scan
from zoo.inference.intake import expand

WRITTEN = {".dcm", ".dicom", ".dic", ".j2c"}  # not by Pillow from their ending
LEFT = (
    *(".ipynb_checkpoints/a-checkpoint.png", "ill/.ipynb_checkpoints/a.png", "__MACOSX/ill/._a.png", "ill/._a.png"),
    *("ill/@eaDir/a.png", ".git/a.png", "ill/notes.txt", "ill/Thumbs.db", "ill/masks/a.png", "ill/Lung masks/a.png"),
)
KEPT = ("ill/images/a.png", "ill/b.jp2", "ill/c.gif", "ill/d.pgm", "ill/e.jpe", "ill/f.jfif", "normal/masks/a.png")


def write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    form = {".jp2": "JPEG2000", ".gif": "GIF", ".pgm": "PPM"}.get(file.suffix, "PNG")
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(file, form)


def test_class_folders_and_prediction_find_the_same_images(tmp_path: Path) -> None:
    for name in (*LEFT, *KEPT):
        write(tmp_path / name)
    images, other = scan(tmp_path)
    assert sorted(each.image for each in images) == sorted(KEPT)
    assert {each.name for each in images} == {"ill", "normal"}
    assert sorted(os.path.relpath(each, tmp_path) for each in expand([str(tmp_path)])) == sorted(KEPT)
    reasons = dict(other)
    assert reasons["ill/.ipynb_checkpoints"] == reasons["__MACOSX/"] == "a hidden folder"
    assert reasons["ill/masks"] == reasons["ill/Lung masks"] == "a folder of masks beside one of images"
    assert reasons["ill/._a.png"] == "a hidden file"
    assert reasons["ill/notes.txt"] == "not an image file (.txt)"


@pytest.mark.parametrize("ending", sorted(ENDINGS - WRITTEN))
def test_every_ending_is_one_that_can_be_read(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a{ending}"
    Image.fromarray(np.full((8, 8), 90, np.uint8)).convert("1" if ending == ".pbm" else "RGB").save(
        file, {".jpe": "JPEG", ".jpx": "JPEG2000"}.get(ending)
    )
    assert decode(file)[0].shape == (8, 8)
    assert [each for each, reason in image_files(str(tmp_path)) if not reason] == [str(file)]


def test_avif_is_an_image_where_pillow_reads_it() -> None:
    assert (".avif" in ENDINGS) is AVIF is (".avif" in Image.registered_extensions())


def test_masks_alone_are_images(tmp_path: Path) -> None:
    write(tmp_path / "masks" / "a.png")
    assert [reason for _, reason in image_files(str(tmp_path))] == [""]


def test_a_class_that_begins_with_a_word_of_the_rules_is_a_class() -> None:
    assert not any(map(is_hidden, ("images", "ill.old", "_other", "macosx", "masked")))


def test_links_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "disk" / "a.png")
    write(tmp_path / "root" / "normal" / "b.png")
    (tmp_path / "root" / "ill").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "round").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "again").symlink_to(tmp_path / "root" / "normal")
    (tmp_path / "disk" / "gone.png").symlink_to("nothing")
    images, other = scan(tmp_path / "root")
    assert [each.image for each in images] == ["ill/a.png", "ill/gone.png", "normal/b.png"]
    assert dict(other) == dict.fromkeys(("ill/again", "ill/round"), "a link to a folder that is read already")
