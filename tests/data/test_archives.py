"""Archives unpacked safely: what is refused leaves nothing, what was interrupted goes on."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.core.errors import DataError, ZooError
from zoo.data import archives
from zoo.data.archives import damaged, read_manifest, unpack

FILES = {f"images/{i}.png": bytes([i]) * (1000 + i) for i in range(6)} | {"README.txt": b"read me"}


def place(member: str) -> str | None:
    return member if member.endswith(".png") else None


def info(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    return made


def tar(file: Path, files: dict[str, bytes], extra: Sequence[tarfile.TarInfo] = ()) -> Path:
    with tarfile.open(file, "w:gz") as tape:
        tape.addfile(info("images", kind=tarfile.DIRTYPE))
        for name, content in files.items():
            tape.addfile(info(name, len(content)), io.BytesIO(content))
        for each in extra:
            tape.addfile(each)
    return file


def zipped(file: Path, files: dict[str, bytes], mode: int = 0o644) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            each = zipfile.ZipInfo(name)
            each.external_attr, each.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            pack.writestr(each, content)
    return file


def take(archive: Path, root: Path) -> archives.Unpacked:
    return unpack(archive, root, place)


def content(root: Path) -> dict[str, bytes]:
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name != "manifest.csv"}


EXPECTED = {name: data for name, data in FILES.items() if name.endswith(".png")}


@pytest.mark.parametrize("make", [tar, zipped])
def test_files_of_the_layout_are_unpacked_and_recorded(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / ("a.tar.gz" if make is tar else "a.zip"), FILES)
    root = tmp_path / "root"
    found = take(archive, root)
    assert (found.added, found.known, found.left_out) == (6, 0, 1)
    assert content(root) == EXPECTED
    manifest = read_manifest(root)
    assert {name: (e.bytes, e.sha256, e.source) for name, e in manifest.items()} == {
        name: (len(data), hashlib.sha256(data).hexdigest(), archive.name) for name, data in EXPECTED.items()
    }
    assert damaged(root, manifest) == []
    (root / "images/3.png").write_bytes(b"short")
    assert damaged(root, manifest) == ["images/3.png"]
    again = take(archive, root)  # which mends it
    assert (again.added, again.known) == (1, 5)
    assert content(root) == EXPECTED


TRAVERSALS = ["../out.png", "/tmp/out.png", "images/../../out.png", "..\\out.png", "C:\\out.png"]


@pytest.mark.parametrize("name", TRAVERSALS)
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_member_that_leads_out_is_refused_and_nothing_is_left(
    tmp_path: Path, make: Callable[..., Path], name: str
) -> None:
    archive = make(tmp_path / ("a.tar.gz" if make is tar else "a.zip"), FILES | {name: b"evil"})
    with pytest.raises(DataError, match="leads out of its folder"):
        take(archive, tmp_path / "root")
    assert sorted(p.name for p in tmp_path.iterdir()) == [archive.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tar(tmp_path / "a.tar.gz", FILES, [info("images/9.png", kind=kind, link="/etc/passwd")])
    with pytest.raises(DataError, match="is a link, a device or a sparse file"):
        take(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"images/1.png": b"/etc/passwd"}, mode=0o120777)
    with pytest.raises(DataError, match="is a link, a device or a sparse file"):
        take(archive, tmp_path / "root")


def test_a_link_below_the_root_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"precious")
    (tmp_path / "root" / "images").mkdir(parents=True)
    (tmp_path / "root" / "images" / "1.png").symlink_to(outside)
    take(tar(tmp_path / "a.tar.gz", FILES), tmp_path / "root")
    assert outside.read_bytes() == b"precious"
    assert content(tmp_path / "root") == EXPECTED


@pytest.mark.parametrize(
    "limits",
    [
        {"archive_members": 3},
        {"archive_member_bytes": 1003},
        {"archive_bytes": 4000},
        {"expansion": 1, "expansion_from": 3000},
    ],
    ids=["members", "member", "total", "expansion"],
)
@pytest.mark.parametrize("make", [tar, zipped])
def test_bombs_are_refused(
    tmp_path: Path, make: Callable[..., Path], limits: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, most in limits.items():
        monkeypatch.setenv(f"ZOO_MAX_{name.upper()}", str(most))
    archive = make(tmp_path / ("a.tar.gz" if make is tar else "a.zip"), FILES)
    with pytest.raises(DataError, match=f"over the limit of .* ZOO_MAX_{next(iter(limits)).upper()} "):
        take(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_the_usual_limits_refuse_a_bomb_of_zeros(tmp_path: Path) -> None:
    header = info("images/0.png", 3 << 30).tobuf()
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:  # it claims three gigabytes in some hundred bytes
        packed.write(header)
    with pytest.raises(DataError, match=r"'images/0\.png'.* a decompression bomb: 3\.221 GB or more from \d+ bytes"):
        take(tmp_path / "a.tar.gz", tmp_path / "root")


def test_a_header_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.tar.gz", "wb") as packed:
        packed.write(info("././@LongLink", 1 << 30, tarfile.GNUTYPE_LONGNAME).tobuf())
    with pytest.raises(DataError, match=r"a header of 1\.074 GB, over the limit of 2 MB"):
        take(tmp_path / "a.tar.gz", tmp_path / "root")


def test_no_member_takes_the_place_of_the_records(tmp_path: Path) -> None:
    names = ("manifest.csv", "archives.csv", ".unpacking/lock", "lock")
    archive = zipped(tmp_path / "a.zip", {**FILES, **dict.fromkeys(names, b"forged")})
    found = unpack(archive, tmp_path / "root", lambda member: member)
    assert (found.added, found.left_out) == (7, 4)
    assert content(tmp_path / "root") == FILES


def flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


@pytest.mark.parametrize("change", [flip, lambda data: data[:-200], lambda data: b"junk" + data[4:], lambda data: b""])
@pytest.mark.parametrize("make", [tar, zipped])
def test_a_damaged_archive_leaves_nothing(
    tmp_path: Path, make: Callable[..., Path], change: Callable[[bytes], bytes]
) -> None:
    noise = {f"{i}.png": hashlib.shake_128(bytes([i])).digest(3000) for i in range(4)}
    archive = make(tmp_path / ("a.tar.gz" if make is tar else "a.zip"), noise)
    archive.write_bytes(change(archive.read_bytes()))
    with pytest.raises(DataError, match="fetch it again"):
        take(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_checksum_at_the_very_end_counts(tmp_path: Path) -> None:
    archive = tar(tmp_path / "a.tar.gz", FILES)
    data = bytearray(archive.read_bytes())
    data[-6] ^= 1  # of gzip's CRC-32, behind everything that tar reads
    archive.write_bytes(data)
    with pytest.raises(DataError, match="CRC"):
        take(archive, tmp_path / "root")


def test_an_interrupted_unpacking_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, root = tar(tmp_path / "a.tar.gz", FILES), tmp_path / "root"
    copied: list[str] = []
    copy = archives._copy

    def interrupted(stream: Any, member: Any, file: Path | None) -> Any:
        if file is not None and len(copied) == 3:
            raise KeyboardInterrupt
        copied.extend([member.name] if file is not None else [])
        return copy(stream, member, file)

    monkeypatch.setattr(archives, "_copy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        take(archive, root)
    assert [name for name in content(root) if not name.startswith(".unpacking")] == []
    (staged,) = root.glob(".unpacking/*/images/1.png")
    staged.write_bytes(b"x" * 1001)  # as a power cut may leave it: the right size, other content

    def counted(stream: Any, member: Any, file: Path | None) -> Any:
        copied.extend([member.name] if file is not None else [])
        return copy(stream, member, file)

    monkeypatch.setattr(archives, "_copy", counted)
    copied.clear()
    assert take(archive, root).added == 6
    assert sorted(copied) == ["images/1.png", "images/3.png", "images/4.png", "images/5.png"]
    assert content(root) == EXPECTED


def test_other_content_under_a_name_that_is_there_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    take(tar(tmp_path / "a.tar.gz", FILES), root)
    other = {"images/7.png": b"new", "images/2.png": b"other"}
    with pytest.raises(DataError, match=r"images/2\.png has other content than the one of a\.tar\.gz"):
        take(zipped(tmp_path / "b.zip", other), root)
    assert content(root) == EXPECTED
    (root / "images" / "8.png").write_bytes(b"the user's own")
    with pytest.raises(DataError, match=r"8\.png, which was there before"):
        take(zipped(tmp_path / "c.zip", {"images/8.png": b"foreign"}), root)
    assert (root / "images" / "8.png").read_bytes() == b"the user's own"
    twice = {"images/7.png": b"one", "more/images/7.png": b"two"}
    with pytest.raises(DataError, match="has other content"):
        unpack(zipped(tmp_path / "d.zip", twice), root, lambda m: "images/7.png")


def test_a_full_disk_is_an_error_before_and_during(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar(tmp_path / "a.tar.gz", FILES)
    monkeypatch.setattr("zoo.data.archives.shutil.disk_usage", lambda path: type("U", (), {"free": 10}))
    with pytest.raises(ZooError, match=r"takes at least 0\.0 GB, but .* has only"):
        take(archive, tmp_path / "root")
    assert not (tmp_path / "root").exists()
    monkeypatch.undo()

    def full(*given: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "_copy", full)
    with pytest.raises(ZooError, match=r"the disk is full\. What was unpacked is kept"):
        take(archive, tmp_path / "root")
