"""The example plugin: its entry point leads to strategies that pass the public checks."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zoo.core import manager
from zoo.core.origins import OWN_DISTRIBUTION
from zoo.core.registry import Registry, registry
from zoo.testing import check_augmenter, check_loss, check_model

EXAMPLE = Path(__file__).parents[1] / "examples" / "zoo-tinycnn"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of the example alone, loaded through the entry point that its pyproject.toml declares."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    declared = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]["zoo"]
    return Registry(manager.load([EntryPoint(name, value, "zoo") for name, value in declared.items()]))


def test_the_example_registers_one_of_each_and_no_built_in_name(example: Registry) -> None:
    assert example.failures == ()
    assert [e.kind for e in example.entries()] == ["model", "loss", "augmenter"]
    for entry in example.entries():
        builtin = [e.name for e in registry().entries(entry.kind) if e.origin.distribution == OWN_DISTRIBUTION]
        assert entry.name not in builtin


def test_the_model_passes_the_public_checks(example: Registry) -> None:
    check_model(example.get("model", "small-cnn"))


def test_the_loss_passes_the_public_checks(example: Registry) -> None:
    check_loss(example.get("loss", "smooth-bce"))


def test_the_augmenter_passes_the_public_checks(example: Registry) -> None:
    check_augmenter(example.get("augmenter", "shift"))
