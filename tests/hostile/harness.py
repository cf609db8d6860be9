"""Hostile files and requests, each with the answer it must get, run one after the other in a process of their own.

A corpus is a module `corpus_AREA.py` with a list `CASES` of `Case`, and its test is

    def test_every_case_gets_its_answer(tmp_path):
        assert harness.run("corpus_AREA", tmp_path) == []

A case reads by a public face of zoo: a function, or a command by `zoo("evaluate", "run")`. It is

- read: `refused` is None; the face must return, and what it returns must not be False (so `lambda f: read(f) == 3` checks);
- refused: `refused` is a pattern (`re.search`) that the message must match; the face must raise ZooError or BadImage. A face that
  answers otherwise (a status of HTTP) raises `Refused(text)` for what it refuses.

Everything else is a fault: another exception or "internal error", a refusal in other words, what is read but should be
refused, more than `MEMORY` resident bytes, more than `SECONDS`, the end of the process, and any file that is opened, made,
moved or removed outside the case's folder. `write` gets that empty folder, which is the working directory too; what it does
is not watched. `outside(folder)` is a file that no case may touch. Interpreter, packages, /proc and the like may be read;
TMPDIR and HOME are folders of the run and may be written.

What is heavy is imported inside functions: the module is imported by the test as well. A corpus may define `setup()`, called
in each new process before its first case and outside the limit of time, to import it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 1_000_000_000  # bytes, of the process and those it started
SECONDS = 20.0
_SETUP_S = 120.0
_HERE = Path(__file__).resolve().parent
_REPOSITORY = _HERE.parents[1]
_BEGUN, _ENDED = "begun", "ended"


@dataclass(frozen=True)
class Case:
    """One hostile input: a unique name, what writes it, the face that reads it, and what a refusal must say (None: it is read)."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], object]
    refused: str | None


class Refused(Exception):
    """What a face that answers by a status or an exit code has refused, with the text of its answer."""


def zoo(*words: str | Path) -> str:
    """Run a command; returns what it prints, errors included.

    Raises:
        Refused: it ends with 1 or 2, and exactly one line of "Error:".
        AssertionError: it ends otherwise, or in an internal error.
    """
    from click.testing import CliRunner

    from zoo.cli.main import cli

    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert "internal error" not in result.output, f"internal error: {result.output}"
    assert "Traceback" not in result.output, result.output
    if result.exit_code:
        assert result.exit_code in (1, 2), f"exit code {result.exit_code}: {result.output}"
        assert len(re.findall("^Error: ", result.stderr, re.MULTILINE)) == 1, f"not one error: {result.output}"
        raise Refused(" ".join(result.stderr.split()))
    return result.output


def outside(folder: Path) -> Path:
    """A file with the content "secret" outside of every case's folder."""
    return folder.parent / "outside" / "secret"


def run(corpus: str, folder: Path, *, memory: int = MEMORY, seconds: float = SECONDS) -> list[str]:
    """Run every case of a corpus below `folder`; returns one line for each fault, beginning with the case's name."""
    names = [case.name for case in importlib.import_module(corpus).CASES]
    assert len(set(names)) == len(names), "the names of cases must differ"
    (folder / "outside").mkdir()
    (folder / "outside" / "secret").write_text("secret")
    faults: list[str] = []
    begin = 0
    while begin < len(names):
        begin = _run_from(begin, names, corpus, folder, faults, (memory, seconds))
    if outside(folder / "x").read_text() != "secret" or len(list((folder / "outside").iterdir())) != 1:
        faults.append("a case: what lies outside its folder was changed")
    return faults


def _run_from(
    begin: int, names: list[str], corpus: str, folder: Path, faults: list[str], bounds: tuple[int, float]
) -> int:
    """Run cases in one process until it ends; returns the number of the next one."""
    memory, seconds = bounds
    with _child(corpus, folder, begin) as (child, log):
        at, running, since, lines = begin, False, time.monotonic(), 0
        while True:
            ended = child.poll() is not None
            told = (folder / "told").read_text().splitlines() if (folder / "told").exists() else []
            for line in told[lines:]:
                state, number, fault, peak = json.loads(line)
                if peak > memory:
                    fault = f"took {peak / 1e6:,.0f} MB of memory{'; ' + fault if fault else ''}"
                at, running, since = number + (state == _ENDED), state == _BEGUN, time.monotonic()
                faults += [f"{names[number]}: {fault}"] if fault else []
            lines = len(told)
            if ended:
                if child.returncode or at < len(names):
                    tail = " ".join(log.read_text(errors="replace").split())[-500:]
                    faults.append(
                        f"{names[min(at, len(names) - 1)]}: the process ended with {child.returncode}: {tail}"
                    )
                    return at + 1
                return at
            took = time.monotonic() - since
            if took > (seconds if running else _SETUP_S):
                faults.append(f"{names[at]}: took more than {seconds:g} s")
                return at + 1
            if running and (peak := _peak(child.pid)) > memory:
                faults.append(f"{names[at]}: took {peak / 1e6:,.0f} MB of memory")
                return at + 1
            time.sleep(0.02)


