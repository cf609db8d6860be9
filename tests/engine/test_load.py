"""Loading a network whose layers come from a plugin that this process has not used yet."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.core.errors import ZooError
from zoo.core.origins import Origin
from zoo.core.registry import Registry, registry
from zoo.engine.load import custom_layers, load_file, load_network
from zoo.runs.missing import missing_plugins
from zoo.runs.run import Run

LAYERS = """
import keras

@keras.saving.register_keras_serializable(package="zoo_layered")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A network with a layer of the package zoo_layered, and a process in which that was never imported."""
    package = tmp_path / "site" / "zoo_layered"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(str(package.parent))
    from zoo_layered.layers import Twice  # type: ignore[import-not-found]

    file = tmp_path / "model.keras"
    inputs = keras.Input((4,))
    keras.Model(inputs, Twice()(inputs)).save(file)
    _forget()
    yield file
    _forget()


def _forget() -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "zoo_layered"]:
        del sys.modules[name]
    keras.saving.get_custom_objects().pop("zoo_layered>Twice", None)


def having(*origins: Origin) -> Registry:
    found = registry().including(next(registry().entries("model")))
    found.origins = origins
    return found


def test_the_plugin_s_module_is_imported_first(saved: Path) -> None:
    assert custom_layers(saved) == {"zoo_layered>Twice": "zoo_layered.layers"}
    network = load_file(saved, having(Origin("layered", "zoo-layered", "1.0", "zoo_layered.hooks")))
    np.testing.assert_array_equal(np.asarray(network(np.ones((1, 4), "float32"))), np.full((1, 4), 2))


def test_a_module_of_no_plugin_is_not_imported_and_the_layer_is_named(saved: Path) -> None:
    with pytest.raises(ZooError, match=r"not registered: zoo_layered>Twice \(of zoo_layered.layers\)"):
        load_file(saved, having(Origin("other", "other", "1.0", "other")))
    assert "zoo_layered" not in sys.modules


def test_a_run_names_the_distribution_that_is_missing(saved: Path) -> None:
    run = Run(saved.parent)
    of_plugin = {"plugin": "layered", "distribution": "zoo-layered", "version": "1.0"}
    run.write_json("run.json", {"plugins": [{"kind": "model", "name": "twice", **of_plugin}]})
    (run.path / "config.yaml").write_text("model: {name: twice}\n")
    with pytest.raises(ZooError, match=r"the model 'twice' of zoo-layered 1.0, which .*: pip install zoo-layered$"):
        load_network(run)


def test_only_what_is_not_installed_is_missing(tmp_path: Path) -> None:
    kept = [{"kind": "recipe", "name": "gone", "plugin": "p", "distribution": "zoo-p", "version": "1"}]
    kept += [{"kind": "model", "name": "tiny-cnn", "plugin": "q", "distribution": "zoo-q", "version": "1"}]
    run = Run(tmp_path)
    run.write_json("run.json", {"plugins": kept})
    sentence = missing_plugins(run, registry())
    assert "the recipe 'gone' of zoo-p 1, which is not installed here: pip install zoo-p" in sentence
    assert "zoo-q" not in sentence
    run.write_json("run.json", {})
    assert missing_plugins(run, registry()) == ""


def test_a_damaged_file_is_no_matter_of_plugins(tmp_path: Path) -> None:
    file = tmp_path / "model.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps({"module": "keras", "class_name": "Nothing"}))
    with pytest.raises(ZooError, match="cannot be loaded"):
        load_file(file, registry())
