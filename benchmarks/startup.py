"""Time until a command is there: `zoo --help`, `zoo list` and `zoo info` as a whole, and for the commands that read a run
everything they import before they open the first file; beside the time of importing click, rich and pluggy.

    python benchmarks/startup.py [RUNS]

Each round runs every command once, in turn, so that a change of the machine's load meets all of them. Written to
benchmarks/results/startup.csv: medians over the rounds, and the median of the ratios within a round.
"""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = Path(__file__).parent / "results" / "startup.csv"
ZOO = "from zoo.cli.main import main; main()"
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import click, rich, pluggy'": ["-c", "import click, rich, pluggy"],
    "zoo --help": ["-c", ZOO, "--help"],
    "zoo list": ["-c", ZOO, "list"],
    "zoo info mobilenetv3": ["-c", ZOO, "info", "mobilenetv3"],
    "zoo evaluate: start": [
        "-c",
        "import zoo.cli.main, zoo.cli.evaluate, zoo.cli.results, zoo.runs.run, zoo.runs.results",
    ],
    "zoo compare: start": [
        "-c",
        "import zoo.cli.main, zoo.cli.compare, zoo.runs.leaderboard, zoo.report.leaderboard",
    ],
    "zoo report: start": [
        "-c",
        "import zoo.cli.main, zoo.cli.report, zoo.runs.results, zoo.report.page, zoo.report.card",
    ],
}
BASE = "python -c 'import click, rich, pluggy'"


def measure(rounds: int) -> dict[str, list[float]]:
    """Wall time in seconds of every command in every round; the first round only fills the caches.

    Bytecode is cached as in any installed program, in a folder of its own, whatever the environment says.
    """
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(rounds + 1):
            for name, words in COMMANDS.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)
                if number:
                    times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    times = measure(rounds)
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["command", "median_ms", "best_ms", "ratio_to_libraries", "rounds", "python", "machine"])
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, times[BASE], strict=True))
            figures = [f"{statistics.median(values) * 1e3:.1f}", f"{min(values) * 1e3:.1f}", f"{ratio:.2f}"]
            writer.writerow([name, *figures, rounds, platform.python_version(), platform.machine()])
    print(TARGET.read_text(), end="")


if __name__ == "__main__":
    main()
