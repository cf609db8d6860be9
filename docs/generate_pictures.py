"""Make the pictures of docs/index.md from a run on phantom: `python docs/generate_pictures.py`, some ten minutes.

Needs Chromium (CHROMIUM names another one than `chromium` on the path) and the extras serve and dev.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

TARGET = Path(__file__).parent / "images"
ZOO = [sys.executable, "-c", "from zoo.cli.main import main; main()"]
TRAIN = ["train", "--task", "multilabel", "--image-size", "160"]
PORT, FINDING = 8765, "Nodule"  # a finding that phantom draws
COLUMNS, FIRST_SHOWN = 92, "validation"  # the terminal's width, and a word of the first line that is shown


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        said = zoo(*TRAIN, "--model", "mobilenetv3", "--run", "mobilenetv3")
        terminal("zoo train --model mobilenetv3 --task multilabel", said, TARGET / "terminal.svg")
        zoo("explain", "mobilenetv3", "--split", "test", "--boxes", "--limit", "40")
        maps = sorted(Path("runs", "mobilenetv3", "explanations").rglob(f"*{FINDING}*.png"))
        shutil.copy(maps[0], TARGET / "heatmap.png")
        zoo("report", "mobilenetv3")
        photograph(Path("runs", "mobilenetv3", "report.html").absolute().as_uri(), TARGET / "report.png", 1000, 1100)
        served(drawn(Path("image.png")), TARGET / "serve.png")
    for file in TARGET.glob("*.png"):
        Image.open(file).convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(file, optimize=True)


def zoo(*words: str) -> str:
    """What a command prints, with its colours."""
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS)}
    done = subprocess.run([*ZOO, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"zoo {' '.join(words)}\n{done.stderr}")
    return done.stdout


def terminal(command: str, said: str, target: Path) -> None:
    """The end of a command's output as a drawing of a terminal."""
    from rich.console import Console
    from rich.text import Text

    lines = said.rstrip().splitlines()
    start = next(i for i, line in enumerate(lines) if FIRST_SHOWN in line)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}"), Text.from_ansi("\n".join(lines[start:])), sep="\n")
    console.save_svg(str(target), title="zoo")


def drawn(file: Path) -> Path:
    """A synthetic X-ray that no run has seen."""
    from zoo.datasets.phantom import Phantom, PhantomOptions

    records = Phantom().read(None, PhantomOptions(patients=40, seed=7))
    ill = records.table[(records.table[FINDING] == 1)]
    Image.fromarray(records.source.read(ill["path"].iloc[0])[0]).save(file)
    return file


def photograph(address: str, target: Path, width: int, height: int) -> None:
    """The top of a page as a person sees it."""
    with browser(width, height) as page:
        page.goto(address)
        page.screenshot(path=str(target))


def served(image: Path, target: Path) -> None:
    """The served page after an image was dropped on it."""
    server = subprocess.Popen([*ZOO, "serve", "mobilenetv3", "--port", str(PORT)], stderr=subprocess.DEVNULL)
    try:
        wait(f"http://127.0.0.1:{PORT}/")
        with browser(1000, 900) as page:
            page.goto(f"http://127.0.0.1:{PORT}/")
            page.set_input_files("input[type=file]", str(image))
            page.get_by_text(FINDING).first.wait_for(timeout=120_000)
            page.wait_for_timeout(3000)  # the heat map
            page.screenshot(path=str(target))
    finally:
        server.terminate()
        server.wait()


def wait(address: str, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)
        else:
            return


@contextmanager
def browser(width: int, height: int) -> Iterator[Page]:
    """A page in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield chromium.new_page(viewport={"width": width, "height": height})
        chromium.close()


if __name__ == "__main__":
    main()
