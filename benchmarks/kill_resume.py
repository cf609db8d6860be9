"""Runs killed with SIGKILL at random moments and resumed, compared bit for bit with runs that were never interrupted.

    python benchmarks/kill_resume.py [MOMENTS] [SEED]

Two small trainings on phantom images: one with dropout, MixUp and a plateau schedule, one from the weights of a run with the
backbone frozen first, early stopping and the standard augmentation. Each is killed, resumed, often killed again, and at last
left to finish. Half of the moments are drawn uniformly in time, half uniformly among the events of a run: every file that
it opens, renames, removes or makes, every step, every validation. Compared are the network, the best and the last weights, the last
checkpoint with its optimizer and random states, metrics.csv (without its two columns of time), all predictions and
all results. One row per moment in benchmarks/results/kill_resume.csv: what was killed, and whether the finished run was equal;
the rows of other seeds stay.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

TARGET = Path(__file__).parent / "results" / "kill_resume.csv"
SMALL = ["--model", "tiny-cnn", "--set", "model.width=8", "--set", "model.depth=1", "--set", "model.dropout=0.3"]
IMAGES = [
    "--image-size",
    "32",
    "--data",
    "phantom",
    "--set",
    "data.patients=80",
    "--batch-size",
    "8",
    "--task",
    "multilabel",
]
PLATEAU = ["--augment", "mixup", "--schedule", "plateau", "--set", "schedule.patience=0", "--epochs", "5"]
PHASES = ["--weights", "start", "--freeze-epochs", "2", "--epochs", "4", "--patience", "2", "--optimizer", "sgd"]
TRAININGS = {
    "plateau": [*SMALL, *IMAGES, *PLATEAU, "--checkpoint-every", "3"],
    "phases": [*SMALL, *IMAGES, *PHASES, "--checkpoint-every", "5"],
}
TIMES = {"seconds", "images_per_second"}
COLUMNS = ["training", "drawn", "at", "doing", "status", "equal", "differs", "seed", "python", "machine"]

# counts what a process does and kills it, without a chance to tidy up, before the event number `limit`
SESSION = """
import os, signal, sys
limit, note = int(sys.argv.pop(1)), sys.argv.pop(1)
count, busy = 0, False
def event(what):
    global count, busy
    if busy:
        return
    count += 1
    if count == 1:
        busy = True
        open(note + ".begun", "w").close()
        busy = False
    if count == limit:
        busy = True
        with open(note, "w") as file:
            file.write(what)
        os.kill(os.getpid(), signal.SIGKILL)
def hook(name, args):
    if name in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
        path = str(args[0])
        if ("runs/" in path or "/cache/" in path) and not path.endswith((".py", ".pyc")):
            event(f"{name} {os.path.basename(path)}")
sys.addaudithook(hook)
from zoo.engine import devices
devices.import_keras()
from zoo.engine import epochs, steps
def watched(owner, name):
    inner = getattr(owner, name)
    def outer(self, *args, **keywords):
        event(f"{name} of {owner.__name__}")
        value = inner(self, *args, **keywords)
        event(f"after {name} of {owner.__name__}")
        return value
    setattr(owner, name, outer)
watched(steps.Steps, "after")
watched(epochs.Epochs, "_validate")
from zoo.cli.main import cli
code = 0
try:
    cli(prog_name="zoo")
except SystemExit as end:
    code = end.code or 0
busy = True
with open(note, "w") as file:
    file.write(str(count))
