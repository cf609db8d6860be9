"""The server as a process: its clients do not hold each other up, and it ends when it is told to."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from served_stub import Process
from stub_server import flat

from zoo.serve.server import STOP_S

IMAGE = flat(99)
HEAD = b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def seconds_of_health(port: int) -> float:
    begin = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/health")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - begin


@contextmanager
def sending(port: int, data: bytes, clients: int) -> Iterator[None]:
    """Clients that send the data over and over, each time on a new connection."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(data)
                    connection.recv(4096)
            except OSError:
                pass

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        stop.set()
        for each in threads:
            each.join()


def test_chunks_of_one_byte_do_not_hold_others_up(tmp_path: Path) -> None:
    tiny = HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 40_000
    with Process(tmp_path) as server, sending(server.port, tiny, clients=8):
        time.sleep(0.5)
        assert max(seconds_of_health(server.port) for _ in range(10)) < 3.0  # it was ten


def test_it_ends_in_the_seconds_promised_whatever_is_under_way(tmp_path: Path) -> None:
    """A network that does not come to an end, an image in the queue, half an upload, and a client that reads nothing."""
    upload = HEAD + b"Content-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE
    unread = b"GET /api/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    with Process(tmp_path, endless=1) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
        for client, data in zip(clients, (upload, upload, upload[:-9], unread[:50_000]), strict=True):
            client.sendall(data)
        time.sleep(0.5)
        begin = time.monotonic()
        server.process.terminate()
        _, errors = server.process.communicate(timeout=60)
        assert time.monotonic() - begin < STOP_S + 1  # the machine may be busy
        assert server.process.returncode == 0
        assert "Traceback" not in errors
        for client in clients:
            client.close()
