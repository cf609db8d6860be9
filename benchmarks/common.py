"""What the benchmarks share: alternating runs, clocks, memory, ratios and CSV files. Standard library only: peers import it too."""

from __future__ import annotations

import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
STALL = 5.0  # a pause between two steps of more than so many median ones is a stall
Costs = dict[str, float]


def alternate(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Costs]]:
    """Run each contender's command once a round, in an order that rotates, and read the JSON of its last line."""
    names = list(commands)
    found: dict[str, list[Costs]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            found[name].append(run(commands[name]))
            print(f"round {number + 1} of {rounds}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    return found


def run(words: Sequence[str]) -> Costs:
    """Run one contender by itself; what it says on standard error is shown if it fails."""
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=errors, text=True)
        if done.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(words)}\n{errors.read()[-4000:]}")
    costs: Costs = json.loads(done.stdout.splitlines()[-1])
    return costs


def ratios(numerators: Iterable[float], denominators: Iterable[float], digits: int = 2) -> dict[str, str]:
    """Median, least and greatest quotient within a round."""
    values = [a / b for a, b in zip(numerators, denominators, strict=True)]
    parts = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {f"ratio_{name}": f"{value:.{digits}f}" for name, value in parts.items()}


def median(costs: Iterable[Costs], name: str, digits: int = 1) -> str:
    """The median of one figure over the rounds; empty where a contender does not have it."""
    values = [each[name] for each in costs if name in each]
    return f"{statistics.median(values):.{digits}f}" if values else ""


def machine() -> dict[str, Any]:
    """The last columns of every table: where and by what command it was made."""
    words = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    return {
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "command": words,
    }


def write_csv(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write benchmarks/results/NAME.csv and show it; the rows may differ in what they have."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    target = RESULTS / f"{name}.csv"
    with target.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(target.read_text(), end="")


class StepClock:
    """Times of the steps of a training, of every epoch but the first, which holds tracing and first use."""

    def __init__(self) -> None:
        self.epochs: list[list[tuple[float, float]]] = []

    def begin_epoch(self) -> None:
        self.epochs.append([(time.perf_counter(), time.process_time())])

    def step(self) -> None:
        """The end of a step."""
        self.epochs[-1].append((time.perf_counter(), time.process_time()))

    def costs(self, batch: int) -> Costs:
        """Images per second with stalls and without them, and the stalls.

        A stall is a pause between the ends of two steps of more than `STALL` times the median one. The pause before an
        epoch's first step counts in `images_per_s_whole` only.
        """
        kept = self.epochs[1:]
        pauses = [b[0] - a[0] for epoch in kept for a, b in pairwise(epoch[1:])]
        limit = STALL * statistics.median(pauses)
        steady = [pause for pause in pauses if pause <= limit]
        whole = sum(epoch[-1][0] - epoch[0][0] for epoch in kept)
        processor = sum(epoch[-1][1] - epoch[1][1] for epoch in kept)
        return {
            "images_per_s": batch * len(steady) / sum(steady),
            "images_per_s_whole": batch * sum(len(epoch) - 1 for epoch in kept) / whole,
            "median_step_ms": statistics.median(pauses) * 1e3,
            "cpu_ms_per_step": processor / len(pauses) * 1e3,
            "stalls": len(pauses) - len(steady),
            "stalled_s": sum(pauses) - sum(steady),
        }


class Memory:
    """Peak memory of this process and its descendants, in MB, by looking every 20 ms.

    `peak` is what is resident in all; `own` leaves out pages of files, such as a memory-mapped store's, which the system takes
    back when it needs the room.
    """

    def __init__(self) -> None:
        self.peak = self.own = 0.0


@contextmanager
def watched(pid: int | None = None) -> Iterator[Memory]:
    """Watch the memory of a process (this one) and its descendants while the context is open."""
    memory, stop = Memory(), threading.Event()
    root = pid or os.getpid()

    def look() -> None:
        while True:
            resident, own = _memory(root)
            memory.peak, memory.own = max(memory.peak, resident), max(memory.own, own)
            if stop.wait(0.02):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def _memory(root: int) -> tuple[float, float]:
    """Resident memory of a process tree, all and without files, in MB."""
    resident = own = 0.0
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except (OSError, ValueError):  # gone meanwhile
            continue
        sizes = {
            line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines if line.startswith(("VmRSS", "RssAnon"))
        }
        resident, own = resident + sizes.get("VmRSS", 0), own + sizes.get("RssAnon", 0)
    return resident, own
