"""Running the server: its socket, its connections, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo.core.errors import UsageError
from zoo.engine.signals import Caught
from zoo.serve.api import create_app
from zoo.serve.limits import Limits
from zoo.serve.security import SecurityMiddleware
from zoo.serve.service import InferenceService

if TYPE_CHECKING:
    from zoo.inference.classifier import Classifier

GRACE_S = 5
SILENT = 60  # above logging.CRITICAL
_LAST_CALL_S = 60.0  # for a client that does not read its response
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Type: application/json\r\nContent-Length: 36\r\n"
    b'Connection: close\r\n\r\n{"detail": "too many connections."}\n'
)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes any free one.

    Raises:
        UsageError: the port is taken or not allowed, or the host is none of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(
            f"there is no host '{host}' to listen on ({_why(error)}). Valid: an address of this machine."
        ) from error
    try:
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=128, dualstack_ipv6=both)
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: "is taken. Choose another with --port N; --port 0 takes any.",
            errno.EACCES: "is not allowed to this user. Choose one above 1023 with --port N.",
        }
        reason = reasons.get(error.errno or 0, f"cannot be listened on: {_why(error)}.")
        raise UsageError(f"port {port} on {host} {reason}") from error


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or type(error).__name__


def url(listener: socket.socket, host: str) -> str:
    """What to type into a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{name}]' if ':' in name else name}:{listener.getsockname()[1]}/"


def is_loopback(host: str) -> bool:
    """Whether a server on that host is open to this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve(
    classifiers: Sequence[Classifier],
    listener: socket.socket,
    limits: Limits,
    *,
    names: Sequence[str] = (),
    force: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGINT or SIGTERM; then what is under way is finished, for `GRACE_S` seconds at most.

    Args:
        classifiers: at least one.
        listener: from `bind`; closed at the end.
        limits: what an image, a client and all of them together may ask for.
        names: host names that requests may carry, beside localhost and addresses.
        force: take DICOM images whose tags speak against it.
        ready: called when the server accepts requests.
    """
    service = InferenceService(classifiers, limits, force)
    try:
        service.start()
        app = create_app(service, limits, names=[*names, socket.gethostname()])
        try:
            asyncio.run(Server(configuration(app, limits), app, ready).serve(sockets=[listener]))
        finally:
            app.app.state.jobs.close()
    finally:
        service.close()
        listener.close()


def configuration(app: SecurityMiddleware, limits: Limits) -> uvicorn.Config:
    """How uvicorn runs the application: quietly, for its lines may hold paths, and with `Protocol`."""

    class Limited(Protocol):
        pass

    Limited.limits = limits
    return uvicorn.Config(
        app,
        http=Limited,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=SILENT,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE_S,
    )


class Server(uvicorn.Server):
    """uvicorn's server; it calls `ready`, gives up half uploads when it stops, and does not raise its signal again."""

    def __init__(self, config: uvicorn.Config, app: SecurityMiddleware, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app, self._ready = app, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.app.state.uploads.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, where this is the main thread.

        uvicorn raises them again in the end, which would cut off what is closed after it.
        """
        with _Stop(self):
            yield


class _Stop(Caught):
    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def handle(self, number: int, frame: FrameType | None) -> None:
        self._server.handle_exit(number, frame)


class Protocol(H11Protocol):
    """uvicorn's connection, closed also when a request never comes whole or the client does not read its response."""

    limits = Limits()
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.write(_FULL)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._stop_watch()
        self._deadline = self.loop.call_later(_LAST_CALL_S, self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Set a time limit while a request's head is incomplete, or the rest of a rejected body is being thrown away."""
        theirs = self.conn.their_state
        no_head = theirs is h11.IDLE and self.timeout_keep_alive_task is None
        if no_head or (theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE):
            if self._deadline is None:
                self._deadline = self.loop.call_later(self.limits.idle_s, self.transport.close)
        else:
            self._stop_watch()

    def _stop_watch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
