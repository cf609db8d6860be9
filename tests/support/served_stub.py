"""A server of one stub run in a process of its own, as `zoo serve` starts it: `Process` runs it, the module is what it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path


class Process:
    """The server while it is used as a context manager; `port` is where it listens. With `endless` no prediction ends."""

    def __init__(self, folder: Path, **limits: float) -> None:
        words = [f"{name}={value}" for name, value in limits.items()]
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def family(self) -> list[int]:
        """The server and its decoder."""
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return [pid, *(int(each) for task in tasks for each in (task / "children").read_text().split())]

    def peak_mb(self) -> float:
        """The most resident memory that one of the processes has had."""
        found = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.family]
        return max(int(each[1]) / 1000 for each in found if each)


def main() -> None:
    from stub_server import Stub

    from zoo.serve.limits import Limits
    from zoo.serve.server import bind, serve

    folder, *words = sys.argv[1:]
    limits = {
        name: float(value) if "." in value else int(value) for name, _, value in (w.partition("=") for w in words)
    }
    stub = Stub(Path(folder) / "first")
    endless = limits.pop("endless", 0)

    def ready() -> None:
        if endless:
            stub.go.clear()
        print(port, flush=True)

    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    (stub.run.path / "model-card.md").write_text("# Card\n")
    ended = serve([stub], listener, Limits(**limits), ready=ready)  # type: ignore[arg-type, list-item]
    if not ended:
        os._exit(0)  # as `zoo serve` does


if __name__ == "__main__":
    main()
