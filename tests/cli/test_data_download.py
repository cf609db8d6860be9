"""`zoo data download`: kagglehub against a server of our own, archives fetched by hand, and what goes wrong on the way."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from commandline import refused, zoo
from PIL import Image

from zoo.data.archives import need_room

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("zoo.data.download.need_room", lambda *given: None)  # nih asks for 90 GB


def image(i: int) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(i).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def sample(images: int = 12) -> bytes:
    """An archive as Kaggle's sample: the table and the images are in it twice."""
    rows = [f"{i:08}_000.png,{'No Finding' if i % 2 else 'Mass'},0,{i},0{40 + i}Y,M,PA" for i in range(images)]
    table = "\n".join([HEADER, *rows]).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as pack:
        for top in ("", "sample/"):
            pack.writestr(f"{top}sample_labels.csv", table)
            for i in range(images):
                pack.writestr(f"{top}sample/images/{i:08}_000.png", image(i))
        pack.writestr(
            "read me.txt", hashlib.shake_128(b"long").digest(3 << 20)
        )  # kagglehub writes a megabyte at a time
    return stream.getvalue()


class Kaggle(ThreadingHTTPServer):
    """Serves one dataset as Kaggle does; `cut` ends the next answers after so many bytes, `wrong` breaks the checksum."""

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archive, self.wrong, self.status = archive, False, 200
        self.cut: int | None = None
        self.ranges: list[str | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.status != 200:
            self.send_error(self.server.status)
        elif self.path.endswith("/GetDataset"):
            answer = json.dumps({"currentVersionNumber": 4}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        else:
            self.send_response(302)
            self.send_header("Location", "/bundle")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        data, start = self.server.archive, int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        md5 = base64.b64encode(hashlib.md5(b"" if self.server.wrong else data).digest()).decode()
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("x-goog-hash", f"md5={md5}")
        self.end_headers()
        end = len(data) if self.server.cut is None else start + self.server.cut
        self.wfile.write(data[start:end])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    pytest.importorskip("kagglehub", reason="the extra 'download' is needed")
    from kagglesdk import kaggle_env

    server = Kaggle(sample())
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(
        kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, f"http://127.0.0.1:{server.server_port}"
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def check_sample(root: Path) -> None:
    assert sorted(p.name for p in (root / "images").iterdir()) == [f"{i:08}_000.png" for i in range(12)]
    assert (root / "images" / "00000003_000.png").read_bytes() == image(3)
    prepared = zoo("data", "prepare", "--data", "nih", "--root", str(root), "--image-size", "32", "--json")
    assert prepared.exit_code == 0, prepared.output
    assert json.loads(prepared.stdout)["images"] == 12


def test_the_sample_is_downloaded_into_the_layout_that_its_reader_expects(kaggle: Kaggle) -> None:
    result = zoo("data", "download", "nih-sample")
    assert result.exit_code == 0, result.output
    assert "Downloading to" not in result.stdout
    assert "In nih-sample: 13 files" in result.stdout
    assert "Next: zoo data prepare --data nih --root nih-sample" in result.stdout
    check_sample(Path("nih-sample"))
    assert not Path(".download-nih-sample").exists()
    assert len((Path("nih-sample") / "manifest.csv").read_text().splitlines()) == 14
    again = zoo("data", "download", "nih-sample", "--json")
    assert json.loads(again.stdout)["added"] == 0
    assert "downloaded before" in again.stderr
    assert len(kaggle.ranges) == 1


def test_an_interrupted_download_goes_on_where_it_stopped(kaggle: Kaggle) -> None:
    kaggle.cut = 3 << 19
    result = zoo("data", "download", "nih-sample")
    refused(
        result, 1, "nih-sample cannot be downloaded", "the connection broke off. The 1.0 MB fetched so far are kept"
    )
    assert not Path("nih-sample").exists()
    kaggle.cut = None
    assert zoo("data", "download", "nih-sample").exit_code == 0
    first, resumed = kaggle.ranges[0], kaggle.ranges[-1]
    assert first is None
    assert resumed == f"bytes={1 << 20}-"
    check_sample(Path("nih-sample"))


def test_a_corrupted_download_is_refused_and_thrown_away(kaggle: Kaggle) -> None:
    kaggle.wrong = True
    result = zoo("data", "download", "nih-sample")
    refused(result, 1, "DataCorruptionError", "By hand")
    assert not Path("nih-sample").exists()
    assert not Path(".download-nih-sample").exists()


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refusal_of_the_server_is_reported_with_the_download_by_hand(kaggle: Kaggle, status: int) -> None:
    kaggle.status = status
    result = zoo("data", "download", "nih", "--out", "images")
    refused(result, 1, "nih cannot be downloaded", str(status), "https://nihcc.app.box.com/v/ChestXray-NIHCC")
    assert "zoo data download nih --out images --archive FILE" in result.stderr
    assert "ROOT/images/00000001_000.png" in result.stderr
    assert [p.name for p in Path().iterdir() if p.name != "home"] == []


def test_without_network_or_the_extra_the_error_explains_the_download_by_hand(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kagglesdk import kaggle_env

    monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, "http://127.0.0.1:9")
    refused(zoo("data", "download", "nih"), 1, "Kaggle cannot be reached", "By hand: fetch images_001.tar.gz")
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    refused(zoo("data", "download", "nih"), 1, "pip install 'cxr-zoo[download]'", "By hand: fetch images_001.tar.gz")
    assert [p.name for p in Path().iterdir() if p.name != "home"] == []


def test_too_little_disk_space_is_an_error_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.data.download.need_room", need_room)
    monkeypatch.setattr("zoo.data.archives.shutil.disk_usage", lambda path: type("Usage", (), {"free": 40 * 10**9}))
    result = zoo("data", "download", "nih")
    refused(result, 1, "takes at least 90.0 GB, but nih has only 40.0 GB free")
    assert not list(Path().iterdir())


def test_an_unknown_name_lists_the_valid_ones() -> None:
    refused(zoo("data", "download", "nih-samples"), 2, "Did you mean 'nih-sample'", "Valid: nih, nih-sample")


def test_archives_fetched_by_hand_are_unpacked_one_after_the_other() -> None:
    archive = Path("sample.zip")
    archive.write_bytes(sample())
    rows = ["00000000_000.png", "00000001_000.png"]
    Path("test_list.txt").write_text("\n".join(rows))
    result = zoo("data", "download", "nih-sample", "--out", "d/images", "--archive", "sample.zip", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["files"], found["added"], found["left_out"]) == (13, 13, 1)
    check_sample(Path("d/images"))
    more = zoo("data", "download", "nih", "--out", "d/images", "--archive", "sample.zip", "--archive", "test_list.txt")
    assert "sample.zip: unpacked before, every file is in place" in more.stderr
    assert "14 files" in more.stdout
    assert Path("d/images/test_list.txt").read_text() == "\n".join(rows)
    Path("d/images/images/00000005_000.png").unlink()
    again = zoo("data", "download", "nih-sample", "--out", "d/images", "--archive", "sample.zip")
    assert "sample.zip: 1 files unpacked" in again.stderr
    assert not list(Path("d/images").glob(".unpacking*"))


def test_archives_that_cannot_serve_are_refused_and_nothing_is_left() -> None:
    Path("a.zip").write_bytes(sample()[:-500])
    Path("b.tar.gz").write_bytes(b"<html>Please log in</html>")
    Path("notes.txt").write_text("mine")
    with zipfile.ZipFile("other.zip", "w") as pack:
        pack.writestr("cats/1.jpg", b"cat")
    for name, part in (
        ("a.zip", "fetch it again"),
        ("b.tar.gz", "fetch it again"),
        ("notes.txt", "holds nothing that the dataset 'nih' reads"),
        ("other.zip", "holds nothing that the dataset 'nih' reads"),
    ):
        refused(zoo("data", "download", "nih", "--out", "images", "--archive", name), 1, part)
        assert not Path("images").exists()
    refused(zoo("data", "download", "nih", "--out", "images", "--archive", "none.zip"), 2, "does not exist", "By hand")


def test_what_can_be_downloaded_is_shown_with_the_dataset() -> None:
    result = zoo("info", "nih", "--json")
    assert json.loads(result.stdout)[0]["downloads"] == ["nih", "nih-sample"]
