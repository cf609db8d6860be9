"""`zoo serve` for twenty minutes among hostile clients, while its decoder is killed and stopped at random.

    python benchmarks/serve_soak.py [MINUTES] [CLIENTS] [SEED]

A tiny-cnn trained on phantom images is served on loopback with the default limits. Of the clients, in two processes on the same
cores, two thirds send one image of 1024 × 1024 pixels each time and wait after a 503 as long as Retry-After says. One third takes
its requests at random from tests/hostile/corpus_http.py, and cuts off, abandons and stalls uploads. Every ten seconds on average
the decoder gets SIGKILL or SIGSTOP.

What a client waits beyond its turn is the time from the first byte it sends to the last one it gets, less what the images before
it in the queue took and what its own took: the server says both in Server-Timing. The stricter `beyond_usual` takes for each of
these images what one took in the first minute (95 of 100 took less), so that a decoder that must be replaced counts as waiting. A
503 has no turn: all its time counts. `own_lag_max_s` is how late the process of these clients itself was woken up at most.

One row in benchmarks/results/serve_soak.csv. Memory is that of the server, at rest: at its start, after a minute of all this, and
at the end; the decoder, which is replaced all the time, is given beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import platform
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from serve_load import TRAIN, ZOO, image, metric, request

TARGET = Path(__file__).parent / "results" / "serve_soak.csv"
CORPUS = Path(__file__).parents[1] / "tests" / "hostile"
WARM_UP_S = 60.0
EVERY_S = 10.0  # between two attacks on the decoder, on average
ALLOWED_S = 2.0
TURN = re.compile(r'server-timing: queue;dur=([\d.]+);desc="(\d+) before", work;dur=([\d.]+)')


@dataclass
class Tally:
    """What came of the requests of clients that behave."""

    outcomes: Counter[str] = field(default_factory=Counter)
    latency: list[float] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    beyond: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    lag: float = 0.0


async def answer(reader: asyncio.StreamReader) -> str:
    """The head of the next response, when all of it has come."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    size = re.search(r"content-length: (\d+)", head)
    await reader.readexactly(int(size[1]) if size else 0)
    return head


async def client(port: int, until: float, data: bytes, tally: Tally) -> None:
    """A client that behaves, with a connection that it keeps."""
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while time.monotonic() < until:
        begin = time.perf_counter()
        try:
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", port)
            streams[1].write(request(data))
            await streams[1].drain()
            head = await answer(streams[0])
        except (OSError, EOFError) as error:
            tally.outcomes[type(error).__name__] += 1
            streams = None
            continue
        latency, status = time.perf_counter() - begin, head.split()[1]
        tally.outcomes[status] += 1
        turn = TURN.search(head)
        if status == "200" and turn:
            tally.latency.append(latency)
            tally.before.append(int(turn[2]))
            tally.work.append(float(turn[3]) / 1000)
            tally.beyond.append(latency - (float(turn[1]) + float(turn[3])) / 1000)
        elif status == "503":
            tally.refused.append(latency)
            wait = re.search(r"retry-after: (\d+)", head)
            await asyncio.sleep(min(float(wait[1]) if wait else 1.0, max(0.0, until - time.monotonic())))
    if streams is not None:
        streams[1].close()


async def own_lag(tally: Tally, until: float) -> None:
    while time.monotonic() < until:
        begin = time.perf_counter()
        await asyncio.sleep(0.05)
        tally.lag = max(tally.lag, time.perf_counter() - begin - 0.05)


async def behave(port: int, clients: int, seconds: float) -> Tally:
    tally, until, data = Tally(), time.monotonic() + seconds, image()
    await asyncio.gather(own_lag(tally, until), *(client(port, until, data, tally) for _ in range(clients)))
    return tally


def hostile(port: int, clients: int, seconds: float, seed: int) -> Counter[str]:
    """Clients of the corpus, each a thread; how often they got which status."""
    sys.path.insert(0, str(CORPUS))
    from corpus_http import cases, slow

    upload = request(image())
    corpus = [case.parts for case in (*cases(), *slow())]
    outcomes: Counter[str] = Counter()
    until = time.monotonic() + seconds

    def attack(rng: random.Random) -> None:
        while time.monotonic() < until:
            parts = rng.choice(corpus)
            if rng.random() < 0.2:  # an upload that is cut off, abandoned, or stalls
                parts = (
                    upload[: rng.choice([len(upload), rng.randrange(100, len(upload))])],
                    rng.choice([0.01, 0.5, 3.0]),
                )
            with contextlib.suppress(OSError):
                outcomes[exchange(port, parts, until)] += 1

    threads = [threading.Thread(target=attack, args=(random.Random(seed + number),)) for number in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return outcomes


def exchange(port: int, parts: tuple[bytes | float, ...], until: float) -> str:
    """Send bytes, with pauses; the status of the first response, "" where none comes within a second."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with contextlib.suppress(OSError):
            for part in parts:
                if isinstance(part, bytes):
                    connection.sendall(part)
                elif time.monotonic() < until:
                    time.sleep(part)
            connection.settimeout(1.0)
            received = connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))  # gone at once
    return received[9:12].decode("latin-1")


def family(pid: int) -> list[int]:
    """The processes that a server has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(each) for task in tasks for each in task.read_text().split()]


