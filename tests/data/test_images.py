"""Decoding: every kind of file people have among their images, good and bad."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from raster_files import png_16_bit, tiff

from zoo.core.records import BadImage
from zoo.data import png
from zoo.data.decode import decode
from zoo.data.formats import AVIF
from zoo.data.images import ArraySource, FileSource

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601-2 luma, the independent reference for colour to gray."""
    return rgb[..., :3].astype(float) @ np.array([0.299, 0.587, 0.114])


def reason(file: Path) -> str:
    with pytest.raises(BadImage) as caught:
        decode(file)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_eight_bit_gray_comes_back_bit_for_bit_without_a_note(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(GRAY).save(file)
    pixels, note = decode(file)
    assert pixels.dtype == np.uint8
    assert note == ""
    np.testing.assert_array_equal(pixels, GRAY)


ORIGINALS = Path(__file__).parents[2].parent / "shared" / "data" / "nih-originals" / "images"


def needs_fast_png() -> None:
    if png.fast_png() is None:
        pytest.skip("kornia_rs is not installed")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_usual_png_is_decoded_without_pillow(tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_fast_png()
    file = tmp_path / "image.png"
    Image.fromarray(RGB).convert(mode).save(file)
    by_pillow = np.asarray(Image.open(file).convert("L"))
    monkeypatch.setattr(Image, "open", None)
    pixels, note = decode(file)
    np.testing.assert_array_equal(pixels, by_pillow)
    assert pixels.flags.writeable
    assert note == ("" if mode == "L" else f"{mode}, converted to gray")


def test_pillow_serves_where_the_fast_decoder_fails_or_panics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Panic(BaseException):
        pass

    def panicking(*arguments: object) -> None:
        raise Panic

    Image.fromarray(GRAY).save(tmp_path / "image.png")
    monkeypatch.setattr(png, "fast_png", lambda: panicking)
    np.testing.assert_array_equal(decode(tmp_path / "image.png")[0], GRAY)


@pytest.mark.skipif(not ORIGINALS.is_dir(), reason="../shared/data/nih-originals is not there")
def test_published_images_have_the_same_pixels_by_either_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_fast_png()
    files = sorted(ORIGINALS.glob("*.png"))
    rgba = [file for file in files if file.read_bytes()[25] == 6]
    assert len(rgba) == 12
    chosen = [*files[::10], *rgba[:4]]
    fast = [decode(file) for file in chosen]
    monkeypatch.setattr(png, "fast_png", lambda: None)
    for file, (pixels, note) in zip(chosen, fast, strict=True):
        tolerant, said = decode(file)
        np.testing.assert_array_equal(pixels, tolerant)
        assert note == said


def test_gray_jpeg_needs_no_normalising(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / "image.jpg")
    pixels, note = decode(tmp_path / "image.jpg")
    assert (note, pixels.shape) == ("", (16, 16))
    np.testing.assert_allclose(pixels, 90, atol=1)


@pytest.mark.parametrize(
    ("dtype", "suffix", "depth"),
    [
        (np.uint16, "png", "16-bit"),
        (np.uint16, "tif", "16-bit"),
        (np.int32, "tif", "32-bit"),
        (np.float32, "tif", "float"),
    ],
)
def test_deep_images_are_shown_between_percentiles(tmp_path: Path, dtype: type, suffix: str, depth: str) -> None:
    top = {np.uint16: 4095, np.int32: 1_000_000, np.float32: 0.5}[dtype]
    values = (np.linspace(0, 1, 600).reshape(20, 30) * top).astype(dtype)
    file = tmp_path / f"deep.{suffix}"
    Image.fromarray(values).save(file)
    pixels, note = decode(file)
    low, high = np.percentile(values.astype(float), (0.5, 99.5), method="inverted_cdf")
    np.testing.assert_allclose(pixels, np.clip((values - low) / (high - low), 0, 1) * 255, atol=0.51)
    assert note.startswith(depth)
    assert note.endswith("scaled from its 0.5th to 99.5th percentile")


def test_deep_images_may_be_constant_or_hold_negative_values_but_no_nan(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 9, np.uint16)).save(tmp_path / "flat.png")
    pixels, note = decode(tmp_path / "flat.png")
    assert not pixels.any()
    assert note == "16-bit, all pixels equal: black"
    Image.fromarray(np.array([[-5.0, 0.0, 10.0]], np.float32)).save(tmp_path / "negative.tif")
    assert decode(tmp_path / "negative.tif")[0].tolist() == [[0, 85, 255]]
    Image.fromarray(np.array([[np.nan, 1.0]], np.float32)).save(tmp_path / "nan.tif")
    assert "not finite" in reason(tmp_path / "nan.tif")


def test_colour_becomes_luma_and_says_so(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    pixels, note = decode(tmp_path / "rgb.png")
    np.testing.assert_allclose(pixels, luma(RGB), atol=0.6)
    assert note == "RGB, converted to gray"


def test_rgba_drops_alpha_as_the_published_nih_files_need(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, GRAY.shape, dtype=np.uint8)
    Image.fromarray(np.dstack([GRAY, GRAY, GRAY, alpha])).save(tmp_path / "rgba.png")
    pixels, note = decode(tmp_path / "rgba.png")
    np.testing.assert_array_equal(pixels, GRAY)
    assert note == "RGBA, converted to gray"
    Image.fromarray(np.dstack([GRAY, alpha])).save(tmp_path / "la.png")
    pixels, note = decode(tmp_path / "la.png")
    np.testing.assert_array_equal(pixels, GRAY)
    assert "alpha dropped" in note


def test_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "palette.png")
    pixels, note = decode(tmp_path / "palette.png")
    np.testing.assert_allclose(pixels, luma(np.asarray(image.convert("RGB"))), atol=0.6)
    assert note == "palette, converted to gray"


def test_cmyk_reaches_gray_by_way_of_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 0, 0, 200))  # black ink only: gray 55
    image.save(tmp_path / "cmyk.tif")
    pixels, note = decode(tmp_path / "cmyk.tif")
    assert np.unique(pixels).tolist() == [55]
    assert note == "CMYK, converted to gray"


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 128).save(tmp_path / "bits.png")
    pixels, note = decode(tmp_path / "bits.png")
    np.testing.assert_array_equal(pixels, np.where(GRAY > 128, 255, 0))
    assert note == "1-bit, converted to gray"


