"""The folder of a sweep, RUNS/NAME: its definition and trials (sweep.json) and its table (results.csv)."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.core.errors import UsageError, ZooError, did_you_mean
from zoo.core.files import write_text
from zoo.core.locks import locked
from zoo.search.trials import Results, Trial

FILE, TABLE = "sweep.json", "results.csv"


@dataclass
class Definition:
    """What to vary and how.

    Attributes:
        name: of the sweep.
        over: the settings that vary, as typed.
        below: layers of the configuration from a file.
        above: layers from the command line, which override those.
        metric: validation metric that ranks the trials.
        also: metrics that the table shows beside it.
        trials: number of trials of a search; None for a grid.
        prune: whether a search stops trials that fall behind.
        storage: address of a search's database without its password; None for the file in the sweep's folder.
        checkpoint_every: steps between checkpoints; None for one per epoch.
        track: trackers of every trial, as `--track` takes them.
    """

    name: str
    over: list[str]
    below: list[dict[str, Any]] = field(default_factory=list)
    above: list[dict[str, Any]] = field(default_factory=list)
    metric: str = "auroc"
    trials: int | None = None
    prune: bool = True
    storage: str | None = None
    checkpoint_every: int | None = None
    track: list[str] = field(default_factory=list)
    also: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return "grid" if self.trials is None else "search"


@dataclass(frozen=True)
class Folder:
    """A sweep's folder. Its trials are runs beside it: NAME-01, NAME-02 and so on."""

    runs_dir: Path
    name: str

    @property
    def path(self) -> Path:
        return self.runs_dir / self.name

    @property
    def reference(self) -> str:
        """The arguments after `zoo sweep --resume` that name this sweep."""
        return self.name if self.runs_dir == Path("runs") else f"{self.name} --runs-dir {self.runs_dir}"

    def check_name(self) -> None:
        """Raise UsageError if the name is not valid or is a run's."""
        if not re.fullmatch(r"[\w.+=@-]+", self.name) or self.name.strip(".") == "":
            raise UsageError(
                f"a sweep's name is made of letters, digits and . _ + = @ -, not '{self.name}'; its folder is --runs-dir."
            )
        if (self.path / "config.yaml").exists():
            raise UsageError(f"'{self.name}' is a run in {self.runs_dir}: choose another name for the sweep.")

    def run_name(self, number: int) -> str:
        return f"{self.name}-{number:02d}"

    def taken(self, names: list[str]) -> list[str]:
        """The names that runs have already."""
        return [name for name in names if (self.runs_dir / name).exists()]

    def refuse_taken(self, names: list[str]) -> None:
        """Raise UsageError if `names`, of other runs, are those of this sweep's trials."""
        if names:
            raise UsageError(
                f"the run '{names[0]}' exists already in {self.runs_dir}, and a trial of the sweep '{self.name}' would have "
                "that name. Choose another name for the sweep."
            )

    def read(self) -> tuple[Definition, list[Trial]] | None:
        """Read sweep.json; None if there is none yet.

        Raises:
            ZooError: it is damaged.
        """
        file = self.path / FILE
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            definition = Definition(**document["definition"])
            return definition, [Trial(**each) for each in document["trials"]]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ZooError(f"{file} cannot be read ({error}): it is not the file of a sweep.") from error

    def require(self) -> tuple[Definition, list[Trial]]:
        """Read sweep.json.

        Raises:
            UsageError: there is no such sweep; names the closest.
        """
        found = self.read()
        if found is None:
            names = [file.parent.name for file in sorted(self.runs_dir.glob(f"*/{FILE}"))]
            hint = did_you_mean(self.name, names)
            raise UsageError(
                f"there is no sweep '{self.name}' in {self.runs_dir}.{hint} It holds {len(names)} sweep(s)."
            )
        return found

    def write(self, definition: Definition, trials: list[Trial]) -> None:
        document = {
            "definition": dataclasses.asdict(definition),
            "trials": [dataclasses.asdict(trial) for trial in trials],
        }
        write_text(self.path / FILE, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_results(self, results: Results) -> None:
        write_text(self.path / TABLE, results.to_csv())

    def writing(self) -> AbstractContextManager[None]:
        """Lock both files, after waiting for other machines that share the folder."""
        return locked(self.path / ".files.lock")

    @contextmanager
    def locked(self, *, shared: bool) -> Iterator[None]:
        """Lock the sweep for one process, or if `shared` for one process per machine. The former clears half files of killed ones.

        Raises (on entering):
            ZooError: another process has the lock, or the folder cannot be written.
        """
        name = f".sweep-{platform.node()}.lock" if shared else ".sweep.lock"
        with locked(self.path / name, busy=f"the sweep {self.path} is being run"):
            for left in () if shared else self.path.glob(".partial-*"):
                left.unlink(missing_ok=True)
            yield
