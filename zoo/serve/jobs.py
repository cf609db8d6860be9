"""The one thread that networks run in, and the bounded queue before it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from zoo.serve.errors import Busy

T = TypeVar("T")
_PATIENCE_S = 10.0
_USUAL = 0.1  # how much of the mean time of a job the latest one counts for


@dataclass(eq=False)
class _Job:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]


class Jobs:
    """Runs jobs one after the other. Those beyond `limit` are refused, those nobody waits for are dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done = self.dropped = 0
        self._mean_s = 0.5
        self._waiting: deque[_Job] = deque()
        self._busy = self._closed = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="zoo-serve-jobs", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Jobs in the queue, without the one under way."""
        return len(self._waiting)

    @property
    def retry_after(self) -> int:
        """Whole seconds until a place in the queue is likely to be free."""
        return max(1, min(60, math.ceil(self._mean_s * (len(self._waiting) + self._busy) / 2)))

    def check(self) -> None:
        """Raise Busy where no job would be taken on now."""
        if self._closed:
            raise Busy("the server is stopping.", 5)
        if len(self._waiting) >= self.limit:
            raise Busy(f"{len(self._waiting)} images are waiting already: try again in a moment.", self.retry_after)

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from the thread. On cancellation it is taken out of the queue.

        Raises:
            Busy: the queue is full, or closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        with self._change:
            self.check()
            self._waiting.append(job)
            self._change.notify()
        try:
            result: T = await job.result
            return result
        except asyncio.CancelledError:
            self._drop(job)
            raise

    def close(self) -> None:
        """Take on no more, and end the thread after the job under way; one that takes long is left behind."""
        with self._change:
            self._closed = True
            self._change.notify()
        self._thread.join(_PATIENCE_S)

    def _drop(self, job: _Job) -> None:
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)
                self.dropped += 1

    def _work(self) -> None:
        while True:
            with self._change:
                self._busy = False
                while not self._waiting:
                    if self._closed:
                        return
                    self._change.wait()
                job = self._waiting.popleft()
                self._busy = True
            start = time.perf_counter()
            result, error = None, None
            try:
                result = job.work()
            except BaseException as caught:  # whatever it is belongs to the request, not to this thread
                error = caught
            self._mean_s += _USUAL * (time.perf_counter() - start - self._mean_s)
            self.done += 1
            _hand_over(job, result, error)
            del job, result, error  # or the last image stays in memory until the next one comes


def _hand_over(job: _Job, result: Any, error: BaseException | None) -> None:
    def settle() -> None:
        if job.result.done():  # its client went away
            return
        if error is not None:
            job.result.set_exception(error)
        else:
            job.result.set_result(result)

    if not job.loop.is_closed():
        job.loop.call_soon_threadsafe(settle)
