"""A search that several machines share: every trial once, on one of them, and all trials in the table of each.

The machines are calls in this process under names of their own, so that they meet at chosen moments, and real processes that
are really killed.
"""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sweep_machine
from loglines import log_lines
from sweep_process import SPACE, definition, pretend, sweep

from zoo.core import locks
from zoo.search import tuner
from zoo.search.folder import Folder
from zoo.search.process import Ended, Job, Watch
from zoo.search.trials import Results

optuna = pytest.importorskip("optuna")

URL = "sqlite:///shared.db"
FOLDERS = pytest.mark.parametrize("folders", [("runs", "runs"), ("east", "west")], ids=["one folder", "a folder each"])


class Killed(BaseException):
    """What a test raises where a machine would die."""


class Machine:
    """One of several that run the same sweep, of which it notes the trials that it carries out."""

    here = threading.local()

    def __init__(self, name: str, runs: str = "runs", trials: int = 4) -> None:
        self.name, self.runs, self.trials = name, runs, trials
        self.executed: list[str] = []
        self.said: list[str] = []
        self.during: dict[str, Callable[[], None]] = {}  # a run -> what happens after its second epoch
        self.at_first: Callable[[], Any] = lambda: None  # what happens before the first trial of a sweep

    def sweep(self, *, take_over: bool = False) -> Results:
        self.executed.clear()
        with self._named(), log_lines() as self.said:
            wanted = definition("search", trials=self.trials, storage=URL)
            return sweep(wanted, self._execute, runs=self.runs, storage=URL, take_over=take_over)

    @contextmanager
    def _named(self) -> Iterator[None]:
        before = getattr(Machine.here, "name", "")
        Machine.here.name = self.name
        try:
            yield
        finally:
            Machine.here.name = before

    def _execute(self, job: Job, watch: Watch) -> Ended:
        self.executed.append(job["run"])
        if len(self.executed) == 1:
            self.at_first()

        def watched(row: Mapping[str, Any]) -> bool:
            if row["epoch"] == 2 and job["run"] in self.during:
                self.during.pop(job["run"])()
            return watch(row)

        return pretend(job, watched)

    @property
    def table(self) -> str:
        return Path(self.runs, "s", "results.csv").read_text()


def die() -> None:
    raise Killed


def statuses(table: str) -> list[str]:
    return [row["status"] for row in csv.DictReader(table.splitlines())]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platform.node", lambda: Machine.here.name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The table of a sweep of one machine that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        patch.setattr("platform.node", lambda: Machine.here.name)
        machine = Machine("alone")
        machine.sweep()
        assert statuses(machine.table) == ["complete"] * 4
        return machine.table


def together(*calls: Callable[[], Any]) -> None:
    """Call all at once, each in a thread."""
    failed: list[BaseException] = []

    def guarded(call: Callable[[], Any]) -> None:
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in failed:
        raise error