@contextlib.contextmanager
def _child(corpus: str, folder: Path, begin: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "told").unlink(missing_ok=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ZOO_", "XDG_", "KAGGLE", "PYTEST"))}
    own = {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "MPLCONFIGDIR": str(folder / "home")}
    words = [sys.executable, str(_HERE / "harness.py"), corpus, str(folder), str(begin)]
    log = folder / "log"
    with log.open("wb") as stream:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=kept | own | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            start_new_session=True,
        )
    try:
        yield child, log
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _peak(process: int) -> int:
    """The most resident bytes of a process since its case began, and those of the processes that it started."""
    total, found = 0, [process]
    for each in found:
        with contextlib.suppress(OSError):  # it ended
            status = Path(f"/proc/{each}/status").read_text()
            total += int(re.findall(r"Vm(?:HWM|RSS):\s*(\d+)", status)[0]) * 1000 if "VmHWM" in status else 0
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return total


class _Watch:
    """An audit hook that notes what is opened and changed outside of the folders that a case may use."""

    READ = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/run", "/var/cache/fontconfig", str(_REPOSITORY))
    ETC = (
        "localtime",
        "mime.types",
        "os-release",
        "fonts",
        "ssl",
        "nsswitch.conf",
        "host.conf",
        "hosts",
        "resolv.conf",
    )
    CHANGE = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")

    def __init__(self, folder: Path) -> None:
        self.armed = False
        self.found: list[str] = []
        self.own = [str(folder / "home"), str(folder / "tmp"), "/dev"]
        installed = [os.path.realpath(each) for each in {sys.prefix, sys.base_prefix, *sys.path} if each]
        self.read = [*self.READ, *(f"/etc/{name}" for name in self.ETC), *installed]
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.armed:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = any(sign in (mode or "") for sign in "wax+") or (flags or 0) & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT
            )
            self._note(path, bool(writes), follow=not (flags or 0) & os.O_NOFOLLOW)
        elif event in self.CHANGE:
            for path in arguments[
                : 1 if event in ("os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.chmod") else 2
            ]:
                self._note(arguments[1] if event == "os.symlink" else path, True, follow=False)
        elif event in ("os.system", "os.exec", "pty.spawn"):
            self.found.append(f"ran {arguments[0]!r}")

    def _note(self, path: Any, writes: bool, follow: bool) -> None:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return
        name = os.fsdecode(path)
        if os.path.realpath(name).startswith("/memfd:"):  # a file in memory, which has no place
            return
        parent, last = os.path.split(os.path.abspath(name))
        real = os.path.realpath(name) if follow else os.path.join(os.path.realpath(parent), last)
        allowed = self.own if writes else [*self.own, *self.read]
        if (
            not any(real == each or real.startswith(each.rstrip("/") + "/") for each in allowed)
            and "__pycache__" not in real
        ):
            self.found.append(f"{'wrote' if writes else 'read'} {real}")


def _answer(case: Case, folder: Path) -> str:
    """Run a case; returns its fault, or ""."""
    from zoo.core.errors import ZooError
    from zoo.core.records import BadImage

    try:
        result = case.read(folder)
    except (ZooError, BadImage, Refused) as error:
        text = " ".join(str(error).split())
        if case.refused is None:
            return f"refused, but should be read: {text}"
        return "" if re.search(case.refused, text) else f"refused without the words {case.refused!r}: {text}"
    except BaseException as error:
        return f"internal error: {type(error).__name__}: {error}"
    if case.refused is not None:
        return f"a silent pass, but should be refused: {str(result)[:300]}"
    return "read, but not as it should be" if result is False else ""


def _main(corpus: str, folder: Path, begin: int) -> None:
    sys.path[:0] = [str(_HERE), str(_HERE.parent / "support"), str(_REPOSITORY)]
    module = importlib.import_module(corpus)
    watch = _Watch(folder)
    if hasattr(module, "setup"):
        module.setup()
    with (folder / "told").open("a", buffering=1) as told:
        for number, case in enumerate(module.CASES[begin:], begin):
            place = folder / f"case-{number}"
            place.mkdir()
            os.chdir(place)
            case.write(place)
            with contextlib.suppress(OSError):  # where the kernel lets: the peak of memory counts from here
                Path("/proc/self/clear_refs").write_text("5")
            watch.own[0:0], watch.found, watch.armed = [str(place)], [], True
            told.write(json.dumps((_BEGUN, number, "", 0)) + "\n")
            fault = _answer(case, place)
            watch.armed = False
            fault = "; ".join(filter(None, [fault, *dict.fromkeys(watch.found)]))
            told.write(json.dumps((_ENDED, number, fault, _peak(os.getpid()))) + "\n")
            del watch.own[0]
            os.chdir(folder)
            shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.modules["harness"] = sys.modules["__main__"]
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
