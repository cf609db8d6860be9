"""One connection: uvicorn's HTTP/1.1, stricter with requests that two programs could read differently, and with time limits."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo.serve.limits import Limits
from zoo.serve.security import HEADERS

logger = logging.getLogger(__name__)

MAX_HEADERS = 100
MAX_HEAD = 16_384  # bytes of a request's line and headers
_LINGER_S = 1.0  # that a refused client may still send, so that it can read why
_LAST_CALL_S = 60.0  # for a client that does not read its response
_CHUNK_COST = 1024  # bytes that a body's chunks must have on average: each costs the event loop as much time
_CHUNK_CREDIT = 256 * _CHUNK_COST  # so many small ones may come in a row
_HEAD_END = re.compile(rb"\n\r?\n")
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Type: application/json\r\nContent-Length: 36\r\n"
    b'Connection: close\r\n\r\n{"detail": "too many connections."}\n'
)
_INVALID = "the request is not valid HTTP/1.1."
_TOO_LARGE = f"the head of the request is too large: {MAX_HEAD:,} bytes and {MAX_HEADERS} headers are taken."


def head_fault(head: bytes) -> tuple[int, str] | None:
    """The status and the reason for which a request is refused by its head alone, before anything is made of it.

    Where a proxy reads the length of a body in another way than the server does, the rest of one client's body becomes
    another client's request (RFC 9112, sections 5.2, 6.1 and 11.2).
    """
    first, *fields = head.rstrip(b"\r\n").split(b"\n")
    if len(fields) > MAX_HEADERS or len(head) > MAX_HEAD:
        return 431, _TOO_LARGE
    if any(each[:1] in (b" ", b"\t") for each in fields):
        return 400, "a header of the request goes on in a second line."
    named = [(name.strip().lower(), value.strip()) for name, _, value in (each.partition(b":") for each in fields)]
    lengths = [value for name, value in named if name == b"content-length"]
    codings = [value for name, value in named if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        return 400, "the length of the request's body is given more than once: Content-Length or Transfer-Encoding."
    if codings and first.rstrip().endswith(b"HTTP/1.0"):
        return 400, "HTTP/1.0 has no Transfer-Encoding."
    if lengths and not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        return 400, "the request's Content-Length is not a number of bytes."
    _, _, rest = first.rstrip().partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if re.fullmatch(rb"HTTP/\d\.\d", version) and version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return 505, "the server speaks HTTP/1.0 and HTTP/1.1."
    if version[:5] == b"HTTP/" and target[:1] != b"/":
        return 400, "the target of the request is not a path of this server."
    return None


class StrictConnection(h11.Connection):
    """h11's state of a connection; `fault` says why the last request was refused."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD)
        self.fault = (400, _INVALID)
        self._credit = 0

    def next_event(self) -> Any:
        """As h11's; RemoteProtocolError also for what `head_fault` names, and for a body in many tiny chunks."""
        if self.their_state is h11.IDLE:
            waiting, _ = self.trailing_data
            if end := _HEAD_END.search(waiting):
                self._refuse(head_fault(waiting[: end.start() + 1]))
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 431:
                self.fault = 431, _TOO_LARGE
            raise
        if isinstance(event, h11.Request):
            self._credit = _CHUNK_CREDIT
        elif isinstance(event, h11.Data):
            self._credit = min(self._credit + len(event.data), _CHUNK_CREDIT) - _CHUNK_COST * event.chunk_start
            if self._credit < 0:
                self._refuse((400, "the body comes in too many small chunks: send it with a Content-Length."))
        return event

    def _refuse(self, fault: tuple[int, str] | None) -> None:
        if fault is not None:
            self.fault = fault
            raise h11.RemoteProtocolError(fault[1], error_status_hint=fault[0])


class Protocol(H11Protocol):
    """uvicorn's connection, closed also when a request never comes whole or the client does not read its response."""

    limits = Limits()
    conn: StrictConnection
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _refused = False

    def connection_made(self, transport: Any) -> None:
        self.conn = StrictConnection()
        transport.set_write_buffer_limits(0)  # `pause_writing` is called for whatever waits to be read
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            transport.write(_FULL)
            transport.close()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watch()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(_LAST_CALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Say why the request is refused, unless it has a response already, and close the connection."""
        status, sentence = self.conn.fault
        logger.info(f"a request was refused with {status} before any route")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"detail": sentence}).encode()
            fields = {
                **HEADERS,
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
            }
            reason = HTTPStatus(status).phrase
            for event in (
                h11.Response(status_code=status, headers=list(fields.items()), reason=reason),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application must not answer as well
            self.cycle.message_event.set()
        self._refused = True
        self.loop.call_later(_LINGER_S, self.transport.close)

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
