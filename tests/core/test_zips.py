from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import DataError
from zoo.core.zips import member, open_zip, unpacked


@given(st.binary(max_size=2000), st.sampled_from([gzip.compress, bz2.compress, lzma.compress]), st.integers(1, 3))
def test_what_was_packed_is_unpacked(data: bytes, pack: object, parts: int) -> None:
    assert callable(pack)
    assert unpacked(pack(data) * parts, "table_bytes", "t.csv") == data * parts


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_limit_holds_for_what_is_unpacked(pack: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(pack)
    monkeypatch.setenv("ZOO_MAX_TABLE_BYTES", "1000")
    assert len(unpacked(pack(b"x" * 1000), "table_bytes", "t.csv")) == 1000
    with pytest.raises(DataError, match=r"t\.csv: more than 1,000 bytes, over the limit"):
        unpacked(pack(b"x" * 1001), "table_bytes", "t.csv")


def test_a_zip_file_is_closed_with_what_it_was_opened_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", b"12345")
    (tmp_path / "a.zip").write_bytes(stream.getvalue())
    with open_zip(tmp_path / "a.zip") as opened:
        assert member(opened, "a", "table_bytes", "a.zip") == b"12345"
        monkeypatch.setenv("ZOO_MAX_TABLE_BYTES", "4")
        with pytest.raises(DataError, match=r"a\.zip, member a: 5 bytes, over the limit of 4 bytes"):
            member(opened, "a", "table_bytes", "a.zip")
    with open_zip(stream, "a.zip"):
        pass
    assert not stream.closed
    monkeypatch.setenv("ZOO_MAX_ZIP_DIRECTORY_BYTES", "46")
    with (
        pytest.raises(DataError, match=r"47 bytes, over the limit of 46 bytes for the list of members"),
        open_zip(stream, "a"),
    ):
        pass
