"""Hostile requests to a running server: each gets its answer, and the next client does too."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from corpus_http import IMAGE, LIMITS, Case, cases, get, post, slow
from served_stub import Process

MEMORY_MB = 1000.0
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with Process(tmp_path_factory.mktemp("served"), **LIMITS) as process:
        yield process


def whole(received: bytes) -> bool:
    """Whether a response has come to its end."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and (length is None or len(body) >= int(length[1]))


def exchange(port: int, case: Case) -> tuple[list[int], bytes, float]:
    """The statuses of the responses to a case, all that came, and the seconds until then."""
    start, received = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in case.parts:
            try:
                if isinstance(part, bytes):
                    connection.sendall(part)
                else:
                    connection.settimeout(part)
                    if not (more := connection.recv(65_536)):
                        break
                    received += more
            except TimeoutError:
                continue
            except OSError:  # the server does not read on, and may have said why
                break
        connection.settimeout(20 if not whole(received) else 0.05)
        received += rest(connection, received, case.last)
    return [int(each) for each in STATUS.findall(received)], received, time.monotonic() - start


def rest(connection: socket.socket, before: bytes, last: bool) -> bytes:
    """What comes until a first response is whole, and with `last` what comes within a moment after it."""
    received = before
    try:
        while not whole(received) or last:
            more = connection.recv(65_536)
            if not more:
                break
            received += more
            if whole(received):
                connection.settimeout(0.05)
    except OSError:
        pass
    return received[len(before) :]


def right(case: Case, statuses: list[int], received: bytes, seconds: float) -> str:
    """What is wrong with the answer to a case; empty if nothing is."""
    first = statuses[0] if statuses else 0
    if first not in case.statuses or seconds > case.seconds:
        return (
            f"{case.name}: {statuses[:3]} after {seconds:.1f} s, expected {sorted(case.statuses)}: {received[-200:]!r}"
        )
    if case.last and len(statuses) > 1:
        return f"{case.name}: a hidden request was answered: {statuses}"
    if first >= 400 and b'{"detail":' not in received:
        return f"{case.name}: {first} without a sentence: {received[-200:]!r}"
    return ""


def test_every_hostile_request_gets_its_answer_and_the_next_client_too(server: Process) -> None:
    corpus = cases()
    assert len({case.name for case in corpus}) == len(corpus)
    assert len(corpus) + len(list(slow())) >= 150
    normal = Case("an image", (post(),), frozenset({200}))
    wrong = []
    for case in corpus:
        wrong.append(right(case, *exchange(server.port, case)))
        if found := right(normal, *exchange(server.port, normal)):
            wrong.append(f"after {case.name}: {found}")
    assert [each for each in wrong if each] == []


def test_slow_clients_are_given_up_while_others_are_served(server: Process) -> None:
    normal = Case("an image", (post(),), frozenset({200}))
    with ThreadPoolExecutor(16) as pool:
        pending = {case.name: pool.submit(lambda c=case: right(c, *exchange(server.port, c))) for case in slow()}
        while not all(each.done() for each in pending.values()):
            assert right(normal, *exchange(server.port, normal)) == ""
            time.sleep(0.05)
    assert {name: each.result() for name, each in pending.items() if each.result()} == {}


def test_the_server_is_left_as_it_was(server: Process) -> None:
    """Last: no memory, no decoder, no error in the log."""
    assert server.process.poll() is None
    assert server.peak_mb() < MEMORY_MB
    _, page, _ = exchange(server.port, Case("metrics", (get(b"/api/metrics"),), frozenset({200})))
    assert b"zoo_uploads_held_bytes 0.0" in page
    assert b"zoo_decoder_restarts_total 0.0" in page
    assert b'status="500"' not in page
    server.process.terminate()
    _, errors = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert "internal error" not in errors
    assert "Traceback" not in errors
    assert len(IMAGE) < 1000
