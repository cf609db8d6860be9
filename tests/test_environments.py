"""A short training and a prediction in the environments that users have: the same numbers in each of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc serves as a folder that nobody can write"),
]

MODEL = ["--model", "tiny-cnn", "--set", "model.width=8", "--set", "model.depth=1", "--image-size", "32"]
DATA = ["--set", "data.patients=40", "--batch-size", "8", "--epochs", "2", "--run", "run"]
NAME = "größe-≥.png"
# both commands in one process, which loads TensorFlow once
COMMANDS = """
import contextlib, json, sys
from zoo.cli.main import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
"""
NOBODY = """
import pwd
def getpwuid(user):
    raise KeyError(f"no entry for {user}")
pwd.getpwuid = getpwuid
"""
KERAS = {"floatx": "float16", "epsilon": 0.001, "backend": "tensorflow", "image_data_format": "channels_first"}
SMALL_SHM = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
SMALL_SHM += ['mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"', "sh"]


@dataclass(frozen=True)
class Environment:
    """Variables that are set or, with None, taken away, and what is not a variable; {} stands for the test's folder."""

    variables: dict[str, str | None] = field(default_factory=dict)
    umask: int = -1
    folder: str | None = None  # the working folder
    wrapper: tuple[str, ...] = ()


ENVIRONMENTS = {
    # a locale without UTF-8, a terminal that can do nothing, a home that cannot be written
    "text": Environment(
        {
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "PYTHONIOENCODING": "latin-1",
            "TERM": "dumb",
            "COLUMNS": "40",
            "HOME": "/proc",
            "TZ": "Pacific/Kiritimati",
            "PYTHONHASHSEED": "123",
        },
        umask=0o077,
    ),
    # what a notebook kernel and other work with Keras leave behind
    "notebook": Environment(
        {
            "MPLBACKEND": "module-of-a-kernel-elsewhere",
            "JPY_PARENT_PID": "1",
            "KERAS_HOME": "{}",
            "KERAS_MAX_EPOCHS": "1",
            "KERAS_MAX_STEPS_PER_EPOCH": "1",
            "PYTHONWARNINGS": "error",
        }
    ),
    # a user without home folder or entry in the list of users, one thread, a working folder that cannot be written
    "container": Environment(
        {
            "HOME": None,
            "ZOO_CACHE": None,
            "XDG_CACHE_HOME": None,
            "PYTHONPATH": "{}",
            "TMPDIR": "{}",
            "OMP_NUM_THREADS": "1",
            "TF_NUM_INTRAOP_THREADS": "1",
            "TF_NUM_INTEROP_THREADS": "1",
        },
        folder="/proc",
    ),
    "small-shm": Environment(wrapper=tuple(SMALL_SHM)),
}


def carry_out(folder: Path, environment: Environment) -> subprocess.CompletedProcess[bytes]:
    """Train runs/run in `folder` and predict its image, in the environment."""
    variables = {**os.environ, "ZOO_CACHE": str(folder / "cache"), "COLUMNS": "80"}
    for name, value in environment.variables.items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value.replace("{}", str(folder))
    runs = ["--runs-dir", str(folder / "runs")]
    commands = [["train", *MODEL, *DATA, *runs], ["predict", "run", str(folder / "images"), "--json", *runs]]
    return subprocess.run(
        [*environment.wrapper, sys.executable, "-c", COMMANDS, json.dumps(commands)],
        cwd=environment.folder or folder,
        env=variables,
        capture_output=True,
        umask=environment.umask,
        timeout=600,
        check=False,
    )


def prepare(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text(NOBODY)
    (folder / "keras.json").write_text(json.dumps(KERAS))
    (folder / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / NAME)


def logits(folder: Path) -> np.ndarray:
    table = pd.read_csv(folder / "runs/run/predictions/test.csv")
    return table[[name for name in table if "logit" in name]].to_numpy()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("usual")
    prepare(folder)
    done = carry_out(folder, Environment())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_training_gives_the_same_numbers_everywhere(name: str, usual: Path, tmp_path: Path) -> None:
    environment = ENVIRONMENTS[name]
    if environment.wrapper and (
        not shutil.which(environment.wrapper[0])
        or subprocess.run([*environment.wrapper, "true"], check=False).returncode
    ):
        pytest.skip("this system lets users have no mount of their own, so /dev/shm cannot be made small")
    prepare(tmp_path)
    done = carry_out(tmp_path, environment)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    said = done.stdout.decode("latin-1" if "PYTHONIOENCODING" in environment.variables else "utf-8")
    found = logits(tmp_path)
    assert found.size
    np.testing.assert_allclose(found, logits(usual), atol=1e-4)
    (line,) = (json.loads(each) for each in said.splitlines() if each.startswith("{"))
    assert line["probabilities"]
    if "LC_ALL" not in environment.variables:  # there Python cannot read the file's name as text
        assert Path(line["file"]).name == NAME
    info = json.loads((tmp_path / "runs/run/run.json").read_text(encoding="utf-8"))
    assert info["status"] == "complete"
    assert (info["keras"]["floatx"], info["keras"]["image_data_format"]) == ("float32", "channels_last")
    if environment.umask == 0o077:
        assert (tmp_path / "runs/run/model.keras").stat().st_mode & 0o077 == 0
        assert "\nAUROC\n  validation " in said  # a table as lines
    if name == "container":
        assert list(tmp_path.glob("zoo-*/*"))
