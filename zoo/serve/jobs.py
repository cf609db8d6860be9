"""The one thread that networks run in, and the bounded queue before it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from zoo.serve.errors import Busy

T = TypeVar("T")
_USUAL = 0.1  # how much of the mean time of a job the latest one counts for


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a job gave, how many were before it in the queue, and the seconds it waited and took."""

    result: T
    before: int
    waited_s: float
    took_s: float

    @property
    def server_timing(self) -> str:
        """The value of a Server-Timing header, in milliseconds."""
        waited, took = 1000 * self.waited_s, 1000 * self.took_s
        return f'queue;dur={waited:.1f};desc="{self.before} before", work;dur={took:.1f}'


class Jobs:
    """Runs jobs one after the other. Those beyond `limit` are rejected, those nobody waits for are dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done = self.dropped = 0
        self._mean_s = 0.5
        self._closed = False
        self._pending: set[Future[Any]] = set()  # waiting or under way
        self._queue: SimpleQueue[tuple[Future[Any], list[Callable[[], Any]]] | None] = SimpleQueue()
        # not an executor: the interpreter would wait at its end for a network that is amid a prediction
        self._thread = threading.Thread(target=self._work, name="zoo-serve-jobs", daemon=True)
        self._thread.start()

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

    async def run(self, work: Callable[[], T]) -> Done[T]:
        """What `work` returns or raises, from the thread. On cancellation it is taken out of the queue.

        Raises:
            Busy: the queue is full, or closed.
        """
        self.check()
        held: list[Callable[[], Any]] = [work]
        job: Future[tuple[T, float, float]] = Future()
        before, since = len(self._pending), time.perf_counter()
        self._pending.add(job)
        self._queue.put((job, held))
        try:
            result, start, took = await asyncio.wrap_future(job)
            return Done(result, before, start - since, took)
        except asyncio.CancelledError:
            self.dropped += job.cancel()
            raise
        finally:
            held.clear()  # else the image of a dropped job stays in memory until its turn
            self._pending.discard(job)

    def close(self, seconds: float | None = None) -> bool:
        """Take on no more, drop what waits, and wait for the job under way; whether it ended within `seconds`."""
        self._closed = True
        for job in list(self._pending):
            job.cancel()
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (entry := self._queue.get()) is not None:
            job, held = entry
            if job.set_running_or_notify_cancel():
                self._do(job, held.pop())
            del entry, job, held  # or the last result stays in memory until the next job comes

    def _do(self, job: Future[Any], work: Callable[[], Any]) -> None:
        start = time.perf_counter()
        try:
            result = work()
        except BaseException as error:
            job.set_exception(error)
        else:
            job.set_result((result, start, time.perf_counter() - start))
        self._mean_s += _USUAL * (time.perf_counter() - start - self._mean_s)
        self.done += 1
