"""`zoo data`: images prepared ahead of training, and damage found and named."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_files as made
import numpy as np
import pytest
from commandline import CSV, make_images, refused, table, zoo
from pydicom import uid

FOLDER = ["--data", "folder", "--root", "images", "--image-size", "32"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def dicom_folder(count: int = 24) -> None:
    """Class folders of DICOM images in several shapes, one of them a hand."""
    for i in range(count):
        folder = Path("images", "NORMAL" if i % 2 else "SICK")
        folder.mkdir(parents=True, exist_ok=True)
        values = np.roll(made.image(12), i, axis=1)
        name = f"{i}.dcm" if i % 3 else f"1.2.840.{i}"  # without an extension of its own
        if i == 5:
            made.write(made.dataset(values, 12, BodyPartExamined="HAND"), folder / name)
        elif i % 2:
            frame = made.jpeg_lossless(values, 12)
            made.write_frame(made.dataset(values, 12), frame, folder / name, uid.JPEGLosslessSV1)
        else:
            image = made.dataset(4095 - values, 12, PhotometricInterpretation="MONOCHROME1")
            made.write(image, folder / name, uid.ImplicitVRLittleEndian)
    Path("images/NORMAL/notes.txt").write_text("not an image")


def store() -> Path:
    (found,) = Path("cache").iterdir()
    return found


def test_prepare_says_how_much_where_and_what_was_set_aside_and_why() -> None:
    dicom_folder()
    result = zoo("data", "prepare", *FOLDER)
    assert result.exit_code == 0, result.output
    assert "Preparing 24 images at 32×32 once (0 MB in " in result.stderr
    assert result.stderr.index("Preparing 24") < result.stderr.index("Split: ")
    assert f"in {store().resolve()}" in result.stdout
    assert "Prepared: 24 images at 32×32" in result.stdout
    assert "Set aside: 2 images" in result.stdout
    assert "1  not a chest X-ray: (0018,0015) BodyPartExamined is HAND" in result.stdout
    assert "1  not an image file (.txt)" in result.stdout
    images = np.load(store() / "images.npy")
    assert (images.reshape(24, -1).max(axis=1) > 200).sum() == 23
    again = zoo("data", "prepare", *FOLDER)
    assert again.exit_code == 0
    assert "Preparing" not in again.stderr


def test_forced_images_are_taken_into_a_store_of_their_own() -> None:
    dicom_folder()
    assert zoo("data", "prepare", *FOLDER).exit_code == 0
    result = zoo("data", "prepare", *FOLDER, "--set", "data.force=true", "--json")
    found = json.loads(result.stdout)
    assert found["set_aside"] == {"not an image file (.txt)": 1}
    assert len(list(Path("cache").iterdir())) == 2
    assert "taken although not a chest X-ray" in (Path(found["store"]) / "images.csv").read_text()


def test_json_has_every_figure() -> None:
    dicom_folder()
    result = zoo("data", "prepare", *FOLDER, "--json")
    found = json.loads(result.stdout)
    assert Path(found["store"]) == store().resolve()
    assert (found["images"], found["image_size"], found["task"]) == (24, 32, "binary")
    assert found["bytes"] >= 24 * 32 * 32
    assert sum(found["split"].values()) == 23
    assert found["normalised"] == 23
    assert found["set_aside"] == {
        "not a chest X-ray: (0018,0015) BodyPartExamined is HAND": 1,
        "not an image file (.txt)": 1,
    }


def test_training_finds_what_was_prepared(logged: list[str]) -> None:
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.data.pipeline import load_images

    dicom_folder()
    assert zoo("data", "prepare", *FOLDER).exit_code == 0
    logged.clear()
    layers = [{"data": {"name": "folder", "root": "images"}, "model": "tiny-cnn", "image_size": 32, "batch_size": 4}]
    images_of_training = load_images(resolve(layers, registry()), registry())
    assert images_of_training.store.path == store().resolve()
    assert not [line for line in logged if "Preparing" in line]


def test_images_outside_the_root_are_a_wish_of_their_own() -> None:
    make_images(16)
    Path("images", "in").mkdir()
    rows = [f"../{i}.png,{i},{i % 2}" for i in range(16)]
    table("image,patient,label", rows)
    Path("images/t.csv").rename("images/in/t.csv")
    words = ["data", "prepare", "--data", "csv", "--root", "images/in", "--image-size", "32"]
    refused(zoo(*words), 1, "outside the root")
    result = zoo(*words, "--allow-outside")
    assert result.exit_code == 0, result.output
    assert "Set aside: 0 images" in result.stdout
    assert zoo("data", "verify", "--data", "csv", "--root", "images/in", "--allow-outside").exit_code == 0


def test_links_are_followed_and_the_flag_is_taken_whatever_reads_the_images() -> None:
    make_images(16)
    for name in ("normal", "ill"):
        Path("disk", name).mkdir(parents=True)
    for i in range(16):
        Path(f"images/{i}.png").rename(f"disk/{('normal', 'ill')[i % 2]}/{i}.png")
    rows = [f"linked/{('normal', 'ill')[i % 2]}/{i}.png,{i},{i % 2}" for i in range(16)]
    table("image,patient,label", rows)
    Path("images/linked").symlink_to(Path("disk").resolve())
    for name in ("normal", "ill"):
        Path("classes").mkdir(exist_ok=True)
        Path("classes", name).symlink_to(Path("disk", name).resolve())
    for words in (["--data", "csv", "--root", "images"], ["--data", "folder", "--root", "classes"]):
        for flags in ([], ["--allow-outside"], ["--set", "data.allow_outside=true"]):
            result = zoo("data", "prepare", *words, "--image-size", "32", *flags)
            assert result.exit_code == 0, result.output
            assert "Prepared: 16 images" in result.stdout
            assert "Set aside: 0 images" in result.stdout


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["prepare"], 2, ["name a dataset with --data", "zoo list datasets"]),
        (["prepare", "--data", "nhi"], 2, ["Did you mean 'nih'?"]),
        (["prepare", "--data", "nih"], 2, ["needs --root DIR"]),
        (["prepare", "--data", "nih", "--root", "absent"], 2, ["absent does not exist"]),
        (["prepare", "--data", "phantom", "--set", "model.alpha=1"], 2, ["data.OPTION=VALUE only, not model"]),
        (["verify", "--root", "images"], 2, ["name it with --data"]),
        (["verify", "--data", "phantom"], 1, ["no prepared images in", "zoo data prepare --data phantom"]),
        (["verify", "--data", "phantom", "--set", "loss.x=1"], 2, ["data.OPTION=VALUE only, not loss"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: list[str], code: int, parts: list[str]) -> None:
    refused(zoo("data", *words), code, *parts)


def test_a_task_the_images_cannot_serve_is_found_before_training() -> None:
    make_images(12)
    table("image,patient,label", [f"{i}.png,{i},No Finding" for i in range(12)])
    result = zoo("data", "prepare", *CSV[CSV.index("--data") : CSV.index("--batch-size")], "--image-size", "32")
    assert result.exit_code == 1
    assert len([line for line in result.stderr.splitlines() if line.startswith("Error:")]) == 1


def prepared(*words: str) -> Path:
    result = zoo("data", "prepare", *(words or FOLDER), "--json")
    assert result.exit_code == 0, result.output
    return Path(json.loads(result.stdout)["store"])


def damage(folder: Path, row: int = 3) -> None:
    with (folder / "images.npy").open("rb+") as stream:
        stream.seek(-32 * 32 * (row + 1) + 17, 2)
        byte = stream.read(1)
        stream.seek(-1, 1)
        stream.write(bytes([byte[0] ^ 1]))


def test_verify_passes_what_is_whole_and_says_so() -> None:
    assert "Nothing is prepared in" in zoo("data", "verify").stdout
    dicom_folder()
    folder = prepared()
    for words in ([], ["--data", "folder"], ["--data", "folder", "--root", "images"]):
        result = zoo("data", "verify", *words)
        assert (result.exit_code, result.stdout) == (0, f"{folder}: 24 images at 32×32, whole\n")


def test_verify_names_damage_and_what_mends_it_and_that_mends_it() -> None:
    dicom_folder()
    folder = prepared()
    whole = (folder / "images.npy").read_bytes()
    damage(folder)
    result = zoo("data", "verify", "--data", "folder", "--root", "images")
    assert result.exit_code == 1
    assert f"{folder}: DAMAGED, 24 of 24 images: NORMAL/1.2.840.15, " in result.stdout
    assert "zoo data prepare --data folder --root images --image-size 32" in result.stderr
    assert "Traceback" not in result.output
    assert zoo("data", "verify").exit_code == 1, "damage is not forgotten before it is mended"
    mended = zoo("data", "prepare", "--data", "folder", "--root", "images", "--image-size", "32")
    assert "is damaged; what is whole is kept" in mended.stderr
    assert zoo("data", "verify").exit_code == 0
    assert (folder / "images.npy").read_bytes() == whole


@pytest.mark.parametrize("name", ["images.csv", "images.npy", "store.json", "chunks.jsonl"])
@pytest.mark.parametrize("way", ["missing", "noise", "cut"])
def test_every_part_of_a_store_counts(name: str, way: str) -> None:
    make_images(12)
    table("image,patient,label", [f"{i}.png,{i},{i % 2}" for i in range(12)])
    words = ["--data", "csv", "--root", "images", "--image-size", "32"]
    folder = prepared(*words)
    file = folder / name
    content = file.read_bytes()
    file.unlink()
    if way != "missing":
        file.write_bytes(b"\xff\0noise" * 50 if way == "noise" else content[: len(content) // 2])
    result = zoo("data", "verify", "--json")
    (found,) = json.loads(result.stdout)
    assert result.exit_code == 1, found
    assert found["damage"]
    assert f"zoo data prepare --data csv --root DIR --image-size {found['size']}" in result.stderr
    assert zoo("data", "prepare", *words).exit_code == 0
    assert zoo("data", "verify").exit_code == 0


def test_only_the_images_as_they_are_now_are_verified_where_a_root_is_given() -> None:
    dicom_folder()
    old = prepared()
    damage(old)
    made.write(made.dataset(made.image(8)), Path("images/SICK/new.dcm"))
    new = prepared()
    assert new != old
    result = zoo("data", "verify", "--data", "folder", "--root", "images")
    assert (result.exit_code, result.stdout) == (0, f"{new}: 25 images at 32×32, whole\n")
    assert zoo("data", "verify").exit_code == 1


def test_what_mends_drawn_images_takes_no_root() -> None:
    words = ["--data", "phantom", "--set", "data.patients=12", "--image-size", "32"]
    damage(prepared(*words))
    result = zoo("data", "verify")
    assert result.exit_code == 1
    assert result.stderr.rstrip().endswith("zoo data prepare --data phantom --image-size 32")


def test_a_store_prepared_in_another_way_is_out_of_use_and_not_damaged() -> None:
    dicom_folder()
    folder = prepared()
    damage(folder)
    (folder / "preparation.json").write_text('[1, "pillow"]')
    result = zoo("data", "verify")
    assert result.exit_code == 0
    assert f"{folder}: 24 images at 32×32, not used any more: prepared by another version" in result.stdout
    assert json.loads(zoo("data", "verify", "--json").stdout)[0]["outdated"]


def test_an_interrupted_preparation_is_no_damage() -> None:
    dicom_folder()
    folder = prepared()
    partial = folder.with_name(f"{folder.name}.partial")
    folder.rename(partial)
    (partial / "store.json").unlink()
    result = zoo("data", "verify")
    assert result.exit_code == 0
    assert "24 images at 32×32 finished, interrupted" in result.stdout


def test_nothing_of_a_patient_reaches_the_screen_or_the_disk() -> None:
    for name in ("NORMAL", "SICK"):
        Path("images", name).mkdir(parents=True)
        for i in range(6):
            values = np.roll(made.image(8), i + 10 * len(name), axis=1)
            made.write_planted(Path("images", name, f"planted-{i}.dcm"))
            made.write(made.dataset(values), Path("images", name, f"image-{i}.dcm"))
    made.planted_files(Path("images/SICK"))
    for words in ([], ["--json"], ["--set", "data.force=true"]):
        result = zoo("--debug", "data", "prepare", *FOLDER, *words)
        assert result.exit_code == 0, result.output
        assert not made.WORDS.search(result.stdout + result.stderr)
    assert not made.WORDS.search(zoo("data", "verify").output)
    kept = [file for file in Path("cache").rglob("*") if file.is_file() and file.suffix != ".npy"]
    assert len(kept) >= 4
    for file in kept:
        assert not made.WORDS.search(file.read_text()), file
