"""Work on many items by threads, or by processes that may crash: a damaged image costs its own result and nothing else."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar

from zoo.core.errors import ZooError
from zoo.core.processes import Worker, WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_CRASHES = 50


def usable_cores() -> int:
    """Number of cores this process may use; containers and schedulers allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_map(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Generator[Result, None, None]:
    """The results of `work` for every item, in order, computed by threads.

    Items are taken as they are needed: at most `ahead` before the result of the first one is consumed.
    """
    source, waiting = iter(items), deque[Future[Result]]()
    with ThreadPoolExecutor(threads, thread_name_prefix="zoo-map") as pool:
        try:
            while True:
                waiting.extend(pool.submit(work, item) for item in islice(source, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # and wait for the work under way


def process_map(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    processes: int,
    *,
    ahead: int,
    crashed: Callable[[Item], Result],
    split: Callable[[Item], Sequence[Item]] = lambda item: (),
    advice: str = "",
) -> Generator[Result, None, None]:
    """As `thread_map`, by processes. One that crashes is replaced, and an item that crashes two costs its result.

    Args:
        work: picklable.
        items: picklable.
        processes: at least 1.
        ahead: items that may be taken before the result of the first one is consumed.
        crashed: makes the result of an item that crashed its process.
        split: cuts an item that crashed its process into smaller ones, to find the culprit; then it has several results.
        advice: for the user, after too many crashes.

    Raises:
        ZooError: processes crashed on more than `MAX_CRASHES` items.
    """
    idle: SimpleQueue[Worker] = SimpleQueue()
    workers = [Worker(quiet=False) for _ in range(processes)]
    for worker in workers:
        idle.put(worker)

    def results(item: Item) -> tuple[list[Result], int]:
        worker = idle.get()
        try:
            return _results(worker, work, item, crashed, split)
        finally:
            idle.put(worker)

    crashes = 0
    try:
        with closing(thread_map(results, items, processes, ahead)) as every:
            for found, crashes_on_item in every:
                yield from found
                crashes += crashes_on_item
                if crashes > MAX_CRASHES:
                    raise ZooError(
                        f"worker processes died on {crashes} images, most likely for lack of memory. {advice}".strip()
                    )
    finally:
        for worker in workers:
            worker.close()


def _results(
    worker: Worker,
    work: Callable[[Item], Result],
    item: Item,
    crashed: Callable[[Item], Result],
    split: Callable[[Item], Sequence[Item]],
) -> tuple[list[Result], int]:
    """The results of an item, several where a crash made it be split, and the number of crashes that remained."""
    todo, found, crashes = deque([item]), [], 0
    while todo:
        part = todo.popleft()
        try:
            found.append(worker.call(work, part))
        except WorkerDied:
            parts = split(part)
            if len(parts) > 1:
                todo.extendleft(reversed(parts))
                continue
            try:
                found.append(worker.call(work, part))  # the process may have been killed by others
            except WorkerDied:
                found.append(crashed(part))
                crashes += 1
    return found, crashes
