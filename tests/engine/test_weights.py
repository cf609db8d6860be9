"""Building networks with weights: by name, from files and from runs; what fits, what does not, and the errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from zoo.core.contracts import ModelInfo
from zoo.core.errors import UsageError, ZooError
from zoo.core.tasks import Task
from zoo.engine.weights import WeightsReport, WeightsUnavailable, build_network, load_matching
from zoo.engine.weights_files import check_file
from zoo.nn.backbone import BackboneModel

ONE, THREE = Task("binary", ("abnormal",)), Task("multilabel", ("a", "b", "c"))


class Little(BackboneModel):
    """Convolutions with automatic names (`conv2d_7`), as InceptionResNetV2 has them, or with given ones."""

    info = ModelInfo(name="little", summary="for tests", parameters=0, min_image_size=8, pretrained=("imagenet",))
    channels = 1

    def __init__(
        self, filters: tuple[int, ...] = (4, 6), named: bool = False, failure: Exception | None = None
    ) -> None:
        self.filters, self.named, self.failure = filters, named, failure

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        if weights and self.failure:
            raise self.failure
        inputs = x = keras.Input((image_size, image_size, 1))
        for number, filters in enumerate(self.filters):
            conv, norm = (f"block{number}_conv", f"block{number}_norm") if self.named else (None, None)
            x = keras.layers.Conv2D(filters, 3, name=conv)(x)
            x = keras.layers.BatchNormalization(name=norm)(x)
        return keras.Model(inputs, x)

    def network(self, task: Task = ONE) -> keras.Model:
        network = self.build(task, 12, None, self.Options())
        generator = np.random.default_rng(len(self.filters))
        network.set_weights([generator.normal(size=w.shape) for w in network.get_weights()])
        return network


def weights_of(network: keras.Model) -> list[np.ndarray]:
    return network.get_layer("backbone").get_weights()


def assert_same_backbone(one: keras.Model, other: keras.Model) -> None:
    for a, b in zip(weights_of(one), weights_of(other), strict=True):
        np.testing.assert_array_equal(a, b)


def load(path: Path, model: Little | None = None, task: Task = ONE) -> tuple[keras.Model, WeightsReport]:
    return build_network(model or Little(), task, 12, str(path), Little.Options())


@pytest.mark.parametrize("weights", [None, "none"])
def test_random_start(weights: str | None) -> None:
    one, report = build_network(Little(), ONE, 12, weights, Little.Options())
    other, _ = build_network(Little(), ONE, 12, weights, Little.Options())
    assert report == WeightsReport("random weights")
    assert report.summary == "random weights"
    assert not np.array_equal(weights_of(one)[0], weights_of(other)[0])


def test_too_small_an_image_names_the_smallest() -> None:
    with pytest.raises(UsageError, match=r"little needs images of at least 8 pixels, not 7.*--image-size 8"):
        build_network(Little(), ONE, 7, None, Little.Options())


@pytest.mark.parametrize("name", ["model.keras", "model.weights.h5"])
@pytest.mark.parametrize("named", [False, True])
def test_a_file_fills_the_backbone_and_leaves_the_head(tmp_path: Path, name: str, named: bool) -> None:
    source = Little(named=named).network(THREE)
    source.save(tmp_path / name) if name.endswith(".keras") else source.save_weights(tmp_path / name)
    Little().network()  # moves the counters of automatic names on
    target, report = load(tmp_path / name, Little(named=named))
    assert_same_backbone(source, target)
    assert len(report.loaded) == 4
    assert report.unmatched_target == ()
    assert report.unmatched_source == ("logits (6, 3), (3,)",)
    assert report.summary.endswith("4 of 4 layers loaded; not used: logits (6, 3), (3,)")


def test_a_head_of_the_same_shape_starts_anew(tmp_path: Path) -> None:
    source = Little().network()
    source.save(tmp_path / "model.keras")
    target, _ = load(tmp_path / "model.keras")
    assert not np.allclose(source.get_layer("logits").get_weights()[0], target.get_layer("logits").get_weights()[0])


def test_a_run_gives_its_final_model_then_its_best_then_its_last_checkpoint(tmp_path: Path) -> None:
    run, sources = tmp_path / "run", [Little().network() for _ in range(3)]
    (run / "checkpoints").mkdir(parents=True)
    for number, source in enumerate(sources):
        source.set_weights([w + number for w in source.get_weights()])
    sources[0].save_weights(run / "checkpoints" / "last.weights.h5")
    assert_same_backbone(load(run)[0], sources[0])
    sources[1].save_weights(run / "checkpoints" / "best.weights.h5")
    assert_same_backbone(load(run)[0], sources[1])
    sources[2].save(run / "model.keras")
    target, report = load(run)
    assert_same_backbone(target, sources[2])
    assert report.source == str(run / "model.keras")


def test_a_compiled_and_trained_network_inside_another_model_is_found(tmp_path: Path) -> None:
    class Training(keras.Model):
        def __init__(self, network: keras.Model) -> None:
            super().__init__()
            self.network, self.noise = network, keras.layers.Dropout(0.1)

        def call(self, inputs: Any, training: bool = False) -> Any:
            return self.network(self.noise(inputs, training=training))

    source = Training(Little().network())
    source.compile("adam", "mse")
    source.train_on_batch(np.ones((4, 12, 12, 1), "float32"), np.ones((4, 1), "float32"))
    source.save_weights(tmp_path / "last.weights.h5")
    target, report = load(tmp_path / "last.weights.h5")
    assert_same_backbone(source.network, target)
    assert report.unmatched_source == ("logits (6, 1), (1,)",)


def test_a_flat_network_without_a_backbone_layer_serves(tmp_path: Path) -> None:
    inputs = keras.Input((12, 12, 1))
    nested = Little().network().get_layer("backbone")
    x = inputs
    for layer in nested.layers[1:]:
        x = type(layer).from_config(layer.get_config())(x)
    flat = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    flat.set_weights([*nested.get_weights(), *flat.get_weights()[-2:]])
    flat.compile("adam", "mse")
    flat.save(tmp_path / "flat.keras")
    target, report = load(tmp_path / "flat.keras")
    for ours, theirs in zip(weights_of(target), flat.get_weights(), strict=False):
        np.testing.assert_array_equal(ours, theirs)
    assert len(report.unmatched_source) == 1


def test_another_layer_class_with_the_same_weights_serves(tmp_path: Path) -> None:
    class FasterNormalization(keras.layers.BatchNormalization):
        pass

    source = Little().network()
    clone = keras.models.clone_model(
        source.get_layer("backbone"),
        clone_function=lambda layer: (
            FasterNormalization()
            if isinstance(layer, keras.layers.BatchNormalization)
            else type(layer).from_config(layer.get_config())
        ),
    )
    clone.set_weights(weights_of(source))
    clone.save_weights(tmp_path / "fast.weights.h5")
    assert_same_backbone(load(tmp_path / "fast.weights.h5")[0], source)


def test_part_of_a_backbone_is_matched_by_given_names_and_the_rest_listed(tmp_path: Path) -> None:
    source = Little((4, 6), named=True).network()
    source.save(tmp_path / "model.keras")
    target, report = load(tmp_path / "model.keras", Little((4, 8), named=True))
    np.testing.assert_array_equal(weights_of(target)[0], weights_of(source)[0])
    assert report.loaded == ("block0_norm", "block0_conv")
    assert set(report.unmatched_target) == {"block1_conv (3, 3, 4, 8), (8,)", "block1_norm (8,), (8,), (8,), (8,)"}
    assert "block1_conv (3, 3, 4, 6), (6,)" in report.unmatched_source
    assert "2 of 4 layers loaded; left random: " in report.summary


def test_automatic_names_are_never_matched_in_a_different_network(tmp_path: Path) -> None:
    Little((4, 6)).network().save(tmp_path / "model.keras")
    with pytest.raises(UsageError, match=r"nothing in .* fits the backbone of little"):
        load(tmp_path / "model.keras", Little((4, 8)))


def test_nothing_matching_says_what_each_side_has(tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    keras.Model(inputs, keras.layers.Dense(2, name="mine")(inputs)).save(tmp_path / "other.keras")
    with pytest.raises(UsageError, match=r"1 layers .*mine \(5, 2\), \(2,\).*backbone 4 .*--weights none"):
        load(tmp_path / "other.keras")


@pytest.mark.parametrize("name", ["bad.keras", "bad.weights.h5", "bad.h5"])
def test_a_damaged_file_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights" * 100)
    with pytest.raises(ZooError, match=f"{name} cannot be read, it may be damaged") as caught:
        load(tmp_path / name)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("named", [False, True])
def test_a_whole_network_in_the_older_layout_fills_the_backbone_and_leaves_the_head(
    tmp_path: Path, named: bool
) -> None:
    source = Little(named=named).network(THREE)
    source.save(tmp_path / "whole.h5")
    flat = keras.Model(source.get_layer("backbone").input, source.get_layer("backbone").output)
    headed = keras.Model(flat.input, keras.layers.Dense(3, name="predictions")(keras.layers.Flatten()(flat.output)))
    headed.save(tmp_path / "headed.h5")
    (tmp_path / "headed.h5").rename(tmp_path / "headed.hdf5")
    Little().network()  # moves the counters of automatic names on
    for name, head in (("whole.h5", "logits (6, 3), (3,)"), ("headed.hdf5", "predictions (384, 3), (3,)")):
        target, report = load(tmp_path / name, Little(named=named))
        assert_same_backbone(source, target)
        assert (len(report.loaded), report.unmatched_target, report.unmatched_source) == (4, (), (head,))


def test_names_of_keras_2_with_slashes_are_matched(tmp_path: Path) -> None:
    source = Little((4, 6), named=True).network()
    source.get_layer("backbone").save(tmp_path / "published.h5")
    with h5py.File(tmp_path / "published.h5", "r") as file, h5py.File(tmp_path / "keras2.h5", "w") as old:
        names = [name for name in file["model_weights"].attrs["layer_names"] if "block" in name]
        old.attrs["layer_names"] = [name.replace("_", "/").encode() for name in names]
        for name in names:
            group, slashed = old.create_group(name.replace("_", "/")), name.replace("_", "/")
            weights = file["model_weights"][name].attrs["weight_names"]
            group.attrs["weight_names"] = [f"{w.replace('_', '/', 1)}:0".encode() for w in weights]
            for weight in weights:
                group[f"{slashed}/{weight.rpartition('/')[2]}:0"] = file["model_weights"][name][weight][()]
    target, report = load(tmp_path / "keras2.h5", Little((4, 8), named=True))
    np.testing.assert_array_equal(weights_of(target)[0], weights_of(source)[0])
    assert report.loaded == ("block0_conv", "block0_norm")


@pytest.mark.parametrize("name", ["own.h5", "own.keras"])
def test_a_scaling_layer_of_the_file_is_named_where_the_network_scales_otherwise(tmp_path: Path, name: str) -> None:
    source = Little(named=True).network()
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Rescaling(1 / 255)(keras.layers.Normalization(mean=3.0, variance=2.0)(inputs))
    keras.Model(inputs, source.get_layer("backbone")(x)).save(tmp_path / name)
    target, report = load(tmp_path / name, Little(named=True))
    assert_same_backbone(source, target)
    assert report.scaling == ("Normalization", "Rescaling(scale=0.003922, offset=0)")
    assert "Its own pixel scaling is not taken over: Normalization, Rescaling(scale=0.003922" in report.summary
    scaled = type("Scaled", (Little,), {"scaling": (1 / 255, 0.0)})(named=True)
    assert load(tmp_path / name, scaled)[1].scaling == ("Normalization",)
    scaled.network().save(tmp_path / name)
    assert load(tmp_path / name, scaled)[1].scaling == ()


def test_damage_inside_a_file_is_found_by_reading_it(tmp_path: Path) -> None:
    source = Little().network()
    for name in ("a.keras", "a.h5", "a.weights.h5"):
        source.save_weights(tmp_path / name) if name.endswith("s.h5") else source.save(tmp_path / name)
        check_file(tmp_path / name)
    content = bytearray((tmp_path / "a.keras").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.keras").write_bytes(content)
    with pytest.raises(ZooError, match=r"a\.keras cannot be read, it may be damaged"):
        check_file(tmp_path / "a.keras")
    source.set_weights([np.full_like(w, np.nan) for w in source.get_weights()])
    source.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ZooError, match="holds values that are not finite"):
        check_file(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.create_dataset("else", (4,), "f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(ZooError, match="keeps 'else' in another file"):
        check_file(tmp_path / "a.h5")


def test_a_truncated_file_is_a_clear_error(tmp_path: Path) -> None:
    Little().network().save(tmp_path / "whole.keras")
    Little().network().save_weights(tmp_path / "whole.weights.h5")
    for name in ("whole.keras", "whole.weights.h5"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2])
        with pytest.raises(ZooError, match="may be damaged"):
            load(tmp_path / f"cut-{name}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "absent.keras", r"there is no weights file .*absent\.keras"),
        (lambda p: p, r"has no weights: looked for model\.keras"),
        (lambda p: (p / "notes.txt").write_text("x") and p / "notes.txt", r"must end in \.keras"),
    ],
    ids=["missing", "empty directory", "another kind"],
)
def test_paths_that_hold_no_weights(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(make(tmp_path))


def test_a_misspelt_name_gets_its_closest_match() -> None:
    with pytest.raises(UsageError, match=r"weights of little: 'imagnet'.*Did you mean 'imagenet'.*A path"):
        build_network(Little(), ONE, 12, "imagnet", Little.Options())


def test_the_older_layout_of_keras_applications_is_read(tmp_path: Path) -> None:
    source = Little(named=True).network()
    source.get_layer("backbone").save(tmp_path / "published_notop.h5")
    target, report = load(tmp_path / "published_notop.h5", Little(named=True))
    assert_same_backbone(source, target)
    assert len(report.loaded) == 4
    target, report = load(tmp_path / "published_notop.h5", Little((4, 8), named=True))
    np.testing.assert_array_equal(weights_of(target)[0], weights_of(source)[0])
    assert report.loaded == ("block0_conv", "block0_norm")
    assert report.unmatched_source == ("block1_conv (3, 3, 4, 6), (6,)", "block1_norm (6,), (6,), (6,), (6,)")
    with pytest.raises(UsageError, match=r"nothing in .* fits the backbone of little"):
        load(tmp_path / "published_notop.h5", Little((4, 6, 8)))


def test_published_weights_are_passed_on() -> None:
    seen = []

    class Published(Little):
        def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
            seen.append(weights)
            return super().backbone(image_size, weights, options)

    report = build_network(Published(), ONE, 12, "imagenet", Little.Options())[1]
    assert seen == ["imagenet"]
    assert report.summary == "imagenet weights of little, as published through Keras"


def test_a_failed_download_names_the_two_ways_on(tmp_path: Path) -> None:
    class Offline(Little):
        def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
            keras.utils.get_file("w.h5", origin="http://127.0.0.1:9/w.h5", cache_dir=str(tmp_path))
            raise AssertionError("nothing listens on the discard port")

    with pytest.raises(WeightsUnavailable, match="imagenet weights of little") as caught:
        build_network(Offline(), ONE, 12, "imagenet", Little.Options())
    assert caught.value.exit_code == 1
    for way in ("--weights none", "--weights PATH"):
        assert way in str(caught.value)


@pytest.mark.parametrize("failure", [TypeError("a bug"), UsageError("no such width")])
def test_other_failures_are_not_called_downloads(failure: Exception) -> None:
    with pytest.raises(type(failure), match=str(failure)):
        build_network(Little(failure=failure), ONE, 12, "imagenet", Little.Options())


def test_loading_keeps_what_the_network_computes_with_other_inputs(tmp_path: Path) -> None:
    source = Little().network()
    source.save(tmp_path / "model.keras")
    target = Little().build(THREE, 20, None, Little.Options())
    load_matching(target, tmp_path / "model.keras")
    assert target.input_shape == (None, 20, 20, 1)
    assert_same_backbone(source, target)
