"""Security middleware before every route: allowed hosts and origins, safe headers, one log line and metrics per request."""

from __future__ import annotations

import ipaddress
import logging
import time
import traceback
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from zoo.serve.errors import CLIENT_GONE, APIError
from zoo.serve.metrics import Metrics

logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
LOCAL_NAMES = frozenset({"localhost"})


class SecurityMiddleware:
    """ASGI middleware around the whole application."""

    def __init__(self, app: FastAPI, metrics: Metrics, names: Iterable[str]) -> None:
        """Wrap `app`; `names` are the host names that requests may carry, beside localhost and addresses."""
        self.app, self.metrics = app, metrics
        self.names = LOCAL_NAMES | {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            error = self._check(Headers(scope=scope), scope["method"])
            if error is not None:
                await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, send_safely)
            else:
                await self.app(scope, receive, send_safely)
        except Exception as error:
            logger.error(f"internal error: {where(error)}")
        finally:
            self._note(scope, status or CLIENT_GONE, time.perf_counter() - start)

    def _check(self, headers: Headers, method: str) -> APIError | None:
        host = headers.get("host", "")
        if not self._is_ours(host):
            return APIError(421, "not a name of this server: use its address, or start it with --allow-host NAME.")
        origin = headers.get("origin")
        if method not in ("GET", "HEAD") and origin is not None and _site(origin) != host.lower():
            return APIError(403, "pages of other sites may not send images here.")
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server. A page of another site can make a browser send only its own name."""
        try:
            parts = urlsplit(f"//{host}")
            name, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.netloc != host or "@" in host:
            return False  # more than a name and a port
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """The route's pattern, never the path as sent, which may name a patient."""
        route = getattr(scope.get("route"), "path", None) or "(none)"
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "OTHER"
        self.metrics.requests.labels(method, route, status).inc()
        self.metrics.seconds.observe(seconds)
        gone = " (client gone)" if status == CLIENT_GONE else ""
        logger.info(f"{method} {route} {status} {seconds:.3f} s{gone}")


def _site(origin: str) -> str | None:
    """The host and port of an Origin header; None for what is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def where(error: BaseException) -> str:
    """An exception's kind and place, without its message, which may quote a file."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
