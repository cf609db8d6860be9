"""The one thread that networks run in, and the bounded queue before it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from zoo.serve.errors import Busy

T = TypeVar("T")
_USUAL = 0.1  # how much of the mean time of a job the latest one counts for


class Jobs:
    """Runs jobs one after the other. Those beyond `limit` are rejected, those nobody waits for are dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done = self.dropped = 0
        self._mean_s = 0.5
        self._closed = False
        self._pending: set[Future[Any]] = set()  # waiting or under way
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="zoo-serve-jobs")

    @property
    def waiting(self) -> int:
        """Jobs in the queue, without the one under way."""
        return sum(not (job.running() or job.done()) for job in list(self._pending))

    @property
    def retry_after(self) -> int:
        """Whole seconds until a place in the queue is likely to be free."""
        return max(1, min(60, math.ceil(self._mean_s * len(self._pending) / 2)))

    def check(self) -> None:
        """Raise Busy where no job would be taken on now."""
        if self._closed:
            raise Busy("the server is stopping.", 5)
        if self.waiting >= self.limit:
            raise Busy(f"{self.waiting} images are waiting already: try again in a moment.", self.retry_after)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from the thread. On cancellation it is taken out of the queue.

        Raises:
            Busy: the queue is full, or closed.
        """
        self.check()
        held = [work]
        job = self._thread.submit(self._timed, held)
        self._pending.add(job)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            self.dropped += job.cancel()
            raise
        finally:
            held.clear()  # else the image of a dropped job stays in memory until its turn
            self._pending.discard(job)

    def close(self) -> None:
        """Take on no more, and end the thread after the job under way."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def _timed(self, held: list[Callable[[], T]]) -> T:
        start = time.perf_counter()
        try:
            return held.pop()()
        finally:
            self._mean_s += _USUAL * (time.perf_counter() - start - self._mean_s)
            self.done += 1
