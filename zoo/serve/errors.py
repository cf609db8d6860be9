"""Errors of the REST interface: a status and one sentence, never a traceback."""

from __future__ import annotations

from starlette.exceptions import HTTPException

CLIENT_GONE = 499  # as proxies log it; nobody is there to receive it


class APIError(HTTPException):
    """A request without a result: its status, why, and further headers."""


class Busy(APIError):
    """More than the server takes on at once."""

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(503, detail, {"Retry-After": str(retry_after)})


class ClientGone(APIError):
    """The client closed the connection before it had a response."""

    def __init__(self) -> None:
        super().__init__(CLIENT_GONE, "the client closed the connection")