def test_an_animated_gif_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (40, 120, 200)]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    pixels, note = decode(tmp_path / "image.gif")
    assert np.unique(pixels).tolist() == [40]
    assert "first of 3 frames" in note


def test_files_that_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image at all\n")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "text.png") == "not an image"
    assert reason(tmp_path / "empty.png") == "zero bytes"
    assert reason(tmp_path / "folder.png") == "a directory, not a file"
    assert reason(tmp_path / "absent.png") == "missing file"
    assert reason(tmp_path / "text.png" / "below.png") == "missing file"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_a_fifo_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "not a regular file"


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )
    assert reason(tmp_path / "image.png") == "not an image"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_half_a_file_is_truncated(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(RNG.integers(0, 256, (200, 200), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert reason(file) == "truncated"


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "side", [10_100, 13_000, 60_000]
)  # under Pillow's warning, between warning and error, over both
def test_a_decompression_bomb_is_refused_without_warning(tmp_path: Path, side: int) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_header(side, side))
    limit, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    assert reason(file).startswith("decompression bomb")
    assert limit == Image.MAX_IMAGE_PIXELS
    assert filters == list(warnings.filters)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small file of each format."""
    folder = tmp_path_factory.mktemp("images")
    for name in ("a.png", "a.jpg", "a.tif", "a.gif", "a.bmp", "a.webp"):
        Image.fromarray(GRAY).save(folder / name)
    Image.fromarray(GRAY.astype(np.uint16) * 7).save(folder / "deep.png")
    if AVIF:
        Image.fromarray(RGB).save(folder / "a.avif")
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(GRAY).save(folder / "turned.jpg", exif=tag)
    (folder / "deep-colour.png").write_bytes(png_16_bit(RGB.astype(np.uint16) * 7))
    (folder / "white-is-zero.tif").write_bytes(tiff(GRAY.astype(np.uint16), 0, ">"))
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_an_image_or_bad_image_and_nothing_else(
    images: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(images[data.draw(st.sampled_from(sorted(images)))])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path / "damaged"
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        pixels, _ = decode(file)
    except BadImage:
        return
    assert (pixels.dtype, pixels.ndim) == (np.uint8, 2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_png_cut_anywhere_never_gives_other_pixels(
    images: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    file = tmp_path / "cut.png"
    file.write_bytes(images["a.png"][: data.draw(st.integers(0, len(images["a.png"])))])
    try:
        pixels, _ = decode(file)
    except BadImage:
        return
    np.testing.assert_array_equal(pixels, GRAY)


def test_file_source_reads_below_its_root_only(tmp_path: Path) -> None:
    (tmp_path / "root" / "a").mkdir(parents=True)
    Image.fromarray(GRAY).save(tmp_path / "root" / "a" / "image.png")
    Image.fromarray(GRAY).save(tmp_path / "secret.png")
    (tmp_path / "root" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "root" / "circle.png").symlink_to(tmp_path / "root" / "circle.png")
    source = pickle.loads(pickle.dumps(FileSource(str(tmp_path / "root"))))
    np.testing.assert_array_equal(source.read("a/image.png")[0], GRAY)
    np.testing.assert_array_equal(source.read("a/../a/image.png")[0], GRAY)
    np.testing.assert_array_equal(source.read("link.png")[0], GRAY)
    for path in ("../secret.png", str(tmp_path / "secret.png"), "link.png/../../secret.png"):
        with pytest.raises(BadImage, match="outside the root"):
            source.read(path)
    for path in ("circle.png", "a\0b.png", "absent.png"):
        with pytest.raises(BadImage):
            source.read(path)


def test_file_fingerprint_follows_size_time_and_presence(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.fromarray(GRAY).save(tmp_path / name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    source = FileSource(str(tmp_path))
    first = source.fingerprint(["a.png", "b.png"])
    assert source.fingerprint(["a.png", "b.png"]) == first
    seen = {first, source.fingerprint(["a.png"]), source.fingerprint(["a.png", "b.png", "absent.png"])}
    os.utime(tmp_path / "a.png", ns=(10**18, 10**18 + 1))
    seen.add(source.fingerprint(["a.png", "b.png"]))
    (tmp_path / "b.png").write_bytes((tmp_path / "b.png").read_bytes() + b"x")
    os.utime(tmp_path / "b.png", ns=(10**18, 10**18))
    seen.add(source.fingerprint(["a.png", "b.png"]))
    (tmp_path / "b.png").unlink()
    seen.add(source.fingerprint(["a.png", "b.png"]))
    assert len(seen) == 6


def test_array_source_reads_rows_of_an_npz(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    np.savez_compressed(
        file,
        train_images=np.stack([GRAY, 255 - GRAY]),
        test_images=RGB[None],
        deep_images=np.array([[[0, 500, 1000]]], np.uint16),
        text_images=np.array([["a"]]),
        object_images=np.array([{}], dtype=object),
    )
    source = pickle.loads(pickle.dumps(ArraySource(str(file))))
    pixels, note = source.read("train/1")
    np.testing.assert_array_equal(pixels, 255 - GRAY)
    assert (pixels.dtype, note) == (np.uint8, "")
    pixels[:] = 0
    np.testing.assert_array_equal(source.read("train/1")[0], 255 - GRAY, err_msg="the cached array was changed")
    pixels, note = source.read("test/0")
    np.testing.assert_allclose(pixels, luma(RGB), atol=0.6)
    assert note == "RGB, converted to gray"
    assert source.read("deep/0")[0].tolist() == [[0, 128, 255]]
    bad = {
        "train/2": "2 images only",
        "val/0": "no array val_images",
        "train": "split/number",
        "train/-1": "split/number",
    }
    bad |= {"text/0": "not an image", "object/0": "cannot be read as an .npz file"}
    for path, message in bad.items():
        with pytest.raises(BadImage, match=message):
            source.read(path)
    assert len(pickle.dumps(source)) < 500


def test_array_source_notices_that_its_file_changed(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    source = ArraySource(str(file))
    with pytest.raises(BadImage, match="missing file"):
        source.read("train/0")
    np.savez(file, train_images=GRAY[None])
    os.utime(file, ns=(10**18, 10**18))
    first = source.fingerprint(["train/0"])
    assert source.read("train/0")[0][0, 0] == GRAY[0, 0]
    np.savez(file, train_images=255 - GRAY[None])
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert source.fingerprint(["train/0"]) != first
    assert source.read("train/0")[0][0, 0] == 255 - GRAY[0, 0]
    file.write_bytes(b"PK\x03\x04 but no archive")
    with pytest.raises(BadImage):
        source.read("train/0")


def test_a_relative_root_is_where_the_process_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource("images")
    for value in (10, 200):
        folder = tmp_path / str(value) / "images"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((4, 4), value, np.uint8)).save(folder / "a.png")
        monkeypatch.chdir(folder.parent)
        assert source.read("a.png")[0][0, 0] == value
