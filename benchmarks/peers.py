"""The peers of the benchmarks, each in an environment of its own, so that what they need changes nothing of zoo's.

    python benchmarks/peers.py [FOLDER]

Makes two virtual environments in FOLDER (benchmarks/.venvs; the scripts look in $ZOO_PEERS if that is set):

- torch: PyTorch with torchvision, timm and torchxrayvision;
- keras: Keras and TensorFlow of the versions zoo runs on here, and nothing of zoo.

PyTorch comes first, in the one version that is named: wherever the package index has a build for CPUs under that number, it is
the one taken. torchvision is installed without its dependencies. Where the index has only a CUDA build of it, its compiled
operators cannot be loaded beside a PyTorch for CPUs; its transforms, datasets and loaders are Python on Pillow and do
without (`torch_peers.py` declares the operators' names, which is all that importing it asks for).
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from importlib.metadata import version
from pathlib import Path

FOLDER = Path(__file__).parent / ".venvs"
TORCH = (
    ("torch==2.13.0",),
    ("--no-deps", "torchvision==0.28.0"),
    ("timm==1.0.31", "torchxrayvision==1.5.7", "numpy", "pillow"),
)
IMPORTS = {"torch": "import torch_peers; torch_peers.versions()", "keras": "import keras"}


def python_of(name: str) -> str:
    """The interpreter of a peer's environment; ends the script where it was not made yet."""
    folder = Path(os.environ.get("ZOO_PEERS") or FOLDER)
    python = folder / name / "bin" / "python"
    if not python.exists():
        sys.exit(f"there is no environment {folder / name}: make it with  python benchmarks/peers.py {folder}")
    return str(python)


def install(folder: Path, name: str, steps: tuple[tuple[str, ...], ...]) -> None:
    """Make one environment, or complete it."""
    venv.create(folder / name, with_pip=True)
    python = folder / name / "bin" / "python"
    for words in steps:
        subprocess.run([python, "-m", "pip", "install", "--quiet", *words], check=True)
    subprocess.run([python, "-c", IMPORTS[name]], check=True, cwd=Path(__file__).parent)
    listed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    (folder / name / "versions.txt").write_text(listed)
    print(folder / name)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    install(folder, "torch", TORCH)
    install(folder, "keras", ((f"keras=={version('keras')}", f"tensorflow=={version('tensorflow')}", "pillow"),))


if __name__ == "__main__":
    main()
