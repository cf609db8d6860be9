"""Several hosts that train together through JAX: joining, agreeing on the work, and noticing that one is lost.

Every host runs the same command and computes the same steps on its part of each batch. The first one (host 0) decides,
writes and reports; the others get configuration and checkpoint from it and need no access to its folder of runs.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config.resolve import resolve
from zoo.config.run_config import RunConfig
from zoo.config.settings import Settings
from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import Registry
from zoo.data.pipeline import ImageSet
from zoo.engine import devices, supervisor
from zoo.engine.changes import images_table
from zoo.engine.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from zoo.engine.train import Job, Outcome, assist, train
from zoo.runs.run import Run

if TYPE_CHECKING:
    import numpy as np

JOINING_S = 300  # how long hosts wait for each other at the start
PATIENCE_MS = 1000  # of one question: in between a signal is heard
# how JAX names what happens when the other end of a connection is gone
LOST = re.compile(r"gloo|nccl|socket|connection|coordination|heartbeat|unhealthy|unavailable|peer", re.IGNORECASE)


class LostHost(ZooError):
    """Another host of the training is gone. Exit code 1."""


@dataclass(frozen=True)
class Cluster:
    """The hosts as the user named them; what is None JAX finds out from Slurm, Open MPI or Kubernetes.

    A host that is not heard of for `timeout` seconds is lost.
    """

    count: int | None
    index: int | None
    coordinator: str | None
    timeout: int = 60


def parse_cluster(hosts: str, host: int | None, coordinator: str | None, timeout: int) -> Cluster:
    """Check what was said about the hosts.

    Args:
        hosts: how many, or "auto".
        host: which of them this is, counted from 0.
        coordinator: ADDRESS:PORT of host 0.
        timeout: seconds after which a silent host is lost.

    Raises:
        UsageError: something is missing or cannot be.
    """
    if coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", coordinator):
        raise UsageError(f"--coordinator is the ADDRESS:PORT of host 0, such as 10.0.0.1:9911, not '{coordinator}'.")
    if hosts == "auto":
        return Cluster(None, host, coordinator, timeout)
    if not hosts.isdecimal() or int(hosts) < 1:
        raise UsageError(f"--hosts is the number of hosts, or auto under Slurm, Open MPI or Kubernetes; not '{hosts}'.")
    missing = [name for name, value in (("--host", host), ("--coordinator", coordinator)) if value is None]
    if missing:
        raise UsageError(
            f"--hosts {hosts} needs {' and '.join(missing)}: every host runs the same command with its own --host, counted from "
            "0, and --coordinator ADDRESS:PORT of host 0."
        )
    if host is not None and host >= int(hosts):
        raise UsageError(f"--host {host}: of {hosts} hosts the last is {int(hosts) - 1}.")
    return Cluster(int(hosts), host, coordinator, timeout)


class Team:
    """This host among those that joined: number `index` of `count`."""

    def __init__(self, timeout: int) -> None:
        import jax
        from jax._src import distributed  # the key-value store of the coordinator has no public name

        self.index, self.count, self.timeout = jax.process_index(), jax.process_count(), timeout
        self._store: Any = distributed.global_state.client

    @property
    def first(self) -> bool:
        return self.index == 0

    def tell(self, key: str, text: str) -> None:
        """Let all hosts know something, once per key."""
        self._store.key_value_set(f"zoo/{key}", text)

    def hear(self, key: str) -> str:
        """What a host told or will tell; waits for it."""
        while True:
            try:
                return str(self._store.blocking_key_value_get(f"zoo/{key}", PATIENCE_MS))
            except Exception as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise

    def agree(self, what: str, text: str) -> None:
        """Make sure that all hosts have the same; waits until each has said.

        Raises:
            ZooError: another host has something else.
        """
        self.tell(f"{what}/{self.index}", text)
        others = [number for number in range(self.count) if self.hear(f"{what}/{number}") != text]
        if others:
            raise ZooError(
                f"the {what} of host {self.index} are not those of host {', '.join(map(str, others))}. Every host must be given "
                "the same ones."
            )

    def stop(self, number: int | None) -> int | None:
        """The signal that any of the hosts has received; every host asks after the same step."""
        import numpy as np
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.array([number or 0])).max()) or None

    def announce(self, job: Job) -> None:
        """Tell the other hosts what to do."""
        supervisor.report(job.run.path)
        values = {"config": job.config.to_dict(), "run": str(job.run.path), "every": job.checkpoint_every}
        self.tell("job", json.dumps(values))

    def announced(self, registry: Registry) -> Job:
        """The job of the first host."""
        values = json.loads(self.hear("job"))
        config = resolve([values["config"]], registry)
        return Job(Run(Path(values["run"])), config, registry, values["every"], team=self)

    def share(self, images: ImageSet, checkpoint: Checkpoint | None) -> None:
        """Check that all hosts have the same images, and give them the checkpoint to start from."""
        self.agree("images", _digest(images))
        data = b"" if checkpoint is None else _packed(checkpoint)
        self.tell("checkpoint", str(len(data)))
        if data:
            self._broadcast(data)

    def shared(self, images: ImageSet) -> Checkpoint | None:
        """What the first host shares."""
        self.agree("images", _digest(images))
        size = int(self.hear("checkpoint"))
        return _unpacked(self._broadcast(bytes(size)).tobytes()) if size else None

    @staticmethod
    def _broadcast(data: bytes) -> np.ndarray:
        import numpy as np
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(np.frombuffer(data, np.uint8)))

    def finish(self) -> None:
        """Part when the first host is done with what it does alone."""
        if self.first:
            self.tell("finished", "")
        self.hear("finished")

    @contextmanager
    def watched(self, run: Run) -> Iterator[None]:
        """Raise LostHost in place of what JAX raises where a connection breaks."""
        try:
            yield
        except (ZooError, OSError):
            raise
        except Exception as error:  # JAX has no class of its own for it: ValueError, RuntimeError and others were seen
            if not LOST.search(str(error)):
                raise
            reason = " ".join(str(error).split())[:160]
            raise LostHost(
                f"another host of the training was lost ({reason}). What was saved is kept; go on, on every host, with: zoo "
                f"train --resume {run.reference}"
            ) from error


@contextmanager
def joined(cluster: Cluster, settings: Settings) -> Iterator[Team]:
    """Connect with the other hosts, in a process that has not used JAX before; part when all are done.

    Raises:
        UsageError: the backend is not JAX, or the hosts are not described where they cannot be detected.
        ZooError: the hosts do not find each other.
    """
    backend = devices.import_keras().backend.backend()
    if backend != "jax":
        raise UsageError(
            f"--hosts works with JAX, the backend here is {backend}. On every host set KERAS_BACKEND=jax (pip install "
            "'cxr-zoo[jax]')."
        )
    import jax

    devices.split_cpu(settings.devices)
    if settings.deterministic:
        devices.make_deterministic()
    if settings.one_device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.count,
            cluster.index,
            initialization_timeout=JOINING_S,
            heartbeat_timeout_seconds=cluster.timeout,
        )
    except ValueError as error:
        raise UsageError(
            f"the hosts are not described ({error}): give --hosts N --host I --coordinator ADDRESS:PORT."
        ) from error
    except RuntimeError as error:
        raise ZooError(f"the hosts did not find each other: {' '.join(str(error).split())[:300]}") from error
    team = Team(cluster.timeout)
    yield team
    team.finish()
    jax.distributed.shutdown()


def train_together(
    config: RunConfig, registry: Registry, runs_dir: Path, name: str | None, cluster: Cluster, **options: Any
) -> Outcome | None:
    """As `zoo.engine.train.train`, by several hosts that all call this; the outcome is with the first one."""

    def lead(team: Team) -> Outcome:
        return train(config, registry, runs_dir, name, team=team, **options)

    return _together(config.settings, registry, cluster, lead)


def resume_together(run: Run | None, registry: Registry, cluster: Cluster, **options: Any) -> Outcome | None:
    """As `zoo.engine.resume.resume`, by several hosts that all call this; the outcome is with the first one.

    Only the first host needs to see the run; on the others it may be None, and the `devices` are those of the options.
    """
    from zoo.engine.resume import configuration, resume

    chosen = options.get("devices")
    settings = configuration(run, registry, chosen).settings if run else Settings(devices=chosen)

    def lead(team: Team) -> Outcome:
        if run is None:
            raise UsageError("the run to resume must be visible to host 0.")
        return resume(run, registry, team=team, **options)

    return _together(settings, registry, cluster, lead)


def _together(
    settings: Settings, registry: Registry, cluster: Cluster, lead: Callable[[Team], Outcome]
) -> Outcome | None:
    supervisor.attach()
    with joined(cluster, settings) as team:
        if team.first:
            return lead(team)
        assist(registry, team)
        return None


def _digest(images: ImageSet) -> str:
    """What must be the same on all hosts: images, labels, splits, pixels and their order."""
    return hashlib.blake2b(images_table(images).encode(), digest_size=16).hexdigest()


def _packed(checkpoint: Checkpoint) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.npz")
        write_checkpoint(file, checkpoint)
        return file.read_bytes()


def _unpacked(data: bytes) -> Checkpoint:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "checkpoint.npz")
        file.write_bytes(data)
        return read_checkpoint(file)
