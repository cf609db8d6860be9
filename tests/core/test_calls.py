"""What plugin code raises names the plugin, the strategy and the method; what zoo itself raises passes."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from zoo.core.calls import PluginError, call, culprit
from zoo.core.composition import Composition
from zoo.core.contracts import Augmenter, Dataset, DatasetInfo, Info, Model, ModelInfo
from zoo.core.errors import DataError
from zoo.core.observers import Pruned
from zoo.core.origins import OWN_DISTRIBUTION, Origin

ORIGIN = Origin("mine", "zoo-mine", "1.2", __name__)


class Reader(Dataset):
    info = DatasetInfo(name="strange", summary="a dataset", needs_root=False)
    origin = ORIGIN

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def read(self, root: Path | None, options: Any) -> Any:
        print("reading")
        if self.error is not None:
            raise self.error
        return "records"


class Short(Model):
    info = ModelInfo(name="short", summary="a model", parameters=1)
    origin = ORIGIN

    def build(self, task: Any) -> Any:  # type: ignore[override]
        return task


def test_an_error_names_plugin_strategy_method_and_line() -> None:
    with pytest.raises(PluginError) as caught:
        call(Reader(KeyError("View Position")).read, None, None)
    message = str(caught.value)
    assert message.startswith(
        "the dataset 'strange' of plugin mine (zoo-mine 1.2) failed in read() (core/test_calls.py, line "
    )
    assert "KeyError: 'View Position'. Tell the author of the plugin; --debug" in message
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_wrong_signature_is_shown_beside_the_right_one() -> None:
    with pytest.raises(PluginError, match=r"'short' of plugin mine .* It is called as build\(task, image_size,"):
        call(Short().build, "task", 32, None, None)


@pytest.mark.parametrize("error", [DataError("no column 'view'"), Pruned("enough"), MemoryError()])
def test_errors_that_zoo_means_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        call(Reader(error).read, None, None)
    assert caught.value is error


@pytest.mark.parametrize("origin", [None, Origin("bce", OWN_DISTRIBUTION, "1.0")])
def test_a_built_in_strategy_is_no_plugin(origin: Origin | None) -> None:
    reader = Reader(KeyError("a bug of zoo"))
    reader.origin = origin
    with pytest.raises(KeyError):
        call(reader.read, None, None)


def test_what_a_plugin_prints_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(Reader().read, None, None) == "records"
    assert capsys.readouterr() == ("", "reading\n")


class Broken(Augmenter):
    info = Info(name="broken", summary="an augmenter")
    origin = ORIGIN

    def build(self, image_size: int, options: Any) -> Any:
        raise RuntimeError("no luck")


def test_of_a_composition_the_part_is_named() -> None:
    composed = Composition([Broken()])
    with pytest.raises(
        PluginError, match=r"the augmenter 'broken' of plugin mine \(zoo-mine 1.2\) failed in build\(\)"
    ):
        composed.build(32, composed.Options())


def test_the_innermost_frame_of_a_plugin_tells_where_any_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("zoo_made.layers")
    exec(compile("def scale(x):\n    return x / 0\n", "/site/zoo_made/layers.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(ZeroDivisionError) as caught:
        module.scale(1)
    made = Origin("made", "zoo-made", "1.0", "zoo_made")
    assert (
        culprit(caught.value, [ORIGIN, made])
        == "plugin made (zoo-made 1.0) failed in scale (zoo_made/layers.py, line 2)"
    )
    assert culprit(caught.value, [Origin("other", "other", "1", "other")]) == ""
