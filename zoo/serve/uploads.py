"""Bodies of requests: held in memory alone, counted while they arrive, and given up when they stall."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.types import Message

from zoo.serve.errors import APIError, Busy, ClientGone
from zoo.serve.limits import Limits


def megabytes(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count:,} bytes"


class Uploads:
    """All bodies that are arriving or being worked on."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0
        self._stopping = False
        self._clocks: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, counted as held until the context ends.

        Raises:
            APIError: 413 too large, 415 a form, 408 too slow, 422 empty; 503 while others hold too much.
            ClientGone: the connection ended in the middle.
        """
        self._check_head(request)
        received = bytearray()
        size = 0
        try:
            async for chunk in self._chunks(request):
                received += chunk
                size = len(received)
            if not size:
                raise APIError(422, "the request has no body: send the file itself.")
            data = bytes(received)
            received.clear()  # or each image is held twice while it waits
            yield data
        finally:
            self.held -= size

    def stop(self) -> None:
        """Give up all uploads that are still arriving."""
        self._stopping = True
        for clock in self._clocks:
            clock.reschedule(asyncio.get_running_loop().time())

    def _check_head(self, request: Request) -> None:
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            sentence = "send the file itself as the body, not a form: curl --data-binary @image.png URL"
            raise APIError(415, sentence)
        try:
            claimed = int(request.headers.get("content-length", "0"))
        except ValueError:
            claimed = 0
        if claimed > self.limits.max_bytes:
            raise self._too_large(claimed)

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.limits.upload_s
        size, more = 0, True
        while more:
            if (
                loop.time() >= end
            ):  # the clock of a message does not run out where messages without content are there at once
                raise _stalled()
            message = await self._next(request, min(end, loop.time() + self.limits.idle_s))
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > self.limits.max_bytes:
                raise self._too_large(size)
            if self.held + len(chunk) > self.limits.max_held:
                raise Busy("other uploads fill the memory kept for them: try again in a moment.", 2)
            self.held += len(chunk)
            yield chunk

    async def _next(self, request: Request, until: float) -> Message:
        clock = asyncio.timeout_at(until)
        self._clocks.add(clock)
        try:
            async with clock:
                return await request.receive()
        except TimeoutError:
            if self._stopping:
                raise Busy("the server is stopping.", 5) from None
            raise _stalled() from None
        finally:
            self._clocks.discard(clock)

    def _too_large(self, size: int) -> APIError:
        limit = megabytes(self.limits.max_bytes)
        return APIError(413, f"the file is too large: {megabytes(size)} or more, and the limit is {limit}.")


def _stalled() -> APIError:
    return APIError(408, "the upload stalled: send it again.", {"Connection": "close"})
