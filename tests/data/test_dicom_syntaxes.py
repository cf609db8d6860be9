"""DICOM images in every transfer syntax: equal pixels from equal values, exactly where nothing was lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dicom_files as made
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.dataset import Dataset

from zoo.core.records import BadImage
from zoo.data.decode import decode
from zoo.data.dicom import decode_dicom, pixels

IMAGES = Path(__file__).parents[2].parent / "shared" / "data" / "dicom"
WINDOW = {"WindowCenter": 2000, "WindowWidth": 3500}

Writer = Callable[[np.ndarray, int, Path], Path]


def native(syntax: str) -> Writer:
    return lambda values, bits, file: made.write(made.dataset(values, bits), file, syntax)


def gdcm(name: str) -> Writer:
    return lambda values, bits, file: made.by_gdcm(made.dataset(values, bits), file, name)


def framed(encode: Callable[[np.ndarray, int], bytes], syntax: str) -> Writer:
    return lambda values, bits, file: made.write_frame(made.dataset(values, bits), encode(values, bits), file, syntax)


def compressed_by_pydicom(values: np.ndarray, bits: int, file: Path) -> Path:
    image = made.dataset(values, bits)
    image.compress(uid.RLELossless)
    image.save_as(file, enforce_file_format=True)
    return file


def predictor(number: int) -> Writer:
    return framed(lambda values, bits: made.jpeg_lossless(values, bits, number), uid.JPEGLossless)


LOSSLESS: dict[str, Writer] = {
    "implicit": native(uid.ImplicitVRLittleEndian),
    "explicit": native(uid.ExplicitVRLittleEndian),
    "big-endian": native(uid.ExplicitVRBigEndian),
    "deflated": native(uid.DeflatedExplicitVRLittleEndian),
    "rle": framed(lambda values, bits: made.run_lengths(values), uid.RLELossless),
    "rle-pydicom": compressed_by_pydicom,
    "jpeg-lossless-sv1": gdcm("JPEGLosslessProcess14_1"),
    "jpeg-lossless": gdcm("JPEGLosslessProcess14"),
    "jpeg-lossless-sv1-by-the-book": framed(made.jpeg_lossless, uid.JPEGLosslessSV1),
    **{f"jpeg-lossless-predictor-{n}": predictor(n) for n in (2, 4, 6, 7)},
    "jpeg-ls": gdcm("JPEGLSLossless"),
    "jpeg-2000": framed(made.jpeg_2000, uid.JPEG2000Lossless),
    "jpeg-2000-gdcm": gdcm("JPEG2000Lossless"),
}


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_syntax_gives_the_image_exactly(tmp_path: Path, name: str, bits: int) -> None:
    values = made.image(bits)
    assert len(np.unique(values)) > 150
    file = LOSSLESS[name](values, bits, tmp_path / "image.dcm")
    reference = made.write(made.dataset(values, bits), tmp_path / "plain.dcm")
    pixels, note = decode_dicom(file)
    np.testing.assert_array_equal(pixels, decode_dicom(reference)[0])
    if bits == 8:
        np.testing.assert_array_equal(pixels, values)
        assert note == ""
    else:
        low, high = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
        expected = np.clip((values - float(low)) / (float(high) - float(low)), 0, 1) * 255
        assert np.abs(pixels - expected).max() <= 0.5 + 1e-6
        assert note == f"{bits}-bit, no window: 0.5th to 99.5th percentile"


@pytest.mark.parametrize("name", ["implicit", "big-endian", "rle", "jpeg-lossless-sv1-by-the-book", "jpeg-2000"])
def test_signed_values_keep_their_sign(tmp_path: Path, name: str) -> None:
    values = made.image(12).astype(np.int16) - 2048
    stored = values if name == "jpeg-2000" else (values & 0x0FFF).astype(np.uint16)
    image = made.dataset(values, 12, WindowCenter=-100, WindowWidth=2500)
    file = tmp_path / "image.dcm"
    if name == "rle":
        made.write_frame(image, made.run_lengths(values), file, uid.RLELossless)
    elif name.startswith("jpeg-l"):
        made.write_frame(image, made.jpeg_lossless(stored, 12), file, uid.JPEGLosslessSV1)
    elif name == "jpeg-2000":
        made.write_frame(image, made.jpeg_2000(stored, 12), file, uid.JPEG2000Lossless)
    else:
        made.write(image, file, uid.ImplicitVRLittleEndian if name == "implicit" else uid.ExplicitVRBigEndian)
    expected = np.clip((values - (-100.5)) / 2499 + 0.5, 0, 1) * 255
    assert np.abs(decode_dicom(file)[0] - expected).max() <= 0.5 + 1e-6


def test_jpeg_baseline_gives_what_another_decoder_gives(tmp_path: Path) -> None:
    values = made.image(8)
    for file in (
        made.write_frame(made.dataset(values), made.jpeg(values), tmp_path / "a.dcm", uid.JPEGBaseline8Bit),
        made.write_frame(made.dataset(values), made.jpeg(values), tmp_path / "b.dcm", uid.JPEGExtended12Bit),
        made.by_gdcm(made.dataset(values), tmp_path / "c.dcm", "JPEGBaselineProcess1", 95),
    ):
        reading = dcmread(file)
        reading.pixel_array_options(decoding_plugin="gdcm")
        pixels = decode_dicom(file)[0].astype(int)
        assert np.abs(pixels - reading.pixel_array).max() <= 1
        assert np.abs(pixels - values).max() <= 8


def test_jpeg_of_12_bits(tmp_path: Path) -> None:
    values = made.image(12)
    image = made.dataset(values, 12, **WINDOW)
    file = made.write_frame(image, made.jpeg_12_bit(values), tmp_path / "image.dcm", uid.JPEGExtended12Bit)
    expected = decode_dicom(made.write(made.dataset(values, 12, **WINDOW), tmp_path / "plain.dcm"))[0]
    assert np.abs(decode_dicom(file)[0].astype(int) - expected).max() <= 1


def test_lossy_jpeg_2000(tmp_path: Path) -> None:
    values = made.image(12)
    image = made.dataset(values, 12, **WINDOW)
    frame = made.jpeg_2000(values, 12, ratio=4)
    file = made.write_frame(image, frame, tmp_path / "image.dcm", uid.JPEG2000)
    assert len(frame) < values.nbytes / 3
    reading = dcmread(file)
    reading.pixel_array_options(decoding_plugin="gdcm")
    expected = np.clip((reading.pixel_array - 1999.5) / 3499 + 0.5, 0, 1) * 255
    assert np.abs(decode_dicom(file)[0] - expected).max() <= 1
    plain = decode_dicom(made.write(made.dataset(values, 12, **WINDOW), tmp_path / "plain.dcm"))[0]
    assert np.abs(decode_dicom(file)[0].astype(int) - plain).mean() < 2


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("table", [True, False])
def test_a_frame_in_pieces_is_put_together(tmp_path: Path, fragments: int, table: bool) -> None:
    values = made.image(12)
    frame = made.jpeg_lossless(values, 12)
    ways = {"fragments_per_frame": fragments, "has_bot": table}
    file = made.write_frame(made.dataset(values, 12), frame, tmp_path / "a.dcm", uid.JPEGLosslessSV1, **ways)
    expected = decode_dicom(made.write(made.dataset(values, 12), tmp_path / "b.dcm"))[0]
    np.testing.assert_array_equal(decode_dicom(file)[0], expected)


def test_two_frames_that_the_header_does_not_tell_of_are_refused(tmp_path: Path) -> None:
    image = made.dataset(made.image(8))
    image.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    image.PixelData = made.encapsulate([made.jpeg(made.image(8))] * 2)
    image["PixelData"].is_undefined_length = True
    image.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    with pytest.raises(BadImage, match="has 2 frames"):
        decode_dicom(tmp_path / "image.dcm")


def test_every_syntax_that_is_read_is_one_of_the_standard_and_tested() -> None:
    known = pixels.NATIVE | {pixels.RLE} | pixels.JPEG | pixels.JPEG_LS | pixels.JPEG_2000
    assert all(uid.UID(each).is_transfer_syntax for each in known)
    assert {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1} <= known
    assert {uid.JPEG2000, uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.RLELossless} <= known
    assert {uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian} <= known


@pytest.mark.parametrize("high", [11, 13, 15])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_stored_bits_are_found_wherever_they_lie_and_others_do_not_count(
    tmp_path: Path, high: int, syntax: str
) -> None:
    values = made.image(12)
    shift = high - 11
    noise = np.random.default_rng(0).integers(0, 65536, values.shape, dtype=np.uint16)
    mixed = (values << shift) | (noise & np.uint16(~(0x0FFF << shift) & 0xFFFF))
    image = made.dataset(mixed, 12, HighBit=high)
    expected = decode_dicom(made.write(made.dataset(values, 12), tmp_path / "plain.dcm"))[0]
    if syntax == uid.RLELossless:
        file = made.write_frame(image, made.run_lengths(mixed), tmp_path / "image.dcm", syntax)
    else:
        file = made.write(image, tmp_path / "image.dcm", syntax)
    np.testing.assert_array_equal(decode_dicom(file)[0], expected)


def test_8_bits_in_16_and_in_32_and_odd_sizes(tmp_path: Path) -> None:
    values = made.image(8)
    for dtype in (np.uint16, np.uint32):
        file = made.write(made.dataset(values.astype(dtype), 8), tmp_path / "image.dcm")
        np.testing.assert_array_equal(decode_dicom(file)[0], values)
    odd = values[:33, :55]
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian):
        np.testing.assert_array_equal(decode_dicom(made.write(made.dataset(odd), tmp_path / "o.dcm", syntax))[0], odd)


def test_bytes_in_big_endian_words(tmp_path: Path) -> None:
    values = made.image(8)
    image = made.dataset(values)
    image.PixelData = np.frombuffer(values.tobytes(), "<u2").byteswap().tobytes()
    image["PixelData"].VR = "OW"
    file = made.write(image, tmp_path / "image.dcm", uid.ExplicitVRBigEndian)
    np.testing.assert_array_equal(decode_dicom(file)[0], values)
    np.testing.assert_array_equal(dcmread(file).pixel_array, values)


def test_files_without_a_preamble_or_without_any_meta_information_are_read(tmp_path: Path) -> None:
    whole = made.content(made.dataset(made.image(8)))
    data = whole.index(b"\x08\x00\x16\x00UI")
    for content in (whole[132:], whole[data:]):
        (tmp_path / "image.dcm").write_bytes(content)
        np.testing.assert_array_equal(decode(tmp_path / "image.dcm")[0], made.image(8))


def real(name: str = "test1.dcm") -> Dataset:
    if not (IMAGES / name).is_file():
        pytest.skip("the images in ../shared/data/dicom are not there")
    return dcmread(IMAGES / name)


@pytest.mark.parametrize("name", ["test1.dcm", "test2.dcm", "test3.dcm"])
def test_real_images_are_read_bit_for_bit(name: str) -> None:
    pixels, note = decode(IMAGES / name) if real(name) else (None, "")
    np.testing.assert_array_equal(pixels, real(name).pixel_array)
    assert note == ""


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    "name", ["implicit", "big-endian", "deflated", "rle-pydicom", "jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000"]
)
def test_a_real_image_in_every_syntax_and_depth(tmp_path: Path, name: str, bits: int) -> None:
    gray = real().pixel_array
    values = gray if bits == 8 else (gray.astype(np.uint16) << (bits - 8)) | (gray >> (16 - bits))
    reference = made.write(made.dataset(values, bits), tmp_path / "plain.dcm")
    pixels = decode_dicom(LOSSLESS[name](values, bits, tmp_path / "image.dcm"))[0]
    np.testing.assert_array_equal(pixels, decode_dicom(reference)[0])
    window = {"WindowCenter": 1 << (bits - 1), "WindowWidth": 1 << bits}
    shown = decode_dicom(made.write(made.dataset(values, bits, **window), tmp_path / "window.dcm"))[0]
    assert np.abs(shown.astype(int) - gray).max() <= 1
    image = made.dataset((1 << bits) - 1 - values, bits, PhotometricInterpretation="MONOCHROME1", **window)
    inverted = decode_dicom(made.write(image, tmp_path / "inverted.dcm"))[0]
    assert np.abs(inverted.astype(int) - gray).max() <= 1


def test_a_real_image_as_jpeg_baseline_is_close(tmp_path: Path) -> None:
    gray = real().pixel_array
    file = made.write_frame(made.dataset(gray), made.jpeg(gray, 100), tmp_path / "image.dcm", uid.JPEGBaseline8Bit)
    assert np.abs(decode_dicom(file)[0].astype(int) - gray).max() <= 2
