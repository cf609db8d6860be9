"""The public checks of strategies catch what is broken, and let nothing sound fall."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from zoo.core.contracts import Augmenter, Dataset, DatasetInfo, Info, Loss, Model, ModelInfo, NoOptions, Recipe
from zoo.core.records import ImageSource, Records
from zoo.core.registry import registry
from zoo.testing import check_augmenter, check_dataset, check_loss, check_model, check_recipe
from zoo.testing.models import model_results


def network(
    outputs: int, size: int, change: Callable[[Any], Any] = lambda logits: logits, used: bool = True
) -> keras.Model:
    inputs = keras.Input((size, size, 1))
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    extra = keras.layers.Dense(1, name="extra")(flat)
    logits = keras.layers.Dense(outputs)(flat) + (extra if used else 0 * extra)
    return keras.Model(inputs, change(keras.layers.Activation("linear", dtype="float32")(logits)))


class FlatModel(Model):
    """A linear network; `make` replaces it by a broken one."""

    def __init__(
        self,
        make: Callable[[int, int], keras.Model] = network,
        parameters: int = 130,
        exempt: Mapping[str, str] | None = None,
    ) -> None:
        self.make = make
        self.info = ModelInfo(
            name="flat", summary="flat", parameters=parameters, image_size=8, min_image_size=8, exempt=exempt or {}
        )

    def build(self, task: Any, image_size: int, weights: str | None, options: Any) -> keras.Model:
        return self.make(task.outputs, image_size)


def half(logits: Any) -> Any:
    return keras.layers.Activation("linear", dtype="float16")(logits)


def overflowing(logits: Any) -> Any:
    return keras.layers.Rescaling(1e-6, dtype="float32")(keras.layers.Rescaling(1e6)(logits))


def divided(logits: Any) -> Any:
    return logits / 0.0


BROKEN_MODELS = {
    "parameters": (FlatModel(parameters=131), "info.parameters is 131, the network with one output has 130"),
    "outputs": (FlatModel(lambda n, s: network(n + 1, s)), r"logits \(4, 2\), not \(4, 1\)"),
    "precision": (FlatModel(lambda n, s: network(n, s, half)), "logits are float16, not float32"),
    "finite": (FlatModel(lambda n, s: network(n, s, divided)), "not finite"),
    "gradient": (FlatModel(lambda n, s: network(n, s, used=False)), "no gradient reaches .*extra"),
    "size": (FlatModel(lambda n, s: network(n, 8)), "flat at 11 pixels: input .None, 8, 8, 1."),
    "probabilities": (FlatModel(lambda n, s: network(n, s, ops.sigmoid)), "probabilities, not logits"),
    "half": (FlatModel(lambda n, s: network(n, s, overflowing)), "flat in mixed_float16: logits are off by"),
}


@pytest.mark.parametrize(("model", "message"), BROKEN_MODELS.values(), ids=BROKEN_MODELS.keys())
def test_broken_models_are_caught(model: Model, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(model)


@pytest.mark.parametrize("name", ["parameters", "outputs", "precision", "finite", "gradient"])
def test_the_brief_check_catches_what_costs_little(name: str) -> None:
    check_model(FlatModel(), brief=True)
    model, message = BROKEN_MODELS[name]
    with pytest.raises(AssertionError, match=message):
        check_model(model, brief=True)


class Forgetful(keras.layers.Layer):
    """Loses its configuration: a saved network loads with another factor."""

    def __init__(self, factor: float = 1.0, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.factor = factor

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name}


def test_a_network_that_does_not_survive_saving_is_caught_by_the_whole_check() -> None:
    model = FlatModel(lambda n, s: network(n, s, Forgetful(3.0, dtype="float32")))
    with keras.saving.custom_object_scope({"Forgetful": Forgetful}):
        check_model(model, brief=True)
        with pytest.raises(AssertionError, match="saved and loaded network gives other logits"):
            check_model(model)


def test_a_sound_model_passes_and_its_results_say_so() -> None:
    results = list(model_results(FlatModel()))
    assert {each.outcome for each in results} == {"passed"}
    assert {"info", "binary logits", "odd sizes", "half precision", "saving", "gradients"} <= {e.check for e in results}


def test_a_frozen_backbone_whose_features_cannot_be_kept_is_caught() -> None:
    def build(outputs: int, size: int, before: Any) -> keras.Model:
        inputs, inner = keras.Input((size, size, 1)), keras.Input((size, size, 1))
        backbone = keras.Model(inner, keras.layers.Conv2D(3, 3)(inner), name="backbone")
        pooled = keras.layers.GlobalAveragePooling2D()(backbone(before(inputs)))
        return keras.Model(inputs, keras.layers.Dense(outputs, dtype="float32")(pooled))

    check_model(FlatModel(lambda n, s: build(n, s, keras.layers.Rescaling(1 / 255)), parameters=34), brief=True)
    with pytest.raises(AssertionError, match=r"features of its frozen backbone cannot be kept: .* random in training"):
        check_model(FlatModel(lambda n, s: build(n, s, keras.layers.Dropout(0.5)), parameters=34), brief=True)


def test_an_exemption_gives_its_reason_and_lets_nothing_else_pass() -> None:
    fixed = FlatModel(lambda n, s: network(n, 8), exempt={"odd sizes": "takes images of 8 pixels only"})
    check_model(fixed)
    assert [(e.check, e.reason) for e in model_results(fixed) if e.outcome == "exempt"] == [
        ("odd sizes", "takes images of 8 pixels only")
    ]


@pytest.mark.parametrize(
    ("exempt", "message"),
    [
        ({"odd sizes": "it is odd"}, "exempt from 'odd sizes' .it is odd., but it passes: remove the exemption"),
        ({"even sizes": "it is odd"}, "exempt from 'even sizes', which is not a check; valid are info, binary logits"),
    ],
    ids=["stale", "unknown"],
)
def test_exemptions_that_are_out_of_date_are_caught(exempt: dict[str, str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_model(FlatModel(exempt=exempt))


def test_an_exemption_needs_a_reason() -> None:
    with pytest.raises(AssertionError, match="exempt from 'odd sizes' without a reason"):
        check_model(FlatModel(lambda n, s: network(n, 8), exempt={"odd sizes": " "}))


def test_what_a_check_raises_is_what_it_found() -> None:
    def broken(outputs: int, size: int) -> keras.Model:
        raise RuntimeError("no such layer")

    with pytest.raises(AssertionError, match="flat: RuntimeError: no such layer"):
        check_model(FlatModel(broken))


class FunctionLoss(Loss):
    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function, self.info = function, Info(name="function", summary="function", tasks=("binary",))

    def build(self, task: Any, counts: Any, options: Any) -> Any:
        return self.function


def stable(y: Any, z: Any) -> Any:
    z = ops.cast(z, "float32")
    return ops.softplus(z) - y * z


def logarithms(y: Any, z: Any) -> Any:
    p = ops.sigmoid(z)
    y = ops.cast(y, p.dtype)
    return -y * ops.log(p) - (1 - y) * ops.log(1 - p)


def wrong_gradient(y: Any, z: Any) -> Any:
    return stable(y, ops.stop_gradient(z)) + 0.5 * (stable(y, z) - ops.stop_gradient(stable(y, z)))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda y, z: ops.mean(stable(y, z)), "gives shape"),
        (lambda y, z: stable(y, z) + ops.mean(stable(y, z)), "an image of unknown labels changes the loss"),
        (logarithms, "not finite for float16"),
        (lambda y, z: stable(1 - y, z), "does not fall as the logits move toward the labels"),
        (wrong_gradient, "off from finite differences"),
    ],
    ids=["shape", "images", "overflow", "direction", "gradient"],
)
def test_broken_losses_are_caught(function: Callable[[Any, Any], Any], message: str) -> None:
    check_loss(FunctionLoss(stable))
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match=message):
        check_loss(FunctionLoss(function))


class FunctionAugmenter(Augmenter):
    info = Info(name="function", summary="function")

    def __init__(self, function: Callable[[Any, Any, Any], Any]) -> None:
        self.function = function

    def build(self, image_size: int, options: Any) -> Any:
        return self.function


def unseeded(x: Any, y: Any, seed: Any) -> Any:
    return ops.clip(x + keras.random.normal(ops.shape(x)), 0, 255), y


def only_eager(x: Any, y: Any, seed: Any) -> Any:
    return ops.convert_to_tensor(np.asarray(x)), y


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x, y, seed: (x / 255 - 1, y), "pixels leave"),
        (lambda x, y, seed: (x[:, :-1], y), "images of shape .* come back as"),
        (lambda x, y, seed: (ops.cast(x, "float16"), y), "come back as float16"),
        (lambda x, y, seed: (x, ops.nan_to_num(y)), "an unknown label"),
        (lambda x, y, seed: (x, y * 2), r"labels leave \[0, 1\]"),
        (unseeded, "the same seed gives other images"),
        (only_eager, "fails compiled"),
    ],
    ids=["range", "shape", "dtype", "unknown", "labels", "seed", "graph"],
)
def test_broken_augmenters_are_caught(function: Callable[[Any, Any, Any], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_augmenter(FunctionAugmenter(function))


class Grey(ImageSource):
    def read(self, path: str) -> tuple[np.ndarray, str]:
        return np.full((8, 8), int(path), np.uint8), ""

    def fingerprint(self, paths: Any) -> str:
        return "grey"


class Unpicklable(Grey):
    def __init__(self) -> None:
        self.handle = lambda: None


class Deep(Grey):
    def read(self, path: str) -> tuple[np.ndarray, str]:
        return np.zeros((8, 8), np.uint16), ""


class TableDataset(Dataset):
    info = DatasetInfo(name="table", summary="table", needs_root=False)

    def __init__(self, source: ImageSource | None = None, change: Callable[[Records], Records] = lambda r: r) -> None:
        self.source, self.change = source or Grey(), change

    def read(self, root: Path | None, options: Any) -> Records:
        table = pd.DataFrame(
            {
                "image": ["a", "b", "c", "d"],
                "path": ["1", "2", "3", "4"],
                "patient": ["p", "p", "q", "r"],
                "nodule": [1.0, 0.0, np.nan, 1.0],
                "split": ["train", "train", "test", "val"],
                "sex": ["M", "M", "F", None],
            }
        )
        return self.change(Records(table, ("nodule",), self.source, official_split=True))


def with_column(name: str, values: list[Any]) -> Callable[[Records], Records]:
    return lambda records: dataclasses.replace(records, table=records.table.assign(**{name: values}))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (TableDataset(Unpicklable()), "cannot be pickled"),
        (TableDataset(Deep()), "is read as uint16, not uint8"),
        (TableDataset(change=with_column("patient", ["p", "q", "q", "r"])), "1 patients are in more than one split"),
        (TableDataset(change=with_column("patient", [1, 1, 2, 3])), "'patient' must hold text"),
        (TableDataset(change=with_column("split", ["train", "train", "holdout", "val"])), "holds .'holdout'"),
        (TableDataset(change=with_column("sex", ["M", "M", "W", None])), "'sex' holds .'W'"),
        (TableDataset(change=with_column("nodule", [1, 0, 0, 1])), "not float"),
    ],
    ids=["pickle", "pixels", "patients", "text", "splits", "sex", "labels"],
)
def test_broken_datasets_are_caught(dataset: Dataset, message: str) -> None:
    check_dataset(TableDataset())
    with pytest.raises(AssertionError, match=message):
        check_dataset(dataset)


def test_a_dataset_that_reads_files_asks_for_its_root() -> None:
    dataset = registry().get("dataset", "nih")
    with pytest.raises(AssertionError, match="give the check a root"):
        check_dataset(dataset)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model": "mobilenetv4"}, "unknown model 'mobilenetv4'. Did you mean 'mobilenetv3'"),
        ({"task": "multilabel"}, "info.tasks names binary, but the configuration fixes multilabel"),
        ({"optimizer": {"name": "adam", "rate": 1}}, "odd: .*rate"),
    ],
    ids=["model", "task", "option"],
)
def test_broken_recipes_are_caught(config: dict[str, Any], message: str) -> None:
    info = Info(name="odd", summary="odd", tasks=("binary",))
    check_recipe(Recipe(info, {"task": "binary", "data": "nih", "freeze": True}))
    with pytest.raises(AssertionError, match=message):
        check_recipe(Recipe(info, config))


def test_an_option_without_help_is_caught() -> None:
    @dataclasses.dataclass(frozen=True)
    class Silent(NoOptions):
        amount: float = 1.0

    augmenter = FunctionAugmenter(lambda x, y, seed: (x, y))
    augmenter.Options = Silent  # set on the instance to keep the class whole
    with pytest.raises(AssertionError, match="option 'amount' has no help text"):
        check_augmenter(augmenter)
