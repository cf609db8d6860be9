"""What the server does under load and ill will: refuse, drop, time out, and hold nothing afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from child_targets import await_end, crash, die_once, hang
from stub_server import GONE, Served, flat, part, png

from zoo.serve import decoding
from zoo.serve.decoding import Decoder, Request, Unreadable
from zoo.serve.limits import Limits

Serve = Callable[..., Served]
IMAGE = flat(99)
PATIENCE_S = 120.0  # a busy machine may take long


def held(served: Served) -> tuple[int, int]:
    state = served.app.app.state
    return state.uploads.held, state.jobs.waiting


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def stub(served: Served) -> Any:
    return served.service.classifiers["first"]


def test_a_file_over_the_limit_is_refused_by_its_length_and_by_counting(serve: Serve) -> None:
    served = serve(max_bytes=len(IMAGE))
    assert served.post(IMAGE).status_code == 200

    async def chunks() -> AsyncIterator[bytes]:
        yield IMAGE
        yield b"more"

    for body in (IMAGE + b"!", chunks()):
        got = served.client.post("/api/images", content=body)
        assert got.status_code == 413
        assert "the limit is" in got.json()["detail"]
    assert held(served) == (0, 0)


def test_a_form_is_refused_with_the_way_to_do_it(serve: Serve) -> None:
    got = serve().client.post("/api/images", files={"image": IMAGE})
    assert got.status_code == 415
    assert "--data-binary" in got.json()["detail"]


def test_a_full_queue_refuses_with_the_time_to_come_back(serve: Serve) -> None:
    served = serve(queue=2)
    stub(served).go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(served.post, IMAGE)
        until(lambda: stub(served).busy.is_set())
        others = [pool.submit(served.post, IMAGE) for _ in range(2)]
        until(lambda: held(served)[1] == 2)
        refused = served.post(IMAGE)
        stub(served).go.set()
        assert [each.result().status_code for each in (first, *others)] == [200] * 3
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert held(served) == (0, 0)
    assert served.post(IMAGE).status_code == 200


def test_uploads_that_fill_the_memory_kept_for_them_make_others_wait(serve: Serve) -> None:
    served = serve(max_bytes=1000)
    stub(served).go.clear()
    padded = IMAGE + bytes(1000 - len(IMAGE))
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(served.post, padded) for _ in range(4)]
        until(lambda: held(served)[0] == 4000)
        refused = served.post(IMAGE)
        stub(served).go.set()
        assert {each.result().status_code for each in waiting} == {200}
    assert refused.status_code == 503
    assert "retry-after" in refused.headers
    assert held(served) == (0, 0)


def test_the_image_of_a_client_that_went_away_is_dropped(serve: Serve) -> None:
    served = serve()
    stub(served).go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.post, IMAGE)
        until(lambda: stub(served).busy.is_set())
        assert served.exchange(part(IMAGE, more=False), GONE, pause=0.05)[0]["status"] == 499
        assert held(served)[1] == 0
        stub(served).go.set()
        assert first.result().status_code == 200
    assert stub(served).asked == 1
    assert served.app.app.state.jobs.dropped == 1
    assert held(served) == (0, 0)
    assert any("499" in line and "client gone" in line for line in served.lines)


def test_a_half_upload_leaves_nothing_behind(serve: Serve) -> None:
    served = serve()
    served.exchange(part(IMAGE[:50], more=True), GONE)
    assert held(served) == (0, 0)
    assert stub(served).asked == 0


@pytest.mark.parametrize("limits", [{"idle_s": 0.05}, {"upload_s": 0.05}])
def test_an_upload_that_stalls_is_given_up(serve: Serve, limits: dict[str, float]) -> None:
    served = serve(**limits)
    start, *_ = served.exchange(part(IMAGE[:50], more=True))
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert held(served) == (0, 0)


def test_an_error_inside_is_one_sentence_and_a_line_without_its_message(serve: Serve) -> None:
    served = serve()
    stub(served).error = RuntimeError("of Jane Doe")
    got = served.post(IMAGE)
    assert got.status_code == 500
    assert got.json() == {"detail": "something went wrong in the server."}
    assert any("RuntimeError in predict_one" in line for line in served.lines)
    assert "Jane" not in got.text + str(served.lines)
    stub(served).error = None
    assert served.post(IMAGE).status_code == 200


def test_lines_and_counts_name_routes_and_never_what_was_sent(serve: Serve) -> None:
    served = serve()
    served.client.get("/Doe-Jane.png?name=Doe")
    served.client.request("DOE", "/api/images?run=Doe")
    served.post(IMAGE, "/api/images?run=Doe")
    assert len(served.lines) == 3
    assert "Doe" not in str(served.lines)
    assert served.lines[2].startswith("POST /api/images 404 ")


def test_a_decoder_that_dies_or_hangs_costs_one_image(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()
    decoder = served.service.decoder
    assert served.post(IMAGE).status_code == 200

    for read, limit, reason in (
        (hang, 0.3, "takes longer than 0.3 s"),
        (crash, 120.0, "the decoder crashed on it, twice"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(decoding, "_read_safely", read)
            patch.setattr(decoder, "limits", replace(served.limits, decode_s=limit))
            got = served.post(IMAGE)
        assert got.status_code == 422
        assert reason in got.json()["detail"]
        assert served.post(IMAGE).status_code == 200

    os.kill(decoder.worker.pid, signal.SIGKILL)
    await_end(decoder.worker.pid)
    assert served.post(IMAGE).status_code == 200
    assert decoder.worker.restarts == 3


def test_a_decoder_killed_or_stopped_by_others_is_no_fault_of_the_image(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    decoder = served.service.decoder
    large = png(np.random.default_rng(0).integers(0, 256, (1800, 1800), dtype=np.uint8))
    assert len(large) > 3_000_000  # more than a pipe holds: sending it waits for a stopped process
    assert served.post(IMAGE).status_code == 200
    os.kill(decoder.worker.pid, signal.SIGSTOP)
    begin = time.monotonic()
    assert served.post(large).status_code == 200
    assert time.monotonic() - begin < served.limits.decode_s / 2  # it was not the time limit that ended it
    for number in (signal.SIGKILL, signal.SIGSTOP):
        once = partial(die_once, number, str(tmp_path / number.name))
        monkeypatch.setattr(decoding, "_read_safely", once)
        assert served.post(IMAGE).status_code == 200, number
    assert decoder.worker.restarts == 3


def test_no_image_is_blamed_where_no_decoder_starts(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serve()

    def fail() -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(served.service.decoder.worker, "start", fail)
    got = served.post(IMAGE)
    assert (got.status_code, "retry-after" in got.headers) == (503, True)


def test_a_decoder_ends_with_the_server_and_leaves_no_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    decoder = Decoder(Limits())
    with pytest.raises(Unreadable, match="not an image"):
        decoder.read(b"text", Request((8,), (None,), picture=False))
    pid = decoder.worker.pid
    assert pid is not None
    assert decoder.read(IMAGE, Request((8, 16), (None,), picture=False)).squares[16].shape == (16, 16)
    assert not list(tmp_path.iterdir())
    decoder.close()
    await_end(pid)


def test_a_thread_that_ends_takes_no_more_jobs(serve: Serve) -> None:
    served = serve()
    threads = {each for each in threading.enumerate() if each.name == "zoo-serve-jobs"}
    assert threads
    assert served.app.app.state.jobs.close()
    assert served.post(IMAGE).status_code == 503
    assert sum(each.is_alive() for each in threads) == len(threads) - 1
