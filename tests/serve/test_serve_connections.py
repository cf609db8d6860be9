"""Connections of a running server: slow ones, half ones, too many, and its end."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from stub_server import Served, flat

from zoo.core.errors import UsageError
from zoo.serve.server import Server, bind, configuration, is_loopback, url

Serve = Callable[..., Served]
IMAGE = flat(99)
PATIENCE_S = 120.0  # a busy machine may take long


@contextmanager
def running(served: Served) -> Iterator[tuple[int, Server]]:
    """The application on a socket, in a thread; gives its port."""
    ready = threading.Event()
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(configuration(served.app, served.limits), served.app, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield port, server
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def post(port: int, data: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("POST", "/api/images", data, headers)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def opened(port: int, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    connection.sendall(data)
    return connection


def start_of_upload(size: int) -> bytes:
    return b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % size


def closed(connection: socket.socket) -> bool:
    """Whether the server ends the connection, once what it sent is read."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return True  # or else recv timed out


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def rest(connection: socket.socket) -> bytes:
    """All that the server sends until it ends the connection."""
    received = b""
    while more := connection.recv(4096):
        received += more
    return received


def test_an_image_goes_through_a_socket(serve: Serve) -> None:
    with running(serve()) as (port, _):
        assert post(port, IMAGE)[0] == 200
        assert post(port, IMAGE, Expect="100-continue")[0] == 200


def test_a_file_over_the_limit_is_refused_while_it_is_still_sent(serve: Serve) -> None:
    served = serve(max_bytes=1000)
    with running(served) as (port, _):
        status, answer = post(port, bytes(20_000_000))
        assert status == 413
        assert "20.0 MB" in answer["detail"]
        assert post(port, IMAGE)[0] == 200
    assert served.app.app.state.uploads.held == 0


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_request_whose_head_never_comes_whole_is_given_up(serve: Serve, start: bytes) -> None:
    with running(serve(idle_s=0.3)) as (port, _), opened(port, start) as connection:
        begin = time.monotonic()
        assert closed(connection)
        assert time.monotonic() - begin > 0.2


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever(serve: Serve) -> None:
    with running(serve(idle_s=0.3, max_bytes=1000)) as (port, _), opened(port, start_of_upload(5000)) as connection:
        assert b" 413 " in connection.recv(65_536)
        assert closed(connection)


def test_half_uploads_time_out_and_leave_nothing(serve: Serve) -> None:
    served = serve(idle_s=2.0)
    with running(served) as (port, server):
        halves = [opened(port, start_of_upload(5000) + IMAGE[:50]) for _ in range(20)]
        assert post(port, IMAGE)[0] == 200
        for each in halves[:10]:
            each.close()  # these are killed, the others fall silent
        for each in halves[10:]:
            assert b" 408 " in each.recv(65_536)
            assert closed(each)
            each.close()
        until(lambda: not (server.server_state.connections or served.app.app.state.uploads.held))
    assert served.service.classifiers["first"].asked == 1


def test_too_many_connections_are_turned_away_with_the_time_to_come_back(serve: Serve) -> None:
    with running(serve(connections=3)) as (port, server):
        idle = [opened(port, b"") for _ in range(3)]
        until(lambda: len(server.server_state.connections) == 3)
        with opened(port, b"") as one_more:
            answer = rest(one_more)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: " in answer
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert json.loads(body)["detail"]
        for each in idle:
            each.close()


def test_it_stops_at_once_with_a_half_upload_and_an_idle_connection_open(serve: Serve) -> None:
    with running(serve(idle_s=600, upload_s=600)) as (port, server):
        half = opened(port, start_of_upload(5000) + IMAGE[:50])
        idle = opened(port, b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in idle.recv(4096)
        server.should_exit = True
        assert b" 503 " in half.recv(4096)  # long before the upload's time is up
        half.close()
        idle.close()


def test_what_is_under_way_is_finished_before_it_stops(serve: Serve) -> None:
    served = serve()
    stub: Any = served.service.classifiers["first"]
    stub.go.clear()
    found: list[int] = []
    with running(served) as (port, server):
        client = threading.Thread(target=lambda: found.append(post(port, IMAGE)[0]))
        client.start()
        assert stub.busy.wait(PATIENCE_S)
        server.should_exit = True
        time.sleep(0.3)
        stub.go.set()
        client.join(PATIENCE_S)
    assert found == [200]


def test_a_taken_port_and_a_foreign_host_are_errors() -> None:
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is taken.*--port N"):
            bind("127.0.0.1", port)
        assert url(listener, "0.0.0.0") == f"http://127.0.0.1:{port}/"
        assert url(listener, "::1") == f"http://[::1]:{port}/"
    for host in ("203.0.113.9", "no such host", "a.invalid"):
        with pytest.raises(UsageError, match=host.replace(".", r"\.")):
            bind(host, 0)


def test_only_this_machine_reaches_a_loopback_address() -> None:
    found = {h: is_loopback(h) for h in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "192.168.1.1")}
    assert [host for host, local in found.items() if local] == ["127.0.0.1", "127.9.9.9", "::1", "localhost"]
