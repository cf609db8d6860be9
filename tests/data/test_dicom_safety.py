"""DICOM files are safe to read: nothing of a patient gets out, and no damage ends the process or hangs it."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import struct
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dicom_files as made
import numpy as np
import pandas as pd
import pytest
from child_targets import crash, hang
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread, uid

from zoo.core import limits
from zoo.core.errors import ZooError
from zoo.core.processes import Worker
from zoo.core.records import BadImage, Records
from zoo.data.decode import decode
from zoo.data.dicom import claimed_size, decode_dicom, pixels, subprocess_decoder
from zoo.data.formats import Kind, kind_of
from zoo.data.images import FileSource
from zoo.data.silence import without_warnings
from zoo.data.store import prepare

VALUES = made.image(12)
FRONTAL = frozenset(("PA", "AP"))


def refusal(file: Path) -> str:
    with pytest.raises(BadImage) as caught:
        decode_dicom(file)
    return str(caught.value)


# ---------------------------------------------------------------- nothing of a patient gets out


def test_nothing_identifying_reaches_a_note_a_reason_a_warning_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    files = made.planted_files(tmp_path)
    caplog.clear()  # of what writing them gave
    caplog.set_level(logging.DEBUG)
    said, read = [], 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for file in files:
            for options in ({}, {"force": True}, {"views": FRONTAL}):
                try:
                    said.append(decode_dicom(file, **options)[1])
                    read += 1
                except BadImage as error:
                    said += [str(error), repr(error.__cause__), str(error.__suppress_context__)]
    streams = capfd.readouterr()
    for text in (*said, caplog.text, *(str(each.message) for each in caught), streams.out, streams.err):
        assert not made.WORDS.search(text), text
    assert read >= 30
    assert made.WORDS.search(files[0].read_bytes().decode("latin-1"))


def test_the_planted_values_would_be_seen(tmp_path: Path) -> None:
    file = made.planted_files(tmp_path)[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert made.WORDS.search(str(dcmread(file)))
    assert any(made.WORDS.search(str(each.message)) for each in caught)


def test_nothing_identifying_reaches_a_store(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], logged: list[str]
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    names = [file.name for file in made.planted_files(root)]
    table = pd.DataFrame({"image": names, "path": names, "patient": names, "Mass": 0.0})
    store = prepare(Records(table, ("Mass",), FileSource(str(root))), 32, tmp_path / "cache", workers=2)
    assert 10 <= (store.table["reason"] == "").sum() < len(names)
    streams = capfd.readouterr()
    assert not made.WORDS.search("\n".join([*logged, streams.out, streams.err]))
    for file in store.path.rglob("*"):
        if file.suffix != ".npy" and file.is_file():
            assert not made.WORDS.search(file.read_text()), file


def test_warnings_stay_off_until_the_last_reader_is_through() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        first, second = without_warnings(), without_warnings()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        warnings.warn("GEHEIM", stacklevel=1)
        second.__exit__(None, None, None)
        assert warnings.filters == before
    assert not caught


def test_warnings_and_loggers_are_as_before_even_with_several_threads(tmp_path: Path) -> None:
    files = [made.write(made.dataset(VALUES, 12), tmp_path / f"{i}.dcm") for i in range(8)]
    logger = logging.getLogger("pydicom")
    before = list(warnings.filters)
    threads = [threading.Thread(target=decode_dicom, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
    assert not logger.disabled


# ---------------------------------------------------------------- broken files


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    root = tmp_path_factory.mktemp("broken")
    found = {}
    for name, content, pattern in made.broken():
        (root / f"{name}.dcm").write_bytes(content)
        found[root / f"{name}.dcm"] = pattern
    return found


def test_each_broken_image_has_its_reason(broken: dict[Path, str]) -> None:
    assert len(broken) >= 70
    wrong = []
    for file, pattern in broken.items():
        start = time.monotonic()
        reason = refusal(file)
        if not re.search(pattern, reason) or len(reason) > 130 or "\n" in reason or time.monotonic() - start > 10:
            wrong.append(f"{file.stem}: {reason}")
        with pytest.raises(BadImage):
            decode(file)
    assert not wrong, "\n".join(wrong)


def frames_to_damage() -> dict[str, tuple[bytes, str]]:
    return {
        "lossless": (made.jpeg_lossless(VALUES, 12), uid.JPEGLosslessSV1),
        "12-bit": (made.jpeg_12_bit(VALUES), uid.JPEGExtended12Bit),
        "wavelet": (made.jpeg_2000(VALUES, 12), uid.JPEG2000Lossless),
        "runs": (made.run_lengths(VALUES), uid.RLELossless),
        "baseline": (made.jpeg(made.image(8)), uid.JPEGBaseline8Bit),
    }


@pytest.mark.parametrize("kind", frames_to_damage())
def test_damaged_frames_never_end_the_process(tmp_path: Path, kind: str) -> None:
    frame, syntax = frames_to_damage()[kind]
    rng = np.random.default_rng(7)
    outcomes = set()
    for number in range(60):
        damaged = bytearray(frame)
        for at in rng.integers(2, len(frame) if number % 2 else min(len(frame), 300), 1 + number % 5):
            damaged[at] = rng.integers(256)
        image = made.dataset(made.image(8)) if kind == "baseline" else made.dataset(VALUES, 12)
        file = made.write_frame(image, bytes(damaged), tmp_path / "image.dcm", syntax)
        try:
            outcomes.add(decode_dicom(file)[0].shape)
        except BadImage as error:
            outcomes.add("refused" if len(str(error)) < 130 else str(error))
    assert outcomes == {VALUES.shape, "refused"}


def test_a_decoder_that_crashes_or_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made.write_frame(
        made.dataset(VALUES, 12), made.jpeg_lossless(VALUES, 12), tmp_path / "image.dcm", uid.JPEGLosslessSV1
    )
    expected = decode_dicom(file)[0]
    for codec, seconds, reason in ((crash, "120", "its decoder crashed on it"), (hang, "1", "took over 1 s")):
        with monkeypatch.context() as patch:
            patch.setattr(pixels, "decode_gdcm", codec)
            patch.setenv("ZOO_MAX_DICOM_FRAME_SECONDS", seconds)
            assert reason in refusal(file)
    np.testing.assert_array_equal(decode_dicom(file)[0], expected)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(132, 1200), value=st.binary(min_size=1, max_size=4))
def test_any_damage_to_the_header_is_survived(tmp_path: Path, at: int, value: bytes) -> None:
    content = bytearray(made.content(made.dataset(made.image(8))))
    content[at : at + len(value)] = value
    (tmp_path / "image.dcm").write_bytes(content)
    try:
        found: Any = decode_dicom(tmp_path / "image.dcm")[0].ndim
    except BadImage as error:
        found = str(error)
    assert found == 2 or len(found) < 130


def test_a_deflation_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MAX_DICOM_HEADER_BYTES", "1000000")
    image = made.dataset(made.image(8))
    image.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    content = made.content(image)
    meta = 132 + 12 + struct.unpack_from("<I", content, 140)[0]
    whole = zlib.decompress(content[meta:], -zlib.MAX_WBITS)
    long = struct.pack("<HH2sHI", 0x0009, 0x0010, b"OB", 0, 1 << 24) + bytes(1 << 24)
    for data, reason in (
        (long + whole, "its deflated header: over the limit of 1 MB, which ZOO_MAX_DICOM_HEADER_BYTES raises"),
        (whole + bytes(1 << 24), "decompression bomb: its deflated data are larger than any image"),
    ):
        deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        (tmp_path / "image.dcm").write_bytes(content[:meta] + deflate.compress(data) + deflate.flush())
        assert refusal(tmp_path / "image.dcm") == reason


def test_a_file_larger_than_an_image_can_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "image.dcm").open("wb") as stream:
        stream.write(bytes(128) + b"DICM")
        stream.truncate(limits.value("dicom_bytes") + 1)
    assert refusal(tmp_path / "image.dcm") == "the file: over the limit of 500 MB, which ZOO_MAX_IMAGE_BYTES raises"


# ---------------------------------------------------------------- the door


def test_dicom_is_known_by_its_content(tmp_path: Path) -> None:
    content = made.content(made.dataset(made.image(8)))
    assert kind_of(content[:132]) is kind_of(content[132:300]) is Kind.DICOM
    for other in (b"", b"\x89PNG\r\n\x1a\n" + bytes(200), bytes(300), b"\x08\x00", b"II*\0" + bytes(200), b"text" * 99):
        assert kind_of(other) is not Kind.DICOM
    file = made.write(made.dataset(made.image(8)), tmp_path / "image.png")
    np.testing.assert_array_equal(decode(file)[0], made.image(8))
    with pytest.raises(BadImage, match="missing file"):
        decode_dicom(tmp_path / "absent.dcm")


def test_the_size_that_a_header_claims_is_known_without_its_pixels() -> None:
    content = made.content(made.dataset(VALUES, 12))
    assert claimed_size(io.BytesIO(content[:-6000])) == (made.COLUMNS, made.ROWS)
    assert claimed_size(io.BytesIO(made.content(made.dataset(VALUES, 12, Rows=65535)))) == (made.COLUMNS, 65535)
    for other in (b"", bytes(300), bytes(128) + b"DICM", content[:200], b"text" * 99):
        with contextlib.suppress(BadImage):
            assert claimed_size(io.BytesIO(other)) is None
    for name, broken_content, _ in made.broken():
        with contextlib.suppress(BadImage):
            found = claimed_size(io.BytesIO(broken_content))
            assert found is None or min(found) > 0, name


def test_without_the_extra_there_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = made.write(made.dataset(made.image(8)), tmp_path / "image.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (decode, decode_dicom):
        with pytest.raises(ZooError, match=r"DICOM files need pydicom\. Install it: pip install 'cxr-zoo\[dicom\]'"):
            read(file)


def test_without_a_decoder_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = made.jpeg_lossless(VALUES, 12)
    file = made.write_frame(made.dataset(VALUES, 12), frame, tmp_path / "image.dcm", uid.JPEGLosslessSV1)
    without = Worker(setup=partial(exec, "import sys; sys.modules['gdcm'] = None"))
    monkeypatch.setattr(subprocess_decoder, "worker", without)
    with pytest.raises(ZooError, match=r"need python-gdcm\. Install it: pip install 'cxr-zoo\[dicom\]'"):
        decode_dicom(file)


def test_pydicom_is_imported_only_when_a_dicom_file_is_met(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    Image.fromarray(made.image(8)).save(tmp_path / "image.png")
    made.write(made.dataset(made.image(8)), tmp_path / "image.dcm")
    code = """
import sys
from pathlib import Path
from zoo.data.decode import decode
decode(Path(sys.argv[1]))
assert "pydicom" not in sys.modules
decode(Path(sys.argv[2]))
assert "pydicom" in sys.modules
"""
    done = run_python("-c", code, str(tmp_path / "image.png"), str(tmp_path / "image.dcm"))
    assert (done.returncode, done.stderr) == (0, "")