@FOLDERS
def test_two_machines_that_reach_for_the_same_trial_carry_out_each_once(
    folders: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = (Machine(name, runs, 6) for name, runs in zip(("east", "west"), folders, strict=True))
    storage: Any = optuna.storages.RDBStorage
    inner, meeting = storage.check_trial_is_updatable, threading.Barrier(2)

    def met(*arguments: Any) -> None:
        inner(*arguments)  # the trial is read, and not yet changed
        with suppress(threading.BrokenBarrierError):  # the database may let one of them alone read it
            meeting.wait(0.5)

    monkeypatch.setattr(storage, "check_trial_is_updatable", met)
    begun = threading.Barrier(2)
    for each in (east, west):
        each.at_first = lambda: begun.wait(100)  # or a quick one could carry out all of them before the other begins
    together(east.sweep, west.sweep)
    assert sorted(east.executed + west.executed) == [f"s-{number:02d}" for number in range(1, 7)]
    assert east.executed
    assert west.executed
    for each in (east, west):
        results = each.sweep()
        assert each.executed == []
        assert len(results.trials) == 6
        assert set(statuses(each.table)) <= {"complete", "pruned"}
    assert east.table == west.table


def test_a_machine_accepts_the_runs_that_another_begins_while_it_looks_for_the_sweep(
    whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = Machine("east"), Machine("west")
    begun = False

    def then_east_sweeps(inner: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any) -> Any:
            nonlocal begun
            found = inner(*arguments)
            if not begun:
                begun = True
                east.sweep()
            return found

        return look

    for name in ("read", "taken"):  # the two looks, in whichever order
        monkeypatch.setattr(Folder, name, then_east_sweeps(getattr(Folder, name)))
    west.sweep()
    assert (len(east.executed), west.executed) == (4, [])
    assert west.table == whole


def test_two_machines_that_make_the_tables_at_once_both_begin() -> None:
    import sqlalchemy

    east, west = Machine("east", "east"), Machine("west", "west")

    def meanwhile(*arguments: Any, **words: Any) -> None:
        if not Path("east").exists():  # west has seen that there are no tables, and makes them now
            east.sweep()

    sqlalchemy.event.listen(sqlalchemy.MetaData, "before_create", meanwhile)
    try:
        west.sweep()
    finally:
        sqlalchemy.event.remove(sqlalchemy.MetaData, "before_create", meanwhile)
    assert len(east.executed) == 4
    assert west.executed == []
    assert east.table == west.table


@pytest.mark.parametrize("dies", [True, False])
def test_a_trial_that_another_machine_was_quicker_to_claim_stays_that_machine_s(
    dies: bool, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = Machine("east", "east"), Machine("west", "west")
    inner_all, inner_claim, moment = tuner.Search._all, tuner.Search.claim, {"claiming": False, "over": False}

    def quicker(study: tuner.Search) -> Any:
        found = inner_all(study)
        if moment["claiming"] and not moment["over"]:  # west has looked, and not yet claimed
            moment["over"] = True
            if dies:
                east.during["s-01"] = die
                with pytest.raises(Killed):
                    east.sweep()
            else:
                east.sweep()
        return found

    def claim(study: tuner.Search) -> Any:
        moment["claiming"] = True
        return inner_claim(study)

    monkeypatch.setattr(tuner.Search, "_all", quicker)
    monkeypatch.setattr(tuner.Search, "claim", claim)
    west.sweep()
    assert west.executed == (["s-02", "s-03", "s-04"] if dies else [])
    west.sweep()
    assert west.executed == []
    east.sweep()
    assert east.executed == (["s-01"] if dies else [])
    assert east.table == whole


def test_a_machine_that_dies_while_it_claims_a_trial_finds_it_again(
    whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = Machine("east", "east"), Machine("west", "west")
    with monkeypatch.context() as patch:
        patch.setattr(tuner.Search, "_own", lambda study, frozen: die())
        with pytest.raises(Killed):
            east.sweep()
    west.sweep()
    assert west.executed == ["s-02", "s-03", "s-04"]
    assert any("running on another machine" in line for line in west.said)
    east.sweep()
    assert east.executed == ["s-01"]
    assert east.table == whole


@FOLDERS
def test_the_trial_of_a_dead_machine_is_left_alone_and_taken_over_when_asked(
    folders: tuple[str, str], whole: str
) -> None:
    east, west = (Machine(name, runs) for name, runs in zip(("east", "west"), folders, strict=True))
    east.during["s-02"] = die
    with pytest.raises(Killed):
        east.sweep()
    west.sweep()
    assert west.executed == ["s-03", "s-04"]
    assert statuses(west.table) == ["complete", "running", "complete", "complete"]
    assert any("running on east" in line and "--take-over" in line for line in west.said)
    west.during["s-02"] = die
    with pytest.raises(Killed):
        west.sweep(take_over=True)
    east.sweep()
    assert east.executed == []  # it has lost the trial
    west.sweep()
    assert west.executed == ["s-02"]
    assert west.table == whole
    assert not any("running on" in line for line in west.said)
    east.sweep()
    assert east.executed == []
    assert east.table == whole


def test_a_machine_that_was_thought_dead_leaves_the_result_as_it_is(whole: str) -> None:
    east, west = Machine("east", "east"), Machine("west", "west")

    def take_over() -> None:
        west.sweep(take_over=True)

    east.during["s-02"] = take_over
    east.sweep()
    assert east.executed == ["s-01", "s-02"]
    assert west.executed == ["s-02", "s-03", "s-04"]
    assert east.table == west.table == whole


def test_in_a_shared_folder_no_machine_writes_an_older_table_over_a_newer(
    whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    east, west = Machine("east"), Machine("west")
    holding, reading, arrived = threading.Event(), threading.Event(), threading.Event()
    other = threading.Thread(target=west.sweep)
    inner_trials, inner_write, inner_flock = tuner.Search.trials, Folder.write_results, locks.flock

    def begin() -> None:
        west.during["s-02"] = hold
        other.start()
        assert holding.wait(100)

    def hold() -> None:
        holding.set()
        assert reading.wait(100)

    def read(study: tuner.Search) -> Any:
        found = inner_trials(study)
        if Machine.here.name == "east" and sum(trial.done for trial in found) == 3:
            reading.set()  # west finishes the last trial between this reading and the writing, if it may
            assert arrived.wait(100)
        return found

    def write(self: Folder, results: Results) -> None:
        inner_write(self, results)
        if Machine.here.name == "west" and reading.is_set():
            arrived.set()

    def flock(handle: int, *, wait: bool) -> bool:
        if Machine.here.name == "west" and reading.is_set():
            arrived.set()  # it is about to wait
        return inner_flock(handle, wait=wait)

    east.during["s-01"] = begin
    monkeypatch.setattr(tuner.Search, "trials", read)
    monkeypatch.setattr(Folder, "write_results", write)
    monkeypatch.setattr(locks, "flock", flock)
    east.sweep()
    other.join()
    assert west.executed == ["s-02"]
    assert east.table == whole


def machine(name: str, *words: str, machines: int = 1, kill: str = "-") -> subprocess.Popen[str]:
    """Start `zoo sweep s WORDS` on a machine of its own."""
    script = str(sweep_machine.__file__)
    return subprocess.Popen(
        [sys.executable, script, name, str(machines), kill, "s", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> list[str]:
    """What a machine said on standard error."""
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code, errors
    return errors.splitlines()


def carried_out(said: list[str]) -> list[str]:
    return [line.rpartition(" → ")[2] for line in said if line.startswith("Trial ") and " → " in line]


def asked(trials: int, runs: str) -> list[str]:
    words = ["--model", "tiny-cnn", "--image-size", "16", "--data", "phantom", "--epochs", "4"]
    words += [word for over in SPACE for word in ("--over", over)]
    return [*words, "--trials", str(trials), "--storage", URL, "--runs-dir", runs]


@pytest.mark.slow
@FOLDERS
def test_the_same_command_on_two_machines_shares_the_trials(folders: tuple[str, str]) -> None:
    begun = [machine(name, *asked(12, runs), machines=2) for name, runs in zip(("east", "west"), folders, strict=True)]
    shares = [carried_out(ended(process)) for process in begun]
    assert all(shares)
    assert sorted(shares[0] + shares[1]) == [f"s-{number:02d}" for number in range(1, 13)]
    for name, runs in zip(("east", "west"), folders, strict=True):
        assert carried_out(ended(machine(name, *asked(12, runs)))) == []
    tables = [Path(runs, "s", "results.csv").read_text() for runs in folders]
    assert tables[0] == tables[1]
    assert len(statuses(tables[0])) == 12
    assert set(statuses(tables[0])) == {"complete", "pruned"}


@pytest.mark.slow
@FOLDERS
def test_a_machine_that_is_really_killed_is_left_alone_and_taken_over_when_asked(
    folders: tuple[str, str], whole: str
) -> None:
    east, west = (asked(4, runs) for runs in folders)
    ended(machine("east", *east, kill="2:2"), -signal.SIGKILL)
    said = ended(machine("west", *west))
    assert carried_out(said) == ["s-03", "s-04"]
    assert any("running on east" in line and "--take-over" in line for line in said)
    said = ended(machine("west", *west, "--take-over"))
    assert carried_out(said) == ["s-02"]
    assert not any("running on" in line for line in said)
    assert Path(folders[1], "s", "results.csv").read_text() == whole
