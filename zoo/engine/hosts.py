"""Training on several hosts through JAX: joining them, then the same training on each.

Every host runs the same command and computes the same steps on its part of each batch. The first one (host 0) decides,
writes and reports; the others get configuration and checkpoint from it and need no access to its folder of runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.run_config import RunConfig
from zoo.config.settings import Settings
from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import Registry
from zoo.engine import devices, supervisor
from zoo.engine.process_group import ProcessGroup
from zoo.engine.resume import configuration, resume
from zoo.engine.train import Outcome, train, train_worker
from zoo.runs.run import Run

JOINING_S = 300  # how long hosts wait for each other at the start


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
    """Validate the options that describe the hosts.

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


@contextmanager
def process_group(cluster: Cluster, settings: Settings) -> Iterator[ProcessGroup]:
    """Connect to the other hosts, in a process that has not used JAX before; disconnects when all are done.

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
    group = ProcessGroup()
    yield group
    group.wait_for_first()
    jax.distributed.shutdown()


def train_together(
    config: RunConfig, registry: Registry, runs_dir: Path, name: str | None, cluster: Cluster, **options: Any
) -> Outcome | None:
    """As `zoo.engine.train.train`, by several hosts that all call this; the outcome is with the first one."""

    def lead(group: ProcessGroup) -> Outcome:
        return train(config, registry, runs_dir, name, group=group, **options)

    return _together(config.settings, registry, cluster, lead)


def resume_together(run: Run | None, registry: Registry, cluster: Cluster, **options: Any) -> Outcome | None:
    """As `zoo.engine.resume.resume`, by several hosts that all call this; the outcome is with the first one.

    Only the first host needs to see the run; on the others it may be None, and the `devices` are those of the options.
    """
    chosen = options.get("devices")
    settings = configuration(run, registry, chosen).settings if run else Settings(devices=chosen)

    def lead(group: ProcessGroup) -> Outcome:
        if run is None:
            raise UsageError("the run to resume must be visible to host 0.")
        return resume(run, registry, group=group, **options)

    return _together(settings, registry, cluster, lead)


def _together(
    settings: Settings, registry: Registry, cluster: Cluster, lead: Callable[[ProcessGroup], Outcome]
) -> Outcome | None:
    supervisor.attach()
    with process_group(cluster, settings) as group:
        if group.first:
            return lead(group)
        train_worker(registry, group)
        return None
