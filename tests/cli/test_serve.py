"""`zoo serve` as it is typed: what it refuses before it loads anything, and a server from its start to its end."""

from __future__ import annotations

import http.client
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import zoo
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra 'serve'")
Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def error(*words: str) -> str:
    result = zoo("serve", *words)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert "loading" not in result.stderr
    return line


def test_what_cannot_be_served_is_an_error_before_anything_is_loaded(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished()
    assert "Did you mean 'first'?" in error("firts")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 is taken" in error("first", "--port", str(port))
    assert "no host 'not a host'" in error("first", "--host", "not a host")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    assert "pip install 'cxr-zoo[serve]'" in error("first")


def test_a_run_is_served_until_a_signal(finished: Finished, tmp_path: Path) -> None:
    finished(task="multilabel")
    environment = os.environ | {"TMPDIR": str(tmp_path / "none")}
    (tmp_path / "none").mkdir()
    command = [sys.executable, "-c", "from zoo.cli.main import main; main()", "serve", "first", "--port", "0"]
    before = sorted(Path().rglob("*"))
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("first: http://127.0.0.1:"), process.stderr.read() if process.stderr else ""
        port = int(line.split("/")[2].split(":")[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        image = io.BytesIO()
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)).save(image, "PNG")
        connection.request("POST", "/api/images", image.getvalue())
        answer = json.loads(connection.getresponse().read())
        connection.request("POST", "/api/heat-maps?run=first&label=Effusion", image.getvalue())
        picture = connection.getresponse().read()
        connection.close()
        process.send_signal(signal.SIGINT)
        _, lines = process.communicate(timeout=30)
    assert process.returncode == 0, lines
    assert picture.startswith(b"\x89PNG")
    from zoo.inference.classifier import Classifier
    from zoo.runs.run import Run

    expected = Classifier.open(Run(Path("runs/first"))).predict_one(np.asarray(Image.open(image)))
    assert expected.probabilities is not None
    got = [each["probability"] for each in answer["predictions"][0]["labels"]]
    assert got == pytest.approx(expected.probabilities.tolist(), abs=1e-5)
    for part in ("loading first", "POST /api/images 200", "POST /api/heat-maps 200", "Stopped."):
        assert part in lines
    assert "Traceback" not in lines
    assert sorted(Path().rglob("*")) == before
    assert not list((tmp_path / "none").iterdir())
