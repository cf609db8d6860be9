"""Running the server: its socket, its connections, and how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from zoo.core.errors import UsageError
from zoo.engine.signals import Caught
from zoo.serve.api import create_app
from zoo.serve.limits import Limits
from zoo.serve.protocol import Protocol
from zoo.serve.security import SecurityMiddleware
from zoo.serve.service import InferenceService

if TYPE_CHECKING:
    from zoo.inference.classifier import Classifier

STOP_S = 5  # from the signal to the end
_GRACE_S = STOP_S - 1  # of which requests have all but one
_LAST_JOB_S = 0.4  # for a job to end whose client is gone and whose decoder was killed
SILENT = 60  # above logging.CRITICAL


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
) -> bool:
    """Serve until SIGINT or SIGTERM; then what is under way is finished, within `STOP_S` seconds.

    Args:
        classifiers: at least one.
        listener: from `bind`; closed at the end.
        limits: what an image, a client and all of them together may ask for.
        names: host names that requests may carry, beside localhost and addresses.
        force: take DICOM images whose tags speak against it.
        ready: called when the server accepts requests.

    Returns:
        Whether all work ended. If not, a network or a model card is still at work in a thread that nothing can interrupt:
        the process should end without waiting for it.
    """
    service = InferenceService(classifiers, limits, force)
    ended = True
    try:
        service.start()
        app = create_app(service, limits, names=[*names, socket.gethostname()])
        state = app.app.state
        try:
            asyncio.run(Server(configuration(app, limits), app, ready).serve(sockets=[listener]))
        finally:
            service.decoder.close()
            ended = all([state.jobs.close(_LAST_JOB_S), state.card_jobs.close(0)])
    finally:
        if ended:
            service.close()
        listener.close()
    return ended


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
        timeout_graceful_shutdown=_GRACE_S,
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
