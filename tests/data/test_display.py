"""What a file says of its own display holds in every format, through preparation, prediction and the server alike."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import dicom_files
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from raster_files import chunk, png_16_bit, tiff

from zoo.core.records import BadImage, Records
from zoo.data import png
from zoo.data.boxes import image_shape
from zoo.data.decode import decode, decode_bytes
from zoo.data.formats import AVIF
from zoo.data.images import FileSource
from zoo.data.resize import square
from zoo.data.store import prepare
from zoo.inference.reading import ImageReader
from zoo.serve.decoding import Request
from zoo.serve.decoding import read as read_upload

SIZE = 64
VALUES = dicom_files.image(12)  # a radiograph as the detector gives it
LOW, HIGH = np.percentile(VALUES, (0.5, 99.5), method="inverted_cdf")
SHOWN = np.rint(np.clip((VALUES - float(LOW)) / (float(HIGH) - LOW), 0, 1) * 255).astype(np.uint8)
OPAQUE = np.full_like(VALUES, 65535)
THRICE = np.dstack([VALUES] * 3)


def by_pillow(pixels: np.ndarray, form: str, mode: str = "", exif: int = 0, **options: object) -> bytes:
    stream, image = io.BytesIO(), Image.fromarray(pixels)
    if exif:
        tag = Image.Exif()
        tag[0x0112] = exif
        options["exif"] = tag
    (image.convert(mode) if mode else image).save(stream, form, **options)
    return stream.getvalue()


# what is stored of an image that is to be shown as it is, by the tag's definition: where row 0 and column 0 are seen
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda shown: shown,  # top, left
    2: lambda shown: shown[:, ::-1],  # top, right
    3: lambda shown: shown[::-1, ::-1],  # bottom, right
    4: lambda shown: shown[::-1],  # bottom, left
    5: lambda shown: shown.T,  # left, top
    6: lambda shown: shown[:, ::-1].T,  # right, top
    7: lambda shown: shown[::-1, ::-1].T,  # right, bottom
    8: lambda shown: shown[::-1].T,  # left, bottom
}


def radiographs() -> dict[str, bytes]:
    """The same radiograph in every format that holds it."""
    inverted = (4095 - VALUES).astype(np.uint16)
    content = dicom_files.content
    found = {
        "deep.dcm": content(dicom_files.dataset(VALUES, 12)),
        "inverted.dcm": content(dicom_files.dataset(inverted, 12, PhotometricInterpretation="MONOCHROME1")),
        "8-bit.dcm": content(dicom_files.dataset(SHOWN)),
        "gray.png": by_pillow(SHOWN, "PNG"),
        "rgb.png": by_pillow(SHOWN, "PNG", "RGB"),
        "rgba.png": by_pillow(SHOWN, "PNG", "RGBA"),
        "la.png": by_pillow(SHOWN, "PNG", "LA"),
        "palette.png": by_pillow(SHOWN, "PNG", "P"),
        "gray16.png": png_16_bit(VALUES),
        "rgb16.png": png_16_bit(THRICE),
        "rgba16.png": png_16_bit(np.dstack([THRICE, OPAQUE])),
        "la16.png": png_16_bit(np.dstack([VALUES, OPAQUE])),
        "gray.tif": by_pillow(SHOWN, "TIFF"),
        "float.tif": tiff(VALUES.astype(np.float32) / 4095, 1),
        "white-is-zero-float.tif": tiff(-VALUES.astype(np.float32), 0, ">"),
        "gray.jpg": by_pillow(SHOWN, "JPEG", quality=95),
        "rgb.jpg": by_pillow(SHOWN, "JPEG", "RGB", quality=95),
        "gray.bmp": by_pillow(SHOWN, "BMP"),
        "gray.gif": by_pillow(SHOWN, "GIF"),
        "gray.webp": by_pillow(SHOWN, "WEBP", "RGB", lossless=True),
        "gray.jp2": by_pillow(SHOWN, "JPEG2000"),
        "gray16.jp2": by_pillow(VALUES, "JPEG2000"),
        "gray16.pgm": b"P5 %d %d 4095\n" % VALUES.shape[::-1] + VALUES.astype(">u2").tobytes(),
    }
    for order, name in (("<", "little"), (">", "big")):
        for packed in (False, True):
            found[f"gray16-{name}-{packed}.tif"] = tiff(VALUES, 1, order, packed)
            found[f"white-is-zero-{name}-{packed}.tif"] = tiff(255 - SHOWN, 0, order, packed)
            found[f"white-is-zero16-{name}-{packed}.tif"] = tiff(inverted, 0, order, packed)
            found[f"rgb16-{name}-{packed}.tif"] = tiff(THRICE, 2, order, packed)
            found[f"rgba16-{name}-{packed}.tif"] = tiff(np.dstack([THRICE, OPAQUE]), 2, order, packed)
    for turned, stored in STORED.items():
        pixels = np.ascontiguousarray(stored(SHOWN))
        for form, ending in (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp")):
            options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(form, {})
            found[f"turned-{turned}.{ending}"] = by_pillow(pixels, form, "RGB" * (form == "WEBP"), turned, **options)
        eight = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([turned]) + b"\0\0\0\0\0\0"
        found[f"turned16-{turned}.png"] = png_16_bit(np.dstack([stored(VALUES)] * 3), (b"eXIf", eight))
    if AVIF:
        found["gray.avif"] = by_pillow(SHOWN, "AVIF", "RGB", quality=95)
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("radiographs")
    found = {}
    for name, data in radiographs().items():
        found[name] = root / name
        found[name].write_bytes(data)
    return found


def difference(pixels: np.ndarray, reference: np.ndarray) -> float:
    """In gray levels, in the mean; infinite for another shape."""
    if pixels.shape != reference.shape:
        return np.inf
    return float(np.abs(pixels.astype(float) - reference).mean())


def test_the_same_radiograph_gives_the_same_pixels_whatever_its_format_and_the_way_it_comes_in(
    files: dict[str, Path], tmp_path: Path
) -> None:
    names, reference = list(files), square(SHOWN, SIZE)
    table = pd.DataFrame({"image": names, "path": names, "patient": names, "Mass": 0.0})
    source = FileSource(str(files["gray.png"].parent))
    store = prepare(Records(table, ("Mass",), source), SIZE, tmp_path, workers=0)
    assert store.table["reason"].unique().tolist() == [""]
    reader, request, wrong = ImageReader(SIZE), Request((SIZE,), (None,), False), []
    for name, file, prepared in zip(names, files.values(), store.images, strict=True):
        uploaded = read_upload(file.read_bytes(), request, 10**6)
        ways = {"prepare": prepared, "predict": reader(str(file)).image, "serve": uploaded.squares[SIZE]}
        wrong += [
            f"{name}, {way}: {difference(np.asarray(pixels), reference):.2f}"
            for way, pixels in ways.items()
            if not difference(np.asarray(pixels), reference) <= 1
        ]
        assert (uploaded.height, uploaded.width) == SHOWN.shape, name
        assert image_shape(source, name) == SHOWN.shape, name
        if not name.endswith("dcm") and difference(decode_bytes(file.read_bytes())[0], SHOWN) > 1:
            wrong.append(f"{name}, from memory")
    assert not wrong, "\n".join(wrong)


def test_notes_say_what_was_done_for_the_display(files: dict[str, Path]) -> None:
    for name in ("turned-6.jpg", "turned-6.png", "turned-6.tif", "turned16-6.png"):
        assert decode(files[name])[1].endswith("turned as its EXIF orientation says")
    for name in ("white-is-zero16-little-False.tif", "white-is-zero16-big-True.tif"):
        assert decode(files[name])[1].endswith("white is zero, inverted")
    assert decode(files["rgb16.png"])[1].startswith("RGB, converted to gray, 16-bit, scaled from its 0.5th to 99.5th")
    for name in ("turned-1.jpg", "turned-1.png", "turned-1.tif", "gray.png"):
        assert decode(files[name])[1] == ""


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", ["eXIf", "XMP"])
def test_an_orientation_is_found_before_and_after_the_pixels_of_a_png(tmp_path: Path, where: str, kind: str) -> None:
    plain, tag = by_pillow(SHOWN, "PNG"), Image.Exif()
    tag[0x0112] = 8
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x:xmpmeta tiff:Orientation="8"/>'
    added = chunk(b"eXIf", tag.tobytes()[6:]) if kind == "eXIf" else chunk(b"iTXt", text)
    at = 33 if where == "before" else plain.index(b"IEND") - 4
    (tmp_path / "a.png").write_bytes(plain[:at] + added + plain[at:])
    np.testing.assert_array_equal(decode(tmp_path / "a.png")[0], np.rot90(SHOWN))
    assert image_shape(FileSource(str(tmp_path)), "a.png") == SHOWN.shape[::-1]
    assert not png.is_plain((tmp_path / "a.png").read_bytes())


def test_damaged_or_senseless_exif_data_leave_the_pixels_as_they_are(tmp_path: Path) -> None:
    for number, tag in enumerate((0, 9, 65535)):
        file = tmp_path / f"{number}.png"
        file.write_bytes(by_pillow(SHOWN, "PNG", exif=tag))
        np.testing.assert_array_equal(decode(file)[0], SHOWN)
    broken = by_pillow(SHOWN, "JPEG", exif=6).replace(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode_bytes(broken)[0], decode_bytes(by_pillow(SHOWN, "JPEG"))[0])


@pytest.mark.parametrize("share", [0.0005, 0.01, 0.019])
@pytest.mark.parametrize("marker", [65535, 0])
def test_a_burnt_in_marker_does_not_set_the_contrast(tmp_path: Path, share: float, marker: int) -> None:
    film = VALUES + np.uint16(0 if marker else 61000)  # inverted films have theirs at zero
    marked = film.copy()
    rest = np.arange(film.size) >= round(share * film.size)
    marked.flat[~rest] = marker
    Image.fromarray(marked).save(tmp_path / "a.png")
    dicom_files.write(dicom_files.dataset(marked, 16), tmp_path / "a.dcm")
    raster, dicom = decode(tmp_path / "a.png")[0], decode(tmp_path / "a.dcm")[0]
    np.testing.assert_array_equal(raster, dicom)
    assert difference(raster.flat[rest], SHOWN.flat[rest]) < 1
    assert set(raster.flat[~rest]) == {255 if marker else 0}


def test_a_drawing_of_few_values_keeps_them(tmp_path: Path) -> None:
    drawing = np.zeros((50, 50), np.uint16)
    drawing[0, :25] = 40_000
    Image.fromarray(drawing).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png")[0], np.where(drawing, 255, 0))


def test_layouts_that_cannot_be_read_right_are_refused(tmp_path: Path) -> None:
    bits = by_pillow(np.dstack([SHOWN] * 3), "JPEG2000").replace(b"\0\x03\x07\x01\x01", b"\0\x03\x0b\x01\x01")
    with pytest.raises(BadImage, match="RGB of more than 8 bits in JPEG 2000 is not read"):
        decode_bytes(bits)
    for name, values, kind, reason in (
        ("cmyk.tif", np.dstack([THRICE, OPAQUE]), 5, "16-bit CMYK in a layout that is not read"),
        ("alpha.tif", np.dstack([VALUES, OPAQUE]), 1, "damaged, or of a layout that is not read"),
    ):
        (tmp_path / name).write_bytes(tiff(values, kind))
        with pytest.raises(BadImage, match=reason):
            decode(tmp_path / name)
