"""Commands killed with SIGKILL at random moments, carried on as the documentation says, compared byte for byte.

    python benchmarks/kill_commands.py [MOMENTS] [SEED] [COMMAND,...]

Beside the trainings of kill_resume.py, whose CSV file and columns it shares:

    prepare   `zoo data prepare`: the same command goes on
    train     `zoo train`: `--resume` goes on
    sweep     `zoo sweep` of two trials: the same command goes on, or `--resume`
    ensemble  `zoo ensemble`, of probabilities: made anew; of features: `zoo train --resume` goes on
    predict   `zoo predict --csv`: repeated. The file is there whole, or it is not there

Each is killed, carried on, often killed again, and at last left to finish; its files must be those of a command that was never
killed, with the exceptions of kill_resume.py (times, names). Half of the moments are drawn in time, and then all processes of the
command are killed; half are drawn among its events (files opened, renamed, removed), and then the process of the command alone is.
Keras is imported once: every command runs in a fork of this process.
"""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from kill_resume import TIMES, Moment, content, differences, write
from PIL import Image

SMALL = ["--model", "tiny-cnn", "--set", "model.width=8", "--set", "model.depth=1", "--set", "model.dropout=0.3"]
DATA = ["--data", "phantom", "--set", "data.patients=60", "--image-size", "32"]
TRAIN = [*SMALL, *DATA, "--batch-size", "8", "--epochs", "2", "--checkpoint-every", "3"]
MEAN, FEATURES = (
    ["ensemble", "one", "two", "--run", "both"],
    ["ensemble", "one", "two", "--by", "features", "--epochs", "2"],
)
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Job:
    """A command: how it starts, how it goes on, and what of it is compared."""

    start: list[str]
    further: Callable[[Path], list[list[str]]]  # commands that go on with what lies there; none: it is made anew
    makes: tuple[str, ...]  # files and folders
    share: int  # of the moments, in percent


def resumed(name: str) -> Callable[[Path], list[list[str]]]:
    """`zoo train --resume`, where there is something to resume."""
    return lambda folder: [["train", "--resume", name]] if (folder / "runs" / name / "config.yaml").exists() else []


SWEEP = ["sweep", "s", *TRAIN, "--over", "loss=bce,focal"]
PREPARE = ["data", "prepare", "--data", "phantom", "--set", "data.patients=150", "--image-size", "64"]
PREDICT = ["predict", "one", "images", "--csv", "out.csv", "--workers", "1"]
JOBS = {
    "prepare": Job(PREPARE, lambda folder: [PREPARE], ("prepared",), 30),
    "predict": Job(PREDICT, lambda folder: [PREDICT], ("out.csv",), 30),
    "train": Job(["train", *TRAIN, "--run", "t"], resumed("t"), ("runs/t",), 15),
    "mean": Job(MEAN, lambda folder: [], ("runs/both",), 10),
    "features": Job([*FEATURES, "--run", "head"], resumed("head"), ("runs/head",), 7),
    "sweep": Job(
        SWEEP,
        lambda folder: [SWEEP, ["sweep", "--resume", "s"]] if (folder / "runs/s/sweep.json").exists() else [SWEEP],
        ("runs/s", "runs/s-01", "runs/s-02"),
        8,
    ),
}


class Events:
    """Counts what a process does to files, and kills it, without a chance to tidy up, before the event number `limit`."""

    def __init__(self, limit: int, note: Path) -> None:
        self.limit, self.note, self.count, self.busy = limit, note, 0, False
        sys.addaudithook(self.hook)

    def hook(self, name: str, arguments: tuple[object, ...]) -> None:
        if self.busy or name not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        path = str(arguments[0])
        if any(part in path for part in ("runs/", "prepared", "out.csv")) and not path.endswith((".py", ".pyc")):
            self.count += 1
            if self.count == self.limit:
                self.write(f"{name} {os.path.basename(path)}")
                os.kill(os.getpid(), signal.SIGKILL)

    def write(self, text: str) -> None:
        self.busy = True
        self.note.write_text(text)