sys.exit(code)
"""


@dataclass
class Moment:
    """One kill."""

    training: str
    drawn: str  # "time" or "event"
    at: str
    doing: str
    status: str
    equal: bool = False
    differs: list[str] = field(default_factory=list)


class Workshop:
    """A folder in which the trainings run, with an uninterrupted run of each to compare with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        start = [*SMALL, *IMAGES, "--epochs", "1", "--seed", "5", "--run", "start"]
        self.finish(["train", *start])
        for name, words in TRAININGS.items():
            self.events[name] = int(self.finish(["train", *words, "--run", name]))
            self.seconds[name] = time.time() - self.begun.stat().st_mtime

    @property
    def note(self) -> Path:
        return self.folder / "note"

    @property
    def begun(self) -> Path:
        """Appears when a process makes its first file: before that there is nothing to kill."""
        return self.folder / "note.begun"

    def start(self, words: list[str], limit: int = 0) -> subprocess.Popen[str]:
        self.note.unlink(missing_ok=True)
        self.begun.unlink(missing_ok=True)
        return subprocess.Popen(
            [sys.executable, "-c", SESSION, str(limit), str(self.note), *words],
            cwd=self.folder,
            env=os.environ | {"ZOO_CACHE": str(self.folder / "cache")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finish(self, words: list[str]) -> str:
        """Run to the end; returns the number of events."""
        process = self.start(words)
        _, errors = process.communicate(timeout=600)
        if process.returncode:
            raise RuntimeError(f"zoo {' '.join(words)} ended with {process.returncode}: {errors}")
        return self.note.read_text()

    def kill(self, training: str, words: list[str], draw: random.Random) -> tuple[str, str, str] | None:
        """Start and kill at a random moment; how it was drawn, when, and what was going on. None where it finished first."""
        by_time = draw.random() < 0.5
        limit = 0 if by_time else draw.randint(1, self.events[training])
        delay = draw.random() * self.seconds[training] if by_time else 600.0
        process = self.start(words, limit)
        while by_time and process.poll() is None and not self.begun.exists():
            time.sleep(0.01)
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        if process.returncode != -signal.SIGKILL:
            return None
        if by_time:
            return "time", f"{delay:.2f} s", ""
        return "event", str(limit), self.note.read_text()

    def status(self, run: str) -> str:
        """What run.json said when the process died, and how many epochs were done."""
        path = self.folder / "runs" / run
        if not (path / "config.yaml").exists():
            return "before the configuration"
        status = json.loads((path / "run.json").read_text())["status"]
        rows = (path / "metrics.csv").read_text().count("\n") - 1 if (path / "metrics.csv").exists() else 0
        return f"{status}, {rows} epochs"


def differences(expected: Path, found: Path) -> list[str]:
    """The files of two finished runs that are not the same."""
    files = ["model.keras", "checkpoints/best.weights.h5", "checkpoints/last.weights.h5", "metrics.csv", "images.csv"]
    results = [p.relative_to(expected) for p in expected.glob("**/*") if p.suffix in (".csv", ".json")]
    named = [str(p) for p in results if p.name not in ("run.json", "metrics.csv", "data.json")]
    wrong = [name for name in dict.fromkeys([*files, *named]) if content(expected / name) != content(found / name)]
    last = [max((run / "checkpoints").glob("checkpoint-*.npz"), default=run / "none") for run in (expected, found)]
    return wrong + (["checkpoint"] if content(last[0]) != content(last[1]) else [])


def content(path: Path) -> object:
    """What counts of a file: arrays bit for bit, metrics.csv without its times, everything else as it is."""
    if not path.exists():
        return None
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return list(arrays(archive.read("model.weights.h5")))
    if path.suffix == ".h5":
        return list(arrays(path.read_bytes()))
    if path.suffix == ".npz":
        with np.load(path) as file:
            return {name: file[name].tobytes() for name in file.files if name != "header"}
    if path.name == "metrics.csv":
        with path.open(newline="") as table:
            return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(table)]
    if path.name.startswith(("results", "evaluation")):
        return path.read_text().replace(path.parent.name, "RUN")  # results name their run
    return path.read_bytes()


def arrays(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of every array in an HDF5 file."""
    found: list[tuple[str, bytes]] = []
    with h5py.File(io.BytesIO(data), "r") as file:
        file.visititems(lambda n, o: found.append((n, o[...].tobytes())) if isinstance(o, h5py.Dataset) else None)
    yield from sorted(found)


def chain(workshop: Workshop, training: str, run: str, draw: random.Random) -> list[Moment]:
    """Kill and resume one run until it is left to finish; the moments of it."""
    moments: list[Moment] = []
    path = workshop.folder / "runs" / run
    while True:
        if path.exists() and not (path / "config.yaml").exists():
            shutil.rmtree(path)  # killed before there was anything to resume
        resumed = path.exists()
        if resumed and workshop.status(run).startswith("complete"):
            break  # killed when all was done
        words = ["train", "--resume", run] if resumed else ["train", *TRAININGS[training], "--run", run]
        if not moments or draw.random() < 0.6:
            killed = workshop.kill(training, words, draw)
            if killed is not None:
                moments.append(Moment(training, *killed, status=workshop.status(run)))
                continue
        else:
            workshop.finish(words)
        break
    wrong = differences(workshop.folder / "runs" / training, path)
    for moment in moments:
        moment.equal, moment.differs = not wrong, wrong
    shutil.rmtree(path)
    return moments


def run_moments(count: int, seed: int, folder: Path) -> list[Moment]:
    """At least `count` moments, every chain of kills carried to its end."""
    draw = random.Random(seed)
    workshop = Workshop(folder)
    moments: list[Moment] = []
    while len(moments) < count:
        training = list(TRAININGS)[len(moments) % 2]
        if draw.random() < 0.1:
            shutil.rmtree(folder / "cache")  # so that preparation is killed too
        moments += chain(workshop, training, f"killed-{len(moments)}", draw)
        print(f"{len(moments)} moments, {sum(m.equal for m in moments)} in runs that ended equal", flush=True)
    return moments


def write(moments: list[Moment], seed: int) -> None:
    """Put the moments into the CSV file, in place of those of the same seed; those of other seeds stay."""
    kept: list[list[str]] = []
    if TARGET.exists():
        with TARGET.open(newline="") as file:
            kept = [row for row in list(csv.reader(file))[1:] if row[COLUMNS.index("seed")] != str(seed)]
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(kept)
        for m in moments:
            row = [m.training, m.drawn, m.at, m.doing, m.status, m.equal, " ".join(m.differs)]
            writer.writerow([*row, seed, platform.python_version(), platform.machine()])


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        moments = run_moments(count, seed, Path(folder))
    write(moments, seed)
    print(f"{sum(m.equal for m in moments)} of {len(moments)} moments in runs equal to the uninterrupted one")


if __name__ == "__main__":
    main()
