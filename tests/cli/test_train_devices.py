"""`zoo train` on several devices, and the options that belong together, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from commandline import CSV, PHANTOM, make_images, refused, table, zoo

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.slow
def test_a_run_on_several_devices_records_them(run_zoo: Callable[..., Any], tmp_path: Path) -> None:
    done = run_zoo("train", *PHANTOM, "--devices", "cpu:2", "--run", "two", "--json", ZOO_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "Device: 2 × CPU (tensorflow), float32" in done.stderr
    run = tmp_path / "work" / "runs" / "two"
    info = json.loads((run / "run.json").read_text())
    assert (info["device"], info["devices"], info["hosts"]) == ("2 × CPU (tensorflow)", 2, 1)
    assert yaml.safe_load((run / "config.yaml").read_text())["devices"] == "cpu:2"
    assert 0 <= json.loads(done.stdout)["test"]["per_label"]["Abnormal"]["auroc"]["value"] <= 1


def test_options_of_several_devices_and_hosts_are_checked_before_anything_is_done() -> None:
    refused(zoo("train", *PHANTOM, "--devices", "many"), 2, "unknown devices 'many'", "all", "cpu:N")
    refused(zoo("train", *PHANTOM, "--devices", "2", "--device", "cpu"), 2, "--device cpu", "--devices 2")
    refused(zoo("train", *PHANTOM, "--host", "1"), 2, "--host and --coordinator go with --hosts N")
    refused(zoo("train", *PHANTOM, "--hosts", "2"), 2, "--hosts 2 needs --host and --coordinator")


def test_images_outside_of_the_root_are_read_where_it_is_allowed() -> None:
    make_images(24)
    Path("images/0.png").rename("outside.png")
    rows = [f"{'../outside' if i == 0 else i}.png,{i % 2}" for i in range(24)]
    table("image,Mass", rows)
    words = [*CSV, "--set", "data.labels=Mass", "--set", "val_fraction=0.2"]
    for flag, count in (("--no-allow-outside", 1), ("--allow-outside", 0)):
        run = flag.strip("-")
        result = zoo("train", *words, flag, "--run", run)
        assert result.exit_code == 0, result.output
        assert yaml.safe_load(Path(f"runs/{run}/config.yaml").read_text())["data"]["allow_outside"] is (count == 0)
        assert len(Path(f"runs/{run}/set_aside.csv").read_text().splitlines()) == 1 + count
