"""A pool of processes whose workers may crash: a damaged image costs its own result and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

from zoo.core.errors import ZooError
from zoo.core.processes import end_after

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_CRASHES = 50


def usable_cores() -> int:
    """Number of cores this process may use; containers and schedulers allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of spawned processes: a fork would copy the threads and locks of libraries the caller has loaded."""
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        end_after(parent.join)


def refuse_import() -> None:
    """End a pool worker that a script without a main guard makes start a pool on being imported: it would wait for ever.

    Raises:
        RuntimeError: this process is being started as a worker.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a script that prepares images needs the guard: if __name__ == "__main__":')


def can_start() -> bool:
    """Whether pool workers can be started at all; not from a script without a main guard."""
    try:
        with worker_pool(1) as pool:
            pool.submit(os.getpid).result()
    except BrokenProcessPool:
        return False
    return True


def crash_safe_map(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    *,
    ahead: int,
    crashed: Callable[[Item], Result],
    split: Callable[[Item], Sequence[Item]] = lambda item: (),
    advice: str = "",
) -> Generator[Result, None, None]:
    """The results of `work` for every item, in order, computed in processes that may crash.

    When a process dies, the items under way are done again one after the other in a process that nothing else depends on.

    Args:
        work: picklable.
        items: taken as they are needed.
        processes: at least 1. Where none can be started (a script without a main guard), the work is done in this one.
        ahead: items that may be taken before the result of the first one is consumed.
        crashed: makes the result of an item that killed its process.
        split: cuts an item that killed its process into smaller ones, to find the culprit.
        advice: for the user, after too many crashes.

    Raises:
        ZooError: processes died on more than `MAX_CRASHES` items.
    """
    source, waiting = iter(items), deque[tuple[Item, Future[Result]]]()
    crashes, works = 0, False
    pool = worker_pool(processes)
    try:
        while True:
            waiting.extend((item, _submit(pool, work, item)) for item in islice(source, ahead - len(waiting)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:
                pool.shutdown()
                suspects = [item for item, _ in waiting]
                waiting.clear()
                if not (works or can_start()):
                    yield from map(work, chain(suspects, source))
                    return
                for result, died in _one_by_one(work, suspects, crashed, split):
                    crashes += died
                    yield result
                    if crashes > MAX_CRASHES:
                        raise ZooError(
                            f"worker processes died on {crashes} images, most likely for lack of memory. {advice}".strip()
                        ) from None
                pool = worker_pool(processes)
                continue
            waiting.popleft()
            works = True
            yield result
    finally:
        pool.shutdown(cancel_futures=True)  # and wait for the work under way


def _submit(pool: ProcessPoolExecutor, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(work, item)
    except BrokenProcessPool as error:  # the item must not be lost with it
        broken: Future[Result] = Future()
        broken.set_exception(error)
        return broken


def _one_by_one(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    crashed: Callable[[Item], Result],
    split: Callable[[Item], Sequence[Item]],
) -> Iterator[tuple[Result, bool]]:
    """Each item's result, and whether the process died on it."""
    todo, pool = deque(items), worker_pool(1)
    try:
        while todo:
            item = todo.popleft()
            try:
                yield _submit(pool, work, item).result(), False
            except BrokenProcessPool:
                pool.shutdown()
                pool = worker_pool(1)
                parts = split(item)
                todo.extendleft(reversed(parts))
                if not parts:
                    yield crashed(item), True
    finally:
        pool.shutdown()
