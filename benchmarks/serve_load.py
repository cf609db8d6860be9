"""`zoo serve` under load on one machine: 32 clients for a minute each way, and what is left behind afterwards.

    python benchmarks/serve_load.py [SECONDS] [CLIENTS]

A tiny-cnn trained on phantom images is served on loopback with the default limits; the clients are one asyncio process on the
same cores and send one image of 1024 × 1024 pixels each time. The ways:

    patient   after a 503 a client waits as long as Retry-After says
    eager     after a 503 it asks again at once
    hostile   eager, and of ten requests one is cut off in the middle of its upload, one is abandoned while its image waits or is
              read, one stalls in its upload for half a second and goes away; every fifth image is a broken one
    calm      four patient clients, as a comparison

One row per way in benchmarks/results/serve_load.csv: requests by outcome, images answered per second, seconds to an answer (200
alone), resident memory of the server and its decoder before and after, open files and threads before and after, bytes still held.
Memory "before" is taken after ten seconds of load, when everything has been allocated once.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from PIL import Image

TARGET = Path(__file__).parent / "results" / "serve_load.csv"
ZOO = [sys.executable, "-c", "from zoo.cli.main import main; main()"]
TRAIN = ["--model", "tiny-cnn", "--task", "multilabel", "--data", "phantom", "--set", "data.patients=80"]
TRAIN += ["--image-size", "64", "--epochs", "1", "--run", "small"]
WARM_UP_S = 10.0
WAYS = {"patient": 0, "eager": 0, "hostile": 0, "calm": 4}  # how many clients; 0: as many as asked for


@dataclass
class Tally:
    """What came of the requests of one way."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    retry_after: list[int] = field(default_factory=list)


def image(seed: int = 0, side: int = 1024) -> bytes:
    """An image in the published form: 8-bit gray, smooth with some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    smooth = 110 + 60 * np.sin(columns / 150) + 40 * np.cos(rows / 190)
    stream = io.BytesIO()
    Image.fromarray((smooth + rng.normal(0, 2, smooth.shape)).clip(0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def request(body: bytes) -> bytes:
    head = f"POST /api/images HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, int]:
    """Status and Retry-After of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    size = re.search(r"content-length: (\d+)", head)
    await reader.readexactly(int(size[1]) if size else 0)
    wait = re.search(r"retry-after: (\d+)", head)
    return int(head.split()[1]), int(wait[1]) if wait else 0


async def client(port: int, way: str, until: float, images: list[bytes], tally: Tally, seed: int) -> None:
    """One client, with a connection that it keeps."""
    rng = random.Random(seed)
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    while time.monotonic() < until:
        if way == "hostile" and rng.random() < 0.3:
            await misbehave(port, images[0], rng.choice(["cut", "abandoned", "stalled"]), rng, tally)
            continue
        data = images[1] if way == "hostile" and rng.random() < 0.2 else images[0]
        try:
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", port)
            start = time.perf_counter()
            streams[1].write(request(data))
            await streams[1].drain()
            status, wait = await answer(streams[0])
        except (OSError, EOFError) as error:
            tally.outcomes[type(error).__name__] += 1
            streams = None
            continue
        tally.outcomes[str(status)] += 1
        if status == 200:
            tally.seconds.append(time.perf_counter() - start)
        elif status == 503:
            tally.retry_after.append(wait)
            if way in ("patient", "calm"):
                await asyncio.sleep(min(wait, max(0.0, until - time.monotonic())))
    if streams is not None:
        streams[1].close()


async def misbehave(port: int, data: bytes, how: str, rng: random.Random, tally: Tally) -> None:
    """A request that is not brought to its end; its connection is killed."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    whole = request(data)
    writer.write(whole if how == "abandoned" else whole[: rng.randrange(100, len(whole))])
    await asyncio.sleep(0.5 if how == "stalled" else rng.random() * 0.05)
    writer.transport.abort()
    tally.outcomes[how] += 1


async def load(port: int, way: str, clients: int, seconds: float) -> Tally:
    tally = Tally()
    images = [image(), image()[:200_000]]
    until = time.monotonic() + seconds
    await asyncio.gather(*(client(port, way, until, images, tally, seed) for seed in range(clients)))
    return tally


def metric(port: int, name: str) -> float:
    with urlopen(f"http://127.0.0.1:{port}/api/metrics", timeout=30) as page:
        found = re.search(rf"^{name} (\S+)$", page.read().decode(), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def state(pid: int, port: int) -> dict[str, float]:
    """Memory, open files and threads of the server with its decoder, once it is at rest."""
    deadline = time.monotonic() + 15
    while metric(port, "zoo_uploads_held_bytes") + metric(port, "zoo_queue_images") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(6)  # connections kept alive end after five seconds
    family = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    resident = {each: re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{each}/status").read_text()) for each in family}
    return {
        "rss_mb": sum(int(found[1]) for found in resident.values() if found) / 1000,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "held": metric(port, "zoo_uploads_held_bytes"),
    }


def measure(pid: int, port: int, way: str, clients: int, seconds: float) -> dict[str, object]:
    asyncio.run(load(port, way, clients, min(WARM_UP_S, seconds)))
    before = state(pid, port)
    start = time.monotonic()
    tally = asyncio.run(load(port, way, clients, seconds))
    lasted = time.monotonic() - start
    after = state(pid, port)
    known = ("200", "503", "422", "cut", "abandoned", "stalled")
    others = {name: number for name, number in tally.outcomes.items() if name not in known}
    p50, p95, p99 = np.quantile(tally.seconds, [0.5, 0.95, 0.99])
    return {
        "way": way,
        "clients": clients,
        "seconds": f"{lasted:.0f}",
        "requests": sum(tally.outcomes.values()),
        **{f"status_{name}" if name.isdigit() else name: tally.outcomes[name] for name in known},
        "other_outcomes": ", ".join(f"{name} {number}" for name, number in others.items()) or 0,
        "images_per_s": f"{len(tally.seconds) / lasted:.1f}",
        "p50_s": f"{p50:.3f}",
        "p95_s": f"{p95:.3f}",
        "p99_s": f"{p99:.3f}",
        "retry_after_max": max(tally.retry_after, default=0),
        **{
            f"{name}_{when}": f"{found[name]:.0f}"
            for name in before
            for when, found in (("before", before), ("after", after))
        },
    }


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    asked = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        spool = Path(folder, "spool")
        spool.mkdir()
        environment = os.environ | {"ZOO_CACHE": f"{folder}/cache", "TF_CPP_MIN_LOG_LEVEL": "3", "TMPDIR": str(spool)}
        subprocess.run([*ZOO, "train", *TRAIN], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        command = [*ZOO, "serve", "small", "--port", "0", "--quiet"]
        with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            port = int(process.stdout.readline().split("/")[2].split(":")[1])
            for way, clients in WAYS.items():
                rows.append(measure(process.pid, port, way, clients or asked, seconds))
                rows[-1] |= {"files_left": len(list(spool.rglob("*"))), "python": platform.python_version()}
                rows[-1] |= {"cores": len(os.sched_getaffinity(0)), "machine": platform.machine()}
                print(rows[-1], file=sys.stderr, flush=True)
            process.send_signal(signal.SIGTERM)
        print(f"exit code {process.returncode}", file=sys.stderr)
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
