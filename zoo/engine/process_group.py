"""The processes of a training on several hosts (JAX): values that they exchange, and the loss of one of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.runs.run import Run

POLL_MS = 1000  # of one look into the store: signals are handled in between
# how JAX names a broken connection
LOST = re.compile(r"gloo|nccl|socket|connection|coordination|heartbeat|unhealthy|unavailable|peer", re.IGNORECASE)


class LostHost(ZooError):
    """Another host of the training is gone. Exit code 1."""


class ProcessGroup:
    """One process per host: this one has the number `index` of `count`. Create it after `jax.distributed.initialize`."""

    def __init__(self) -> None:
        import jax
        from jax._src import distributed  # the coordinator's key-value store has no public name

        self.index, self.count = jax.process_index(), jax.process_count()
        self._store: Any = distributed.global_state.client

    @property
    def first(self) -> bool:
        return self.index == 0

    def put(self, key: str, text: str) -> None:
        """Make a value available to all hosts, once per key."""
        self._store.key_value_set(f"zoo/{key}", text)

    def get(self, key: str) -> str:
        """A value that some host has put or will put; waits for it."""
        while True:
            try:
                return str(self._store.blocking_key_value_get(f"zoo/{key}", POLL_MS))
            except Exception as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise

    def check_equal(self, what: str, text: str) -> None:
        """Check that all hosts have the same value; waits for each of them.

        Raises:
            ZooError: another host has another value.
        """
        self.put(f"{what}/{self.index}", text)
        others = [number for number in range(self.count) if self.get(f"{what}/{number}") != text]
        if others:
            raise ZooError(
                f"the {what} of host {self.index} are not those of host {', '.join(map(str, others))}. Every host must be given "
                "the same ones."
            )

    def broadcast(self, key: str, data: bytes) -> bytes:
        """The bytes of the first host, on every host; what the others pass is ignored."""
        from jax.experimental import multihost_utils

        if self.first:
            self.put(key, str(len(data)))
        size = int(self.get(key))
        buffer = data if self.first else bytes(size)
        return (
            np.asarray(multihost_utils.broadcast_one_to_all(np.frombuffer(buffer, np.uint8))).tobytes() if size else b""
        )

    def any_signal(self, number: int | None) -> int | None:
        """The signal that any host has received; every host must call this after the same step."""
        from jax.experimental import multihost_utils

        return int(multihost_utils.process_allgather(np.array([number or 0])).max()) or None

    def wait_for_first(self) -> None:
        """Return when the first host has called this too."""
        if self.first:
            self.put("finished", "")
        self.get("finished")

    @contextmanager
    def lost_host_errors(self, run: Run) -> Iterator[None]:
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
