"""Images exported as TFRecord files and read again, other people's files, and damaged ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoo.config.resolve import resolve
from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.records import BadImage, Records
from zoo.core.registry import registry
from zoo.data.export import Exported, export_images
from zoo.data.store import prepare
from zoo.data.tfrecord import decode_example, encode_example, read_records, write_records
from zoo.datasets.nih import FINDINGS
from zoo.datasets.tfrecord import TFRecord, TFRecordOptions
from zoo.testing import check_dataset

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def write_nih(root: Path, images: int = 24) -> Path:
    """A root in the published layout: two images per patient, every third one wide, one damaged, one with a box."""
    (root / "images").mkdir(parents=True)
    rows = []
    lists: dict[str, list[str]] = {"train_val": [], "test": []}
    for i in range(images):
        name, patient = f"{i // 2:08}_{i % 2:03}.png", i // 2
        finding = "No Finding" if i % 3 == 0 else "|".join(sorted({FINDINGS[i % 14], FINDINGS[(i * 5) % 14]}))
        sex, view, age = ("M", "F")[patient % 2], ("PA", "AP")[i % 2], "" if i == 3 else str(20 + i)
        rows.append(f"{name},{finding},{i % 2},{patient},{age},{sex},{view}")
        lists["test" if patient % 4 == 0 else "train_val"].append(name)
        pixels = RNG.integers(0, 256, (40, 60 if i % 3 == 0 else 40), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / name)
    (root / "images" / "00000003_001.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"broken")
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    (root / "Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    for name, images in lists.items():
        (root / f"{name}_list.txt").write_text("\n".join(images) + "\n")
    box = "Image Index,Finding Label,x,y,w,h\n00000000_000.png,Mass,256,512,128,64\n"
    (root / "BBox_List_2017.csv").write_text(box)
    return root


def export(source: Path, out: Path, data: str = "nih", size: int = 32, **how: Any) -> Exported:
    layers = [{"image_size": size, "model": "tiny-cnn", "data": {"name": data, "root": str(source)}}]
    return export_images(resolve(layers, registry()), registry(), out, **how)


def read(root: Path | None, **options: str) -> Records:
    return TFRecord().read(root, TFRecordOptions(**options))


@pytest.mark.parametrize("encoding", ["png", "raw"])
def test_records_pixels_and_published_split_come_back_in_their_order(tmp_path: Path, encoding: Any) -> None:
    source, out = write_nih(tmp_path / "nih"), tmp_path / "out"
    done = export(source, out, encoding=encoding, shard_bytes=6000)
    assert len(done.shards) > 4
    assert {name.split("-")[0] for name in done.shards} == {"train", "val", "test"}
    nih = registry().get("dataset", "nih").read(source, None)
    store = prepare(nih, 32)
    good = np.flatnonzero(store.table["reason"] == "")
    assert len(good) == 23
    again = read(out)
    check_dataset(TFRecord(), out)
    expected = nih.table.iloc[good].reset_index(drop=True).drop(columns="path")
    pd.testing.assert_frame_equal(again.table[expected.columns], expected, check_dtype=False)
    assert (again.labels, again.normal, again.official_split, again.patients_known) == (
        FINDINGS,
        "No Finding",
        True,
        True,
    )
    for row, path in zip(good, again.table["path"], strict=True):
        pixels, note = again.source.read(path)
        np.testing.assert_array_equal(pixels, store.images[row])
        assert note == ""
    np.testing.assert_array_equal(prepare(again, 32, name="again").images, store.images[good])
    assert again.set_aside["image"].tolist() == ["00000003_001.png"]
    assert any("32×32 pixels" in note for note in again.notes)
    # the image is 60 wide and 40 high, so padded by 10 above and below
    box = again.boxes.iloc[0]
    assert (box["image"], box["label"]) == ("00000000_000.png", "Mass")
    corners = box[["x", "y", "width", "height"]].astype(float)
    np.testing.assert_allclose(corners, [0.25, 0.5, 0.125, 0.0625 * 40 / 60], rtol=1e-6)


def test_other_pipelines_parse_the_records(tmp_path: Path) -> None:
    import tensorflow as tf

    out = tmp_path / "out"
    done = export(write_nih(tmp_path / "nih"), out)
    metadata = json.loads((out / "metadata.json").read_text())
    spec = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
        "labels": tf.io.FixedLenFeature([len(metadata["labels"])], tf.float32),
        "split": tf.io.FixedLenFeature([], tf.string),
        "patient": tf.io.FixedLenFeature([], tf.string),
        "age": tf.io.FixedLenFeature([], tf.float32),
        "sex": tf.io.FixedLenFeature([], tf.string),
    }
    nih = registry().get("dataset", "nih").read(tmp_path / "nih", None)
    store, table = prepare(nih, 32), nih.table.set_index("image")
    count = {"train": 0, "val": 0, "test": 0}
    for file in done.shards:
        for each in tf.data.TFRecordDataset(str(out / file)):
            found = tf.io.parse_single_example(each, spec)
            name, split = found["image/filename"].numpy().decode(), found["split"].numpy().decode()
            assert file.startswith(split)
            count[split] += 1
            row = int(np.flatnonzero(store.table["image"] == name)[0])
            np.testing.assert_array_equal(tf.io.decode_png(found["image/encoded"])[..., 0].numpy(), store.images[row])
            np.testing.assert_array_equal(found["labels"].numpy(), table.loc[name, list(FINDINGS)].astype(float))
            np.testing.assert_equal(float(found["age"].numpy()), table.loc[name, "age"])
            assert found["patient"].numpy().decode() == table.loc[name, "patient"]
    assert count == done.split
    assert (table.loc[table["split"] == "test"].shape[0]) == count["test"]


def test_an_unknown_label_stays_unknown(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(12):
        Image.fromarray(RNG.integers(0, 256, (16, 16), dtype=np.uint8)).save(images / f"{i}.png")
    rows = [f"{i}.png,{i % 2},{('', '1', '0')[i % 3]},{i * 1.5}" for i in range(12)]
    (images / "t.csv").write_text("\n".join(["image,Mass,Edema,dose", *rows]) + "\n")
    layers = [
        {"image_size": 16, "model": "tiny-cnn"},
        {"data": {"name": "csv", "root": str(images), "labels": "Mass,Edema", "keep": "dose"}},
    ]
    export_images(resolve(layers, registry()), registry(), tmp_path / "out")
    again = read(tmp_path / "out")
    np.testing.assert_array_equal(again.table["Edema"].to_numpy()[:3], [np.nan, 1, 0])
    assert again.table["dose"].tolist()[:2] == ["0.0", "1.5"]
    assert (again.patients_known, again.official_split, "split" in again.table) == (False, False, False)
    assert set(read(tmp_path / "out", split="split").table["split"]) == {"train", "val", "test"}


def test_a_column_named_as_a_feature_is_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(6):
        Image.fromarray(RNG.integers(0, 256, (16, 16), dtype=np.uint8)).save(images / f"{i}.png")
    (images / "t.csv").write_text("\n".join(["image,Mass,row", *(f"{i}.png,{i % 2},{i}" for i in range(6))]) + "\n")
    options = {"name": "csv", "root": str(images), "labels": "Mass", "keep": "row"}
    config = resolve([{"image_size": 16, "model": "tiny-cnn", "data": options}], registry())
    with pytest.raises(UsageError, match="the column 'row' has the name of a feature"):
        export_images(config, registry(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def damage(file: Path, change: Callable[[bytearray], Any]) -> None:
    data = bytearray(file.read_bytes())
    found = change(data)
    file.write_bytes(data if found is None else found)


def flip(data: bytearray) -> None:
    data[40] ^= 1


def test_damaged_records_are_set_aside_with_the_reason(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = export(write_nih(tmp_path / "nih"), out)
    damage(out / "test-00000-of-00001.tfrecord", flip)
    damage(out / "train-00000-of-00001.tfrecord", lambda data: data[:-3])
    records = read(out)
    assert len(records) == 23 - 2
    reasons = dict(zip(records.set_aside["image"], records.set_aside["reason"], strict=True))
    assert reasons["test-00000-of-00001.tfrecord, record 0"] == "damaged: its checksum is wrong"
    last = f"train-00000-of-00001.tfrecord, record {done.split['train'] - 1}"
    assert reasons[last] == "truncated; nothing behind it in the file can be read"
    assert any(note.startswith("2 records cannot be used") for note in records.notes)


def test_an_image_damaged_since_it_was_listed_is_a_bad_image_and_changes_the_fingerprint(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(write_nih(tmp_path / "nih"), out)
    records = read(out)
    paths = records.table["path"].tolist()
    before = records.source.fingerprint(paths)
    first = next(path for path in paths if path.startswith("test"))
    within = int(first.split(":")[1]) + 40
    damage(out / "test-00000-of-00001.tfrecord", lambda data: data.__setitem__(within, data[within] ^ 1))
    with pytest.raises(BadImage, match="checksum is wrong"):
        records.source.read(first)
    assert records.source.fingerprint(paths) != before
    for path in ("nowhere:0:9:00000000", "x", "x:y:9:00000000", f"{first}0", f"{first}x1", first.replace(":", ":9", 1)):
        with pytest.raises(BadImage):
            records.source.read(path)


def test_a_missing_or_strange_file_of_an_export_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(write_nih(tmp_path / "nih"), out)
    (out / "val-00000-of-00001.tfrecord").rename(out / "other.tfrecord")
    with pytest.raises(DataError, match=r"lacks 1 of its files, val-00000-of-00001\.tfrecord"):
        read(out)
    (out / "test-00000-of-00001.tfrecord").rename(out / "val-00000-of-00001.tfrecord")
    (out / "metadata.json").write_text('{"format": "zoo-images", "version": 1}')
    with pytest.raises(DataError, match="is damaged: it has no labels and no columns"):
        read(out)
    (out / "metadata.json").write_text('{"format": "zoo-images", "version": 9}')
    with pytest.raises(DataError, match="of version 9"):
        read(out)


def test_an_existing_folder_is_refused_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = write_nih(tmp_path / "nih"), tmp_path / "new" / "out"
    export(source, out)
    with pytest.raises(UsageError, match="exists already"):
        export(source, out)
    monkeypatch.setattr("zoo.data.export.shutil.disk_usage", lambda path: type("U", (), {"free": 1000}))
    with pytest.raises(ZooError, match=r"take about .* MB, but .* has only 0 MB free"):
        export(source, tmp_path / "new" / "second")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["out"]
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    left = tmp_path / "new" / ".partial-third"
    left.mkdir()
    (left / "train-00000-of-00009.tfrecord").write_bytes(b"of a process that was killed")
    export(source, tmp_path / "new" / "third")
    assert not left.exists()
    assert len(read(tmp_path / "new" / "third")) == 23


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def foreign(root: Path, each: Callable[[int], dict[str, Any]], count: int = 8, name: str = "a.tfrec") -> Path:
    root.mkdir(exist_ok=True)
    write_records(root / name, (encode_example(each(i)) for i in range(count)))
    return root


def test_class_numbers_with_names_and_raw_colour(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (8, 6, 5, 3), dtype=np.uint8)
    images[1, 0, 0] = (ord("B"), ord("M"), 0)  # as a BMP begins
    root = foreign(tmp_path / "a", lambda i: {"image_raw": images[i].tobytes(), "label": i % 2, "id": f"p{i // 2}"})
    options = {"image": "image_raw", "labels": "label", "names": "normal,pneumonia", "height": "6", "width": "5"}
    records = read(root, patient="id", **options)
    assert (records.labels, records.normal) == (("pneumonia",), "normal")
    assert records.table["pneumonia"].tolist() == [0, 1] * 4
    assert records.table["patient"].tolist()[:3] == ["p0", "p0", "p1"]
    assert records.table["image"].tolist()[:2] == ["a.tfrec#0", "a.tfrec#1"]
    pixels, note = records.source.read(records.table["path"][1])
    np.testing.assert_array_equal(pixels, np.array(Image.fromarray(images[1]).convert("L")))
    assert note == "RGB, converted to gray"
    taller = read(root, **{**options, "height": "7"})
    with pytest.raises(BadImage, match="90 bytes are not 7×5 pixels"):
        taller.source.read(taller.table["path"][0])
    foreign(root, lambda i: {"image_raw": b"", "label": i % 3})
    with pytest.raises(DataError, match="there is a class 2, and the option names has 2"):
        read(root, **options)


def test_vectors_scalars_and_text_as_labels(tmp_path: Path) -> None:
    image = png(np.zeros((4, 4), np.uint8))
    common = {"image/encoded": image, "split": "train", "age": 50, "sex": "male", "view": "pa"}
    every = foreign(
        tmp_path / "a",
        lambda i: {
            **common,
            "image/filename": f"{i}.png",
            "vector": [float(i % 2), float("nan") if i == 2 else 0.0 if i else 1.0],
            "Mass": i % 2,
            "Edema": int(i == 0),
            "text": ("No Finding", "Mass|Edema")[i % 2],
        },
    )
    by_vector = read(every, labels="vector", names="Mass,Edema")
    assert by_vector.table["Mass"].tolist() == [0, 1] * 4
    np.testing.assert_array_equal(by_vector.table["Edema"].to_numpy()[:3], [1, 0, np.nan])
    by_scalar = read(every, labels="Mass,Edema")
    assert by_scalar.table["Edema"].tolist() == [1] + [0] * 7
    by_text = read(every, labels="text")
    assert (by_text.labels, by_text.normal) == (("Edema", "Mass"), "No Finding")
    row = by_text.table.iloc[1]
    assert (row["image"], row["split"], row["age"], row["sex"], row["view"]) == ("1.png", "train", 50, "M", "PA")
    assert (row["Mass"], row["Edema"]) == (1, 1)
    with pytest.raises(DataError, match=r"has no feature 'mas'\. Did you mean 'Mass'\?.*option labels"):
        read(every, labels="mas")
    with pytest.raises(DataError, match="has 2 values per image, the option names 3"):
        read(every, labels="vector", names="a,b,c")
    with pytest.raises(DataError, match="'vector' has 2 values per image: name them with the option names"):
        read(every, labels="vector")


def test_long_numbers_of_patients_stay_apart(tmp_path: Path) -> None:
    image = png(np.zeros((4, 4), np.uint8))

    def each(i: int) -> dict[str, Any]:
        return {"image/encoded": image, "labels": i % 2, "patient": 10**9 + i // 2}

    assert read(foreign(tmp_path / "a", each)).table["patient"].tolist()[:3] == ["1000000000"] * 2 + ["1000000001"]


def test_a_root_without_usable_files_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no TFRecord files"):
        read(tmp_path)
    foreign(tmp_path, lambda i: {"image": b"x", "labels": i}, name="a-00001-of-00003.tfrecord")
    with pytest.raises(DataError, match=r"but not a-00000-of-00003\.tfrecord and 1 more"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"record 0: has no image in the feature 'image/encoded'"):
        read(foreign(tmp_path / "b", lambda i: {"image": b"x", "labels": i}))
    (tmp_path / "b" / "a.tfrec").write_text("a,b\n1,2\n" * 9)
    with pytest.raises(DataError, match="record 0: no TFRecord file"):
        read(tmp_path / "b")


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    source = write_nih(tmp_path / "nih")
    first, second = (export(source, tmp_path / name) for name in ("a", "b"))
    assert first.shards == second.shards
    for name in first.shards:
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    example = decode_example(next(read_records(first.folder / "test-00000-of-00001.tfrecord")).content)
    assert example["published_split"] == [b"test"]