def run(words: list[str], folder: Path, limit: int = 0) -> int:
    """Start a command in a fork of this process; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ["ZOO_CACHE"] = str(folder / ("prepared" if words[0] == "data" else "cache"))
        from zoo.cli.main import cli

        events = Events(limit, folder / "note")
        try:
            cli(words, prog_name="zoo")
        except SystemExit as end:
            code = int(end.code or 0)
        events.write(str(events.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def await_end(pid: int, seconds: float) -> int | None:
    """The exit code of a process of this one; None where it has none after so many seconds."""
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)


class Workshop:
    """A folder in which the commands run, with what each makes when nothing kills it."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.expected = folder, folder / "expected"
        self.events: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        (folder / "images").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(300):
            pixels = rng.integers(0, 256, (48, 48), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number:03}.png")
        needed = {word for name in names for word in JOBS[name].start}
        for name, loss in (("one", "bce"), ("two", "focal")):
            if name not in needed:
                continue
            self.finish(["train", *TRAIN, "--loss", loss, "--run", name])
        for name in names:
            begin = time.monotonic()
            self.finish(JOBS[name].start)
            self.seconds[name] = time.monotonic() - begin
            self.events[name] = int((folder / "note").read_text())
            for made in JOBS[name].makes:
                (self.expected / made).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(folder / made, self.expected / made)

    def finish(self, words: list[str]) -> None:
        """Run to the end."""
        code = await_end(run(words, self.folder), PATIENCE_S)
        if code != 0:
            raise RuntimeError(f"zoo {' '.join(words)} ended with {code}: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self, name: str, words: list[str], draw: random.Random) -> tuple[str, str, str] | None:
        """Start and kill at a random moment; how it was drawn, when, and what was going on. None where it finished first."""
        by_time = draw.random() < 0.5
        limit = 0 if by_time else draw.randint(1, self.events[name])
        delay = draw.random() * self.seconds[name] if by_time else PATIENCE_S
        pid = run(words, self.folder, limit)
        code = await_end(pid, delay)
        if code is None:
            for each in family(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            code = await_end(pid, PATIENCE_S)
        if code == 0:
            return None
        if code != -signal.SIGKILL:
            raise RuntimeError(f"zoo {' '.join(words)} ended with {code}: {(self.folder / 'log').read_text()[-2000:]}")
        return ("time", f"{delay:.2f} s", "") if by_time else ("event", str(limit), (self.folder / "note").read_text())

    def clear(self, name: str) -> None:
        """Remove what a command made."""
        for made in JOBS[name].makes:
            path = self.folder / made
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def wrong(self, name: str) -> list[str]:
        """The files that are not those of a command that nothing killed."""
        found: list[str] = []
        for made in JOBS[name].makes:
            expected, path = self.expected / made, self.folder / made
            if (expected / "run.json").exists():
                found += [f"{made}/{each}" for each in differences(expected, path)]
            elif expected.is_file():
                found += [made] if not path.exists() or path.read_bytes() != expected.read_bytes() else []
            else:
                found += [f"{made}/{each}" for each in folders_differ(expected, path)]
            found += [f"{made}/{left.name}" for left in path.rglob(".partial-*")]  # half a file of a killed process
        return found


def folders_differ(expected: Path, found: Path) -> list[str]:
    """The files, by name, of two folders that are not the same; locks do not count, nor do the times of a sweep."""

    def files(folder: Path) -> dict[str, Path]:
        every = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != "lock")
        return {str(p.relative_to(folder)): p for p in every}

    def what(path: Path | None) -> object:
        if path is None or path.name == "sweep.json":  # times and processes
            return path is None
        if path.name == "results.csv":
            with path.open(newline="") as table:
                return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(table)]
        return content(path)

    one, other = files(expected), files(found)
    return [name for name in sorted(one.keys() | other.keys()) if what(one.get(name)) != what(other.get(name))]


def chain(workshop: Workshop, name: str, draw: random.Random) -> list[Moment]:
    """Kill a command and carry it on until it is left to finish; the moments of it."""
    moments: list[Moment] = []
    job = JOBS[name]
    while True:
        commands = job.further(workshop.folder) if moments else [job.start]
        if not commands:
            workshop.clear(name)  # killed before there was anything to resume, or made anew by its nature
            commands = [job.start]
        words = draw.choice(commands)
        if moments and draw.random() > 0.6:
            workshop.finish(words)
            break
        killed = workshop.kill(name, words, draw)
        if killed is None:
            break
        half = [f for f in workshop.wrong(name) if f == "out.csv" and (workshop.folder / f).exists()]
        moments.append(Moment(name, *killed, status="half a file" if half else "killed"))
    wrong = workshop.wrong(name)
    for moment in moments:
        moment.equal = not wrong and moment.status == "killed"
        moment.differs = wrong
    workshop.clear(name)
    return moments


def run_moments(count: int, seed: int, folder: Path, names: list[str], done: Callable[[list[Moment]], object]) -> None:
    """At least `count` moments over the named jobs; `done` is called with all so far after each chain."""
    draw = random.Random(seed)
    workshop = Workshop(folder, names)
    moments: list[Moment] = []
    whole = sum(JOBS[name].share for name in names)
    while len(moments) < count:
        behind = {n: JOBS[n].share / whole * (len(moments) + 1) - sum(m.training == n for m in moments) for n in names}
        moments += chain(workshop, max(behind, key=behind.__getitem__), draw)
        done(moments)


def main() -> None:
    from zoo.engine import devices

    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    names = sys.argv[3].split(",") if len(sys.argv) > 3 else list(JOBS)
    devices.import_keras()

    def done(moments: list[Moment]) -> None:
        write(moments, seed)
        equal = sum(m.equal for m in moments)
        print(
            f"{time.strftime('%H:%M:%S')} {moments[-1].training}: {len(moments)} moments, {equal} that ended equal",
            flush=True,
        )

    with tempfile.TemporaryDirectory() as folder:
        run_moments(count, seed, Path(folder), names, done)


if __name__ == "__main__":
    main()