def disturb(pid: int, until: float, rng: random.Random) -> Counter[str]:
    """Kill or stop the decoder now and then."""
    done: Counter[str] = Counter()
    while (pause := rng.expovariate(1 / EVERY_S)) < until - time.monotonic():
        time.sleep(pause)
        number = rng.choice([signal.SIGKILL, signal.SIGSTOP])
        for each in family(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, number)
                done[number.name] += 1
    return done


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1000 if found else 0.0


def state(pid: int, port: int) -> dict[str, float]:
    """What the server holds once it is at rest."""
    deadline = time.monotonic() + 30
    while metric(port, "zoo_uploads_held_bytes") + metric(port, "zoo_queue_images") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(12)  # connections that are silent end after ten seconds
    return {
        "server_mb": resident_mb(pid),
        "decoder_mb": sum(map(resident_mb, family(pid))),
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "held": metric(port, "zoo_uploads_held_bytes"),
    }


def load(pid: int, port: int, clients: int, seconds: float, seed: int) -> tuple[Tally, Counter[str], Counter[str]]:
    """All clients and all attacks at once, for so many seconds."""
    bad = clients // 3
    command = [sys.executable, __file__, "--hostile", str(port), str(bad), str(seconds), str(seed)]
    attacks: Counter[str] = Counter()
    until = time.monotonic() + seconds
    attacker = threading.Thread(target=lambda: attacks.update(disturb(pid, until, random.Random(seed))))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as others:
        attacker.start()
        tally = asyncio.run(behave(port, clients - bad, seconds))
        attacker.join()
        outcomes = Counter(json.loads(others.communicate()[0]))
    return tally, outcomes, attacks


def row(tally: Tally, outcomes: Counter[str], attacks: Counter[str], usual: float) -> dict[str, object]:
    """The numbers of one soak; `usual` is the time of an image's work in the first minute."""
    beyond = np.array(tally.beyond + tally.refused)
    strict = np.array(tally.latency) - usual * (1 + np.array(tally.before))
    p50, p95, top = np.quantile(tally.latency, [0.5, 0.95, 1])
    others = {name: number for name, number in tally.outcomes.items() if name not in ("200", "503")}
    return {
        "requests": sum(tally.outcomes.values()),
        "status_200": tally.outcomes["200"],
        "status_503": tally.outcomes["503"],
        "other_outcomes": ", ".join(f"{name} {number}" for name, number in others.items()) or 0,
        **{name: f"{value:.3f}" for name, value in (("p50_s", p50), ("p95_s", p95), ("max_s", top))},
        "beyond_turn_p50_s": f"{np.quantile(beyond, 0.5):.3f}",
        "beyond_turn_p999_s": f"{np.quantile(beyond, 0.999):.3f}",
        "beyond_turn_max_s": f"{beyond.max():.3f}",
        "beyond_turn_over_2_s": int((beyond > ALLOWED_S).sum()),
        "usual_work_s": f"{usual:.3f}",
        "beyond_usual_max_s": f"{strict.max():.3f}",
        "beyond_usual_over_2_s": int((strict > ALLOWED_S).sum()),
        "own_lag_max_s": f"{tally.lag:.3f}",
        "hostile_requests": sum(outcomes.values()),
        "hostile_500": outcomes["500"],
        "decoder_killed": attacks["SIGKILL"],
        "decoder_stopped": attacks["SIGSTOP"],
    }


def soak(pid: int, port: int, minutes: float, clients: int, seed: int) -> dict[str, object]:
    start = state(pid, port)
    first, *_ = load(pid, port, clients, WARM_UP_S, seed + 1)
    warm = state(pid, port)
    begin = time.monotonic()
    measured = load(pid, port, clients, 60 * minutes, seed)
    lasted = time.monotonic() - begin
    end = state(pid, port)
    memory = {f"{name}_{when}": f"{found[name]:.0f}" for name in end for when, found in
              (("start", start), ("warm", warm), ("end", end))}  # fmt: skip
    return {
        "minutes": f"{lasted / 60:.1f}",
        "clients": clients,
        "hostile": clients // 3,
        **row(*measured, usual=float(np.quantile(first.work, 0.95))),
        **memory,
        "server_growth_percent": f"{100 * (end['server_mb'] / warm['server_mb'] - 1):.2f}",
    }


def main() -> None:
    if sys.argv[1:2] == ["--hostile"]:
        port, clients, seconds, seed = sys.argv[2:]
        print(json.dumps(hostile(int(port), int(clients), float(seconds), int(seed))))
        return
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    clients = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"ZOO_CACHE": f"{folder}/cache", "TF_CPP_MIN_LOG_LEVEL": "3"}
        train = [*TRAIN[:-1], "first"]  # as the run of the corpus is called
        subprocess.run([*ZOO, "train", *train], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        with (
            Path(folder, "log").open("w+") as log,
            subprocess.Popen(
                [*ZOO, "serve", "first", "--port", "0", "--quiet"],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            port = int(process.stdout.readline().split("/")[2].split(":")[1])
            found = soak(process.pid, port, minutes, clients, seed)
            begin = time.monotonic()
            process.send_signal(signal.SIGTERM)
            found |= {"exit_code": process.wait(), "stopped_in_s": f"{time.monotonic() - begin:.1f}"}
            log.seek(0)
            found["internal_errors"] = log.read().count("internal error")
    found |= {"seed": seed, "python": platform.python_version(), "cores": len(os.sched_getaffinity(0))}
    found |= {"machine": platform.machine()}
    for name, value in found.items():
        print(f"{name:24} {value}")
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, found, lineterminator="\n")
        writer.writeheader()
        writer.writerow(found)


if __name__ == "__main__":
    main()
