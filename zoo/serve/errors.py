"""Answers other than a result: a status and one sentence in plain words, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping

CLIENT_GONE = 499  # as proxies log it; nobody is there to receive it


class Refusal(Exception):
    """A request that gets no result, with its status, the sentence that says why, and further headers."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.headers = status, sentence, dict(headers or {})


class Busy(Refusal):
    """More than the server takes on at once."""

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(503, sentence, {"Retry-After": str(retry_after)})


class ClientGone(Refusal):
    """The client closed the connection before it had an answer."""

    def __init__(self) -> None:
        super().__init__(CLIENT_GONE, "the client went away")
