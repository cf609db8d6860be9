"""Several hosts, as processes of one machine: they train one run, one of them writes, and the loss of one is survived."""

from __future__ import annotations

import csv
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from child_targets import await_end

from zoo.core.errors import UsageError, ZooError
from zoo.engine import supervisor
from zoo.engine.hosts import parse_cluster
from zoo.runs.run import Run

ZOO = [sys.executable, "-c", "from zoo.cli.main import main; main()", "train"]
TRAINING = (
    "--model tiny-cnn --set model.width=4 --set model.depth=1 --set model.dropout=0.3 --image-size 16 --data phantom"
)
TRAINING += " --set data.patients=30 --augment mixup --batch-size 8 --seed 3"
TIMEOUT = 10  # seconds after which a silent host is lost
PATIENCE = 240  # a busy machine takes long to compile

Started = Callable[..., list["subprocess.Popen[str]"]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    """Start the same command on two hosts, each in a folder of its own."""
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    started: list[subprocess.Popen[str]] = []

    def both(*words: str) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        hosts = []
        for index in range(2):
            Path(f"host{index}").mkdir(exist_ok=True)
            place = ["--hosts", "2", "--host", str(index), "--coordinator", f"127.0.0.1:{port}"]
            command = [*ZOO, *words, *place, "--host-timeout", str(TIMEOUT), "--devices", "cpu:1"]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            hosts.append(subprocess.Popen(command, cwd=f"host{index}", **pipes))
        started.extend(hosts)
        return hosts

    yield both
    for process in started:
        process.kill()
        process.communicate()  # closes its pipes


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, output, errors


def values(run: Path) -> list[list[float]]:
    with (run / "metrics.csv").open() as file:
        return [[float(row[k]) for k in ("loss", "val_loss", "val_auroc")] for row in csv.DictReader(file)]


def wait_for(file: Path, *processes: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), finished(processes[0])
        time.sleep(0.05)


@pytest.mark.slow
def test_two_hosts_train_what_one_trains_and_the_first_alone_writes(start: Started, tmp_path: Path) -> None:
    words = [*TRAINING.split(), "--epochs", "2", "--run", "both", "--json"]
    first, second = (finished(process) for process in start(*words))
    assert first[0] == 0, first[2]
    assert second[0] == 0, second[2]
    alone = subprocess.run(
        [*ZOO, *TRAINING.split(), "--epochs", "2", "--run", "alone"], check=False, capture_output=True
    )
    assert alone.returncode == 0, alone.stderr
    for one, two in zip(values(Path("runs/alone")), values(Path("host0/runs/both")), strict=True):
        assert one == pytest.approx(two, abs=1e-5)
    assert json.loads(first[1])["run"] == "runs/both"
    info = Run(Path("host0/runs/both")).info()
    assert (info["status"], info["device"]) == ("complete", "2 × CPU (jax) on 2 hosts")
    assert (info["devices"], info["hosts"]) == (2, 2)
    assert second[1] == ""
    assert "Epoch" not in second[2]
    assert list(Path("host1").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_host_ends_the_run_in_time_and_it_goes_on(lost: int, start: Started, tmp_path: Path) -> None:
    words = [*TRAINING.split(), "--epochs", "400", "--run", "long", "--checkpoint-every", "2"]
    hosts = start(*words)
    run = Run(Path("host0/runs/long"))
    wait_for(run.path / "metrics.csv", *hosts)
    hosts[lost].kill()
    since = time.monotonic()
    code, _, errors = finished(hosts[1 - lost])
    assert time.monotonic() - since < 2 * TIMEOUT + 20
    assert code == 1, errors
    assert "Error: another host of the training was lost" in errors.splitlines()[-1]
    assert "zoo train --resume" in errors.splitlines()[-1]
    assert run.info()["status"] in (("failed", "interrupted") if lost else ("running",))
    rows = values(run.path)
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 400", f"epochs: {len(rows) + 1}"))
    for code, _, errors in map(finished, start("--resume", "long")):
        assert code == 0, errors
    assert run.info()["status"] == "complete"
    assert values(run.path)[: len(rows)] == rows


@pytest.mark.slow
def test_a_host_asked_to_stop_stops_all_after_the_same_step(start: Started) -> None:
    hosts = start(*TRAINING.split(), "--epochs", "400", "--run", "long")
    run = Run(Path("host0/runs/long"))
    wait_for(run.path / "metrics.csv", *hosts)
    hosts[1].send_signal(signal.SIGTERM)
    for code, _, errors in map(finished, hosts):
        assert code == 128 + signal.SIGTERM, errors
    assert run.info()["status"] == "interrupted"


def test_a_signal_that_comes_while_the_hosts_ask_each_other_is_not_lost() -> None:
    from zoo.engine.steps import Steps

    signals = SimpleNamespace(received=None)

    class Asking:
        def any_signal(self, received: int | None) -> int | None:
            signals.received = signals.received or signal.SIGTERM  # the handler runs in the middle of it
            return received

    steps = object.__new__(Steps)
    steps.signals, steps._group, steps._unread, steps._ending = signals, Asking(), [], False
    steps.exchange_signals()
    assert (signals.received, steps._ending) == (signal.SIGTERM, False)
    steps.exchange_signals()
    assert steps._ending


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (("2", None, None), "--hosts 2 needs --host and --coordinator"),
        (("2", 0, None), "--hosts 2 needs --coordinator"),
        (("2", 2, "a:1"), "--host 2: of 2 hosts the last is 1"),
        (("two", 0, "a:1"), "not 'two'"),
        (("0", 0, "a:1"), "not '0'"),
        (("2", 0, "10.0.0.1"), "--coordinator is the ADDRESS:PORT of host 0"),
    ],
)
def test_hosts_that_are_not_described_say_what_is_missing(said: tuple[Any, ...], part: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_cluster(*said, 60)
    assert part in str(error.value)


def test_hosts_are_detected_or_named() -> None:
    assert parse_cluster("auto", None, None, 30).count is None
    cluster = parse_cluster("2", 1, "10.0.0.1:9911", 30)
    assert (cluster.count, cluster.index, cluster.coordinator, cluster.timeout) == (2, 1, "10.0.0.1:9911", 30)


def test_several_hosts_need_jax(run_zoo: Callable[..., Any]) -> None:
    place = ["--hosts", "2", "--host", "0", "--coordinator", "127.0.0.1:9"]
    done = run_zoo("train", *TRAINING.split(), *place, KERAS_BACKEND="tensorflow")
    assert done.returncode == 2, done.stderr
    assert "--hosts works with JAX, the backend here is tensorflow" in done.stderr
    assert "KERAS_BACKEND=jax" in done.stderr


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_supervisor_passes_the_exit_code_on() -> None:
    assert supervisor.supervise(python("raise SystemExit(7)"), TIMEOUT) == 7


def test_the_supervisor_says_what_ended_the_process_and_sets_the_status(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.update_info(status="running")
    report = (
        f"from pathlib import Path; from zoo.engine import supervisor; supervisor.report(Path({str(run.path)!r}))\n"
    )
    with pytest.raises(ZooError, match=r"not heard of for 10 seconds.*zoo train --resume .*/run"):
        supervisor.supervise(python(f"{report}import os; os.abort()"), TIMEOUT)
    assert run.info()["status"] == "interrupted"
    with pytest.raises(ZooError, match="killed by SIGKILL"):
        supervisor.supervise(python("import os; os.kill(os.getpid(), 9)"), TIMEOUT)


def test_the_supervisor_passes_a_signal_on_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; heard = []\n"
        "signal.signal(signal.SIGTERM, lambda *a: heard.append(1))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "deadline = time.monotonic() + 60\n"
        "while not heard and time.monotonic() < deadline: time.sleep(.01)\n"
        "time.sleep(.2); raise SystemExit(10 + len(heard))"
    )
    outer = f"from zoo.engine.supervisor import supervise; raise SystemExit(supervise({python(code)!r}, 5))"
    process = subprocess.Popen(python(outer))
    wait_for(tmp_path / "ready", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 11


def test_the_process_ends_with_its_supervisor(tmp_path: Path) -> None:
    code = (
        "import os, time; from zoo.engine import supervisor; supervisor.attach()\n"
        f"open({str(tmp_path / 'part')!r}, 'w').write(str(os.getpid()))\n"
        f"os.rename({str(tmp_path / 'part')!r}, {str(tmp_path / 'pid')!r}); time.sleep(60)"
    )
    outer = f"from zoo.engine.supervisor import supervise; supervise({python(code)!r}, 5)"
    process = subprocess.Popen(python(outer))
    wait_for(tmp_path / "pid", process)
    process.kill()
    process.wait()
    await_end(int((tmp_path / "pid").read_text()))
