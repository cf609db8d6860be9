"""DICOM images: what is shown of the stored values, and which of them are refused as no chest X-rays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dicom_files as made
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from zoo.core.records import BadImage
from zoo.data.dicom import decode_dicom

VALUES = made.image(12)


def shown(folder: Path, values: np.ndarray = VALUES, bits: int = 12, **attributes: Any) -> tuple[np.ndarray, str]:
    return decode_dicom(made.write(made.dataset(values, bits, **attributes), folder / "image.dcm"))


def refusal(file: Path, **options: Any) -> str:
    with pytest.raises(BadImage) as caught:
        decode_dicom(file, **options)
    return str(caught.value)


def close(pixels: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(pixels - expected).max() <= 0.5 + 1e-6


# ---------------------------------------------------------------- what is shown (PS3.3 C.11)


def linear(x: np.ndarray, c: float, w: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1, as it is printed there."""
    low, high = c - 0.5 - (w - 1) / 2, c - 0.5 + (w - 1) / 2
    inside = ((x - (c - 0.5)) / max(w - 1, 1e-9) + 0.5) * 255
    return np.where(x <= low, 0, np.where(x > high, 255, inside))


def linear_exact(x: np.ndarray, c: float, w: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.2."""
    return np.where(x <= c - w / 2, 0, np.where(x > c + w / 2, 255, ((x - c) / w + 0.5) * 255))


def sigmoid(x: np.ndarray, c: float, w: float) -> np.ndarray:
    """PS3.3 C.11.2.1.3.1."""
    return 255 / (1 + np.exp(np.minimum(-4 * (x - c) / w, 700)))


FORMULAS = {None: linear, "LINEAR": linear, "LINEAR_EXACT": linear_exact, "SIGMOID": sigmoid}


@pytest.mark.parametrize("function", FORMULAS)
@given(
    centre=st.floats(-1000, 4000).map(lambda x: round(x, 2)),
    width=st.floats(1, 5000).map(lambda x: round(x, 2)),
    slope=st.sampled_from([1.0, 0.5, -1.0, 2.25]),
    intercept=st.sampled_from([0.0, -1024.0, 100.5]),
    inverted=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_windows_follow_the_formulas_of_the_standard(
    tmp_path: Path, function: str | None, centre: float, width: float, slope: float, intercept: float, inverted: bool
) -> None:
    attributes = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    rescale = {"RescaleSlope": slope, "RescaleIntercept": intercept, "RescaleType": "US"}
    kind = "MONOCHROME1" if inverted else "MONOCHROME2"
    pixels, note = shown(tmp_path, **attributes, **rescale, PhotometricInterpretation=kind)
    expected = FORMULAS[function](VALUES * slope + intercept, centre, width)
    if np.ptp(expected) < 1:
        assert "its window shows nothing" in note
        return
    assert "its window" in note
    close(pixels, 255 - expected if inverted else expected)
    assert ("MONOCHROME1, inverted" in note) == inverted


@pytest.mark.parametrize("function", [None, "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [False, True])
def test_windows_are_pydicom_s(tmp_path: Path, function: str | None, signed: bool) -> None:
    values = VALUES.astype(np.int16) - 2048 if signed else VALUES
    window = {"WindowCenter": [40 if signed else 1900, 1], "WindowWidth": [1500, 2], "VOILUTFunction": function}
    image = made.dataset(values, 12, **window, RescaleSlope=1, RescaleIntercept=0)
    pixels, _ = decode_dicom(made.write(image, tmp_path / "image.dcm"))
    reference = apply_voi_lut(apply_modality_lut(values, image), image).astype(float)
    low, high = (-2048, 2047) if signed else (0, 4095)
    close(pixels, (reference - low) / (high - low) * 255)


def curve(count: int, bits: int) -> np.ndarray:
    return (((np.arange(count) / (count - 1)) ** 1.7) * ((1 << bits) - 1)).astype(np.uint16)


@pytest.mark.parametrize("first", [0, 500])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_voi_lut_is_pydicom_s_and_goes_before_a_window(tmp_path: Path, first: int, bits: int) -> None:
    image = made.dataset(VALUES, 12, WindowCenter=10, WindowWidth=5)
    image.VOILUTSequence = [made.lut(curve(3000, bits), first, bits), made.lut(curve(9, 8), 0, 8)]
    pixels, note = decode_dicom(made.write(image, tmp_path / "image.dcm"))
    close(pixels, apply_voi_lut(VALUES, image).astype(float) / ((1 << bits) - 1) * 255)
    assert note == "12-bit, its VOI LUT"


def test_a_voi_lut_for_negative_values(tmp_path: Path) -> None:
    values = VALUES.astype(np.int16) - 2048
    image = made.dataset(values, 12)
    image.VOILUTSequence = [made.lut(curve(4096, 12), -2048, 12, signed=True)]
    pixels, _ = decode_dicom(made.write(image, tmp_path / "image.dcm"))
    close(pixels, curve(4096, 12)[VALUES] / 4095 * 255)


def test_a_lut_of_bytes_one_of_bytes_in_words_and_one_of_65536_entries(tmp_path: Path) -> None:
    image = made.dataset(VALUES, 12)
    for dtype in ("u1", "<u2"):  # the second is not quite right, and common (C.11.1.1.1)
        item = made.lut(curve(4096, 8), 0, 8)
        item["LUTData"].value = curve(4096, 8).astype(dtype).tobytes()
        image.VOILUTSequence = [item]
        close(decode_dicom(made.write(image, tmp_path / "image.dcm"))[0], curve(4096, 8)[VALUES])
    image.VOILUTSequence = [made.lut(curve(65536, 16), 0, 16)]
    deep = made.image(16)
    image = made.dataset(deep, 16)
    image.VOILUTSequence = [made.lut(curve(65536, 16), 0, 16)]
    close(decode_dicom(made.write(image, tmp_path / "image.dcm"))[0], curve(65536, 16)[deep] / 65535 * 255)


def test_the_modality_lut_comes_before_the_window(tmp_path: Path) -> None:
    image = made.dataset(VALUES, 12, WindowCenter=30000, WindowWidth=40000)
    image.ModalityLUTSequence = [made.lut(curve(4096, 16), 0, 16)]
    pixels, note = decode_dicom(made.write(image, tmp_path / "image.dcm"))
    close(pixels, linear(apply_modality_lut(VALUES, image).astype(float), 30000, 40000))
    assert "Modality LUT" in note


def test_a_deep_image_without_a_window_is_shown_between_percentiles(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[:2, :8] = 4095  # a lead marker: fewer than .5% of the pixels
    pixels, note = shown(tmp_path, values)
    low, high = (float(p) for p in np.percentile(values, (0.5, 99.5), method="inverted_cdf"))
    close(pixels, np.clip((values - low) / (high - low), 0, 1) * 255)
    assert note == "12-bit, no window: 0.5th to 99.5th percentile"
    np.testing.assert_array_equal(pixels, shown(tmp_path, values)[0])


def test_an_image_of_8_bits_without_a_window_is_shown_as_it_is(tmp_path: Path) -> None:
    values = made.image(8) // 2
    np.testing.assert_array_equal(shown(tmp_path, values, 8)[0], values)
    pixels, _ = shown(tmp_path, values, 8, RescaleSlope=-1, RescaleIntercept=255)
    np.testing.assert_array_equal(pixels, 255 - values)
    np.testing.assert_array_equal(shown(tmp_path, values // 8, 4)[0], values // 8 * 17)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"WindowCenter": 90000, "WindowWidth": 10}, "its window shows nothing"),
        ({"WindowCenter": 2000, "WindowWidth": 0}, "its window is not valid"),
        ({"WindowCenter": 2000, "WindowWidth": -5, "VOILUTFunction": "SIGMOID"}, "its window is not valid"),
        ({"WindowCenter": 2000}, "its window is not valid"),
    ],
)
def test_a_window_that_shows_nothing_gives_way_to_the_default(tmp_path: Path, window: Any, said: str) -> None:
    pixels, note = shown(tmp_path, **window)
    np.testing.assert_array_equal(pixels, shown(tmp_path)[0])
    assert said in note


def test_a_broken_lut_or_rescale_is_left_out(tmp_path: Path) -> None:
    plain = shown(tmp_path)[0]
    image = made.dataset(VALUES, 12)
    item = made.lut(curve(4096, 12), 0, 12)
    item["LUTData"].value = b"\0\1"
    image.VOILUTSequence = [item]
    np.testing.assert_array_equal(decode_dicom(made.write(image, tmp_path / "image.dcm"))[0], plain)
    pixels, note = shown(tmp_path, RescaleSlope=0, RescaleIntercept=5)
    np.testing.assert_array_equal(pixels, plain)
    assert "not valid" in note


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_becomes_black_and_does_not_set_the_contrast(tmp_path: Path, kind: str) -> None:
    values = VALUES.copy()
    values[:, :10] = 0
    values[:, 10:12] = 3
    padded = {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 3, "PhotometricInterpretation": kind}
    pixels, note = shown(tmp_path, values, **padded)
    assert not pixels[:, :12].any()
    rest = shown(tmp_path, np.ascontiguousarray(values[:, 12:]), PhotometricInterpretation=kind)[0]
    np.testing.assert_array_equal(pixels[:, 12:], rest)
    assert "padding black" in note
    negative = values.astype(np.int16) - 2048
    pixels, _ = shown(tmp_path, negative, PixelPaddingValue=-2048, PixelPaddingRangeLimit=-2045)
    assert not pixels[:, :12].any()


def test_a_constant_image_and_one_all_padding_are_read(tmp_path: Path) -> None:
    for attributes in ({}, {"PixelPaddingValue": 7}, {"WindowCenter": 7, "WindowWidth": 1}):
        assert shown(tmp_path, np.full((9, 9), 7, np.uint16), **attributes)[0].shape == (9, 9)


def test_a_contradicting_presentation_lut_shape_is_noted(tmp_path: Path) -> None:
    assert "not followed" not in shown(tmp_path, PresentationLUTShape="IDENTITY")[1]
    pixels, note = shown(tmp_path, PresentationLUTShape="INVERSE")
    assert "(2050,0020) PresentationLUTShape is INVERSE, not followed" in note
    np.testing.assert_array_equal(pixels, shown(tmp_path)[0])


def test_gray_in_colour_is_taken_and_colour_is_not(tmp_path: Path) -> None:
    gray = made.image(8)
    for planar, rgb in ((0, np.dstack([gray] * 3)), (1, np.stack([gray] * 3))):
        image = made.dataset(np.dstack([gray] * 3), PlanarConfiguration=planar)
        image.PixelData = np.ascontiguousarray(rgb).tobytes()
        pixels, note = decode_dicom(made.write(image, tmp_path / "image.dcm"))
        np.testing.assert_array_equal(pixels, gray)
        assert note == "RGB, converted to gray"
    neutral = np.full_like(gray, 128)
    image = made.dataset(np.dstack([gray, neutral, neutral]), PhotometricInterpretation="YBR_FULL")
    np.testing.assert_array_equal(decode_dicom(made.write(image, tmp_path / "image.dcm"))[0], gray)
    colour = np.dstack([gray, 255 - gray, gray // 2])
    file = made.write(made.dataset(colour), tmp_path / "image.dcm")
    assert refusal(file) == "a picture in colour, not an image: (0028,0004) PhotometricInterpretation is RGB"
    luma = np.asarray(Image.fromarray(colour).convert("L")).astype(int)
    assert np.abs(decode_dicom(file, force=True)[0] - luma).max() <= 1
    image = made.dataset(np.dstack([gray] * 3), PhotometricInterpretation="YBR_FULL_422")
    file = made.write_frame(image, made.jpeg(np.dstack([gray] * 3)), tmp_path / "image.dcm", uid.JPEGBaseline8Bit)
    assert np.abs(decode_dicom(file)[0].astype(int) - gray).max() <= 8


# ---------------------------------------------------------------- is it a chest X-ray?


def note_of(folder: Path, views: frozenset[str] | None = None, **attributes: Any) -> str:
    image = made.dataset(made.image(8), **attributes)
    return decode_dicom(made.write(image, folder / "image.dcm"), views=views)[1]


def refused(folder: Path, views: frozenset[str] | None = None, **attributes: Any) -> str:
    file = made.write(made.dataset(made.image(8), **attributes), folder / "image.dcm")
    reason = refusal(file, views=views)
    pixels, note = decode_dicom(file, views=views, force=True)
    np.testing.assert_array_equal(pixels, made.image(8))
    assert note == f"taken although {reason}"
    return reason


@pytest.mark.parametrize("modality", ["CR", "DX", "RG", "DR"])
def test_radiographs_are_taken(tmp_path: Path, modality: str) -> None:
    assert note_of(tmp_path, Modality=modality) == ""


def test_other_modalities_and_body_parts_are_refused_with_tag_and_value(tmp_path: Path) -> None:
    assert refused(tmp_path, Modality="CT") == "not a chest X-ray: (0008,0060) Modality is CT"
    assert refused(tmp_path, BodyPartExamined="HAND") == "not a chest X-ray: (0018,0015) BodyPartExamined is HAND"
    assert "BodyPartExamined is ABDOMEN" in refused(tmp_path, BodyPartExamined="Abdomen ")
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "85562004", "SCT", "DOE^JANE"
    reason = refused(tmp_path, BodyPartExamined=None, AnatomicRegionSequence=[region])
    assert reason == "not a chest X-ray: (0008,2218) AnatomicRegionSequence is HAND"
    region.CodeValue = "51185008"
    assert note_of(tmp_path, BodyPartExamined=None, AnatomicRegionSequence=[region]) == ""


@pytest.mark.parametrize("part", ["CHEST", "chest", "THORAX", "CHEST_TO_ABD CHEST", "LUNG", "CHEST PA", "CHESTABDOMEN"])
def test_the_chest_has_many_names(tmp_path: Path, part: str) -> None:
    assert note_of(tmp_path, BodyPartExamined=part) == ""


def test_missing_attributes_are_accepted_and_noted(tmp_path: Path) -> None:
    assert note_of(tmp_path, BodyPartExamined=None, Modality=None) == "modality not given, body part not given"
    assert note_of(tmp_path, Modality="OT") == "modality not given"
    text = note_of(tmp_path, BodyPartExamined="BRUSTKORB MEIER", Modality="MEIER")
    assert text == (
        "modality not known: (0008,0060) Modality is no defined term, "
        "body part not known: (0018,0015) BodyPartExamined is no defined term"
    )
    assert "FOR PROCESSING" in note_of(tmp_path, PresentationIntentType="FOR PROCESSING")


FRONTAL = frozenset(("PA", "AP"))


def test_a_lateral_is_refused_where_frontals_were_seen(tmp_path: Path) -> None:
    kinds = "not a view that the network saw (AP, PA): "
    for position in ("LL", "RL", "LATERAL", "LAO", "RLD"):
        reason = refused(tmp_path, FRONTAL, ViewPosition=position)
        assert reason == f"{kinds}(0018,5101) ViewPosition is {position}"
        assert note_of(tmp_path, None, ViewPosition=position) == ""
    reason = refused(tmp_path, FRONTAL, ViewPosition=None, ViewCodeSequence=made.view_code("399173006"))
    assert reason == f"{kinds}(0054,0220) ViewCodeSequence is left lateral"
    assert "right lateral" in refused(
        tmp_path, FRONTAL, ViewPosition="", ViewCodeSequence=made.view_code("R-10232", "SRT")
    )
    assert "PatientPosition is LL" in refused(tmp_path, FRONTAL, ViewPosition=None, PatientPosition="LL")
    assert note_of(tmp_path, frozenset(("LATERAL",)), ViewPosition="LL") == ""
    assert "saw (LATERAL)" in refused(tmp_path, frozenset(("LATERAL",)), ViewPosition="PA")


def test_frontal_views_pass_and_unknown_ones_are_noted(tmp_path: Path) -> None:
    assert note_of(tmp_path, FRONTAL, ViewPosition="AP") == ""
    assert note_of(tmp_path, FRONTAL, ViewPosition=None, ViewCodeSequence=made.view_code("399348003")) == ""
    assert note_of(tmp_path, FRONTAL, ViewPosition=None, ViewCodeSequence=made.view_code("399033003")) == ""
    text = note_of(tmp_path, frozenset(("PA",)), ViewPosition="AP")
    assert text == "(0018,5101) ViewPosition is AP, the network saw PA only"
    assert note_of(tmp_path, FRONTAL, ViewPosition=None) == "view not given"
    assert note_of(tmp_path, FRONTAL, ViewPosition="MEIER") == "view not given"
    assert note_of(tmp_path, FRONTAL, ViewPosition=None, ViewCodeSequence=made.view_code("MEIER")) == "view not given"
