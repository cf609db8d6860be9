"""Augmenters joined by +: how they are named, configured, combined, shown, and that the whole is its parts in turn."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from zoo.cli.main import cli
from zoo.config.resolve import parse_set, resolve
from zoo.config.run_config import RunConfig
from zoo.core.composition import Composition
from zoo.core.contracts import Augmenter, AugmenterInfo, Info
from zoo.core.errors import UsageError
from zoo.core.registry import registry
from zoo.testing import check_augmenter

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32, 1)).astype("float32")
LABELS = np.eye(6, dtype="float32")


def resolved(*layers: dict[str, Any]) -> RunConfig:
    return resolve(layers, registry())


def applied(augment: Any, images: Any = IMAGES, labels: Any = LABELS, seed: Any = 3) -> tuple[np.ndarray, np.ndarray]:
    seed = keras.random.SeedGenerator(seed) if isinstance(seed, int) else seed
    changed = augment(keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels), seed)
    return np.asarray(changed[0]), np.asarray(changed[1])


@pytest.mark.parametrize("names", [("standard", "mixup"), ("mixup", "standard"), ("elastic", "erasing", "cutmix")])
def test_the_whole_is_its_parts_in_the_order_written(names: tuple[str, ...]) -> None:
    whole = registry().get("augmenter", "+".join(names))
    got = applied(whole.build(32, whole.Options()))
    seed, expected = keras.random.SeedGenerator(3), (IMAGES, LABELS)
    for name in names:  # one generator for all: each part draws on where the one before stopped
        part = registry().get("augmenter", name)
        expected = applied(part.build(32, part.Options()), *expected, seed)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_composition_passes_the_public_checks() -> None:
    check_augmenter(registry().get("augmenter", "erasing+mixup"))


def test_options_are_given_by_part_and_read_back_from_the_file() -> None:
    sets = [parse_set(each) for each in ("augment.mixup.alpha=.4", "augment.standard.noise=0")]
    config = resolved({"augment": "standard+mixup"}, *sets, parse_set("augment.standard.zoom=0.2"))
    values = config.to_dict()["augment"]
    assert values["name"] == "standard+mixup"
    assert values["mixup"] == {"alpha": 0.4}
    assert (values["standard"]["noise"], values["standard"]["zoom"], values["standard"]["rotation"]) == (0, 0.2, 5)
    assert resolved(yaml.safe_load(config.to_yaml())) == config
    assert resolved({"augment": "standard+mixup"}) != config


def test_another_combination_drops_the_options_of_the_first() -> None:
    below = {"augment": {"name": "standard+mixup", "mixup": {"alpha": 0.4}}}
    assert resolved(below, {"augment": "standard+mixup"}).to_dict()["augment"]["mixup"] == {"alpha": 0.4}
    assert resolved(below, {"augment": "mixup+standard"}).to_dict()["augment"]["mixup"] == {"alpha": 0.2}
    assert resolved(below, {"augment": "mixup"}).to_dict()["augment"] == {"name": "mixup", "alpha": 0.2}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("standard+mixp", "unknown augmenter 'mixp'. Did you mean 'mixup'?"),
        ("mixup+standard+mixup", "names 'mixup' more than once"),
        ("standard+", "the augmenter 'standard+' has an empty part"),
        (
            {"name": "standard+mixup", "alpha": 0.4},
            "unknown option augment.alpha: 'alpha'. Did you mean 'mixup.alpha'?",
        ),
        ({"name": "standard+mixup", "mixup": 0.4}, "augment.mixup: received 0.4"),
        ({"name": "standard+mixup", "mixup": {"alfa": 1}}, "Did you mean 'alpha'?"),
        ({"name": "standard+mixup", "mixup": {"alpha": 7}}, "augment.mixup.alpha: received 7"),
        ({"name": "standard+mixup", "cutmix": {"alpha": 1}}, "unknown option augment.cutmix"),
    ],
)
def test_mistakes_are_named(section: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved({"augment": section})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "per_image", "random"),
    [
        ("standard+elastic", {}, True, True),
        ("standard+mixup", {}, False, True),
        ("none+clahe", {"clahe": {"probability": 1.0}}, True, False),
        ("none+clahe", {}, True, True),
    ],
)
def test_it_works_image_by_image_where_all_parts_do_and_by_chance_where_any_does(
    name: str, options: dict[str, Any], per_image: bool, random: bool
) -> None:
    config = resolved({"augment": {"name": name, **options}})
    effect = registry().get("augmenter", name).effect(config.augment.options)
    assert (effect.name, effect.per_image, effect.random) == (name, per_image, random)


class Stateful(Augmenter):
    """Counts its calls in a variable, as a layer with moving statistics would."""

    info = Info(name="state-ful", summary="counts its calls")

    def build(self, image_size: int, options: Any) -> Any:
        class Counter(keras.layers.Layer):
            def __init__(self) -> None:
                super().__init__(dtype="float32")
                self._allow_non_tensor_positional_args = True
                self.supports_jit = False
                self.calls = self.add_weight(shape=(), initializer="zeros", name="calls")

            def call(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
                self.calls.assign_add(1.0)
                return images, labels

        return Counter()


def test_the_state_of_a_layer_among_the_parts_is_the_model_s() -> None:
    whole = Composition([registry().get("augmenter", "mixup"), Stateful()])
    augment = whole.build(32, whole.Options())
    model = keras.Model()
    model.augment = augment
    applied(augment)
    applied(augment)
    assert [float(np.asarray(v)) for v in model.variables] == [2.0]
    assert not augment.supports_jit
    assert whole.info == AugmenterInfo(
        name="mixup+state-ful",
        summary=f"{registry().get('augmenter', 'mixup').info.summary}; then counts its calls",
        licence="Apache-2.0",
        paper=registry().get("augmenter", "mixup").info.paper,
    )


def test_info_shows_a_composition_and_how_its_options_are_given() -> None:
    result = CliRunner().invoke(cli, ["info", "standard+mixup"])
    assert result.exit_code == 0, result.output
    assert "standard+mixup  augmenter" in result.stdout
    for name in ("  standard.noise ", "  mixup.alpha ", "--augment standard+mixup"):
        assert name in result.stdout
    wrong = CliRunner().invoke(cli, ["info", "standard+mixp"])
    assert wrong.exit_code == 2
    assert "Did you mean 'mixup'?" in wrong.output
