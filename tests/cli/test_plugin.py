"""`zoo plugin new` and `zoo plugin check` as an author types them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from commandline import refused, zoo

import zoo.testing.run as checks
from zoo.testing.suite import Result


def test_new_says_what_it_wrote_and_what_comes_next(elsewhere: None) -> None:
    result = zoo("plugin", "new", "mine", "--with", "model,loss")
    assert result.exit_code == 0, result.output
    assert "Written: zoo-mine" in result.stdout
    assert "  zoo_mine/loss.py\n" in result.stdout
    assert "  pip install -e zoo-mine\n  zoo plugin check zoo-mine\n  pytest zoo-mine\n" in result.stdout
    refused(zoo("plugin", "new", "mine"), 2, "zoo-mine exists already")
    refused(zoo("plugin", "knew", "mine"), 2, "unknown command 'knew'. Did you mean 'new'?", "plugin --help")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What the checks find, without carrying them out; filled with backend and names by the command."""
    asked: list[tuple[str, Any]] = []

    def results_on(backend: str, entries: Any, root: Any, sets: Any) -> Iterator[tuple[str, str, Result]]:
        asked.append((backend, [(each.kind, each.name) for each in entries]))
        for each in entries:
            yield each.kind, each.name, Result("info", "passed", "", 0.1)
            yield each.kind, each.name, Result("saving", "exempt", "it has its reasons", 0.2)
            if each.name == "focal":
                yield each.kind, each.name, Result("gradient", "failed", "focal: it is off", 0.3)

    monkeypatch.setattr(checks, "results_on", results_on)
    return asked


def test_check_shows_each_result_on_each_backend(found: list[tuple[str, Any]]) -> None:
    result = zoo("plugin", "check", "bce")
    assert result.exit_code == 0, result.output
    assert found == [(backend, [("loss", "bce")]) for backend in ("tensorflow", "jax")]
    assert "On jax:\n  passed  loss bce  info (0.1 s)\n" in result.stdout
    assert "  exempt  loss bce  saving (0.2 s): it has its reasons\n" in result.stdout
    assert result.stdout.endswith("4 checks: 2 passed, 0 failed, 2 exempt\n")


def test_a_failed_check_ends_with_one(found: list[tuple[str, Any]]) -> None:
    result = zoo("plugin", "check", "focal", "--backend", "jax")
    assert result.exit_code == 1
    assert "FAILED  loss focal  gradient (0.3 s): focal: it is off" in result.stdout
    as_json = zoo("plugin", "check", "focal", "--backend", "jax", "--json")
    assert as_json.exit_code == 1
    last = {"backend": "jax", "kind": "loss", "name": "focal", "check": "gradient", "outcome": "failed"}
    assert json.loads(as_json.stdout)[-1] == {**last, "reason": "focal: it is off", "seconds": 0.3}


def test_a_distribution_is_all_that_it_adds_but_images_that_are_not_there(found: list[tuple[str, Any]]) -> None:
    result = zoo("plugin", "check", "cxr-zoo", "--backend", "tensorflow")
    checked = found[0][1]
    assert ("model", "mobilenetv3") in checked
    assert ("recipe", "mobilenetv3-binary") in checked
    assert ("dataset", "nih") not in checked
    assert "Left out, as it reads files (--root DIR): " in result.stdout


def test_what_cannot_be_checked_is_refused(elsewhere: None) -> None:
    refused(zoo("plugin", "check", "mobilenet-v3"), 2, "unknown name or plugin 'mobilenet-v3'. Did you mean")
    refused(zoo("plugin", "check", "nih"), 2, "nih reads files", "--root DIR")
    refused(zoo("plugin", "check", "bce", "--backend", "torch"), 2, "unknown backend 'torch'", "jax, tensorflow")


@pytest.mark.slow
def test_the_checks_are_carried_out_on_every_backend() -> None:
    result = zoo("plugin", "check", "focal", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {(each["backend"], each["outcome"]) for each in found} == {("tensorflow", "passed"), ("jax", "passed")}
    assert {"binary gradient", "multilabel extremes"} <= {each["check"] for each in found}
