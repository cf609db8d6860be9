"""Joining networks: what their mean says, which weights suit, which runs fit together, and where the network looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from reportable import BINARY, CLASSES, SEVERAL, make_run
from scipy.special import expit, logit, softmax

from zoo.config.resolve import resolve
from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.ensemble.combine import combine, fit_weights, log_loss
from zoo.ensemble.members import check_members
from zoo.ensemble.strategy import refuse_to_train, with_ensembles
from zoo.runs.run import Run

TASKS = [BINARY, SEVERAL, CLASSES]
LOGITS = arrays.arrays(np.float64, (3, 4, 3), elements=st.floats(-30, 30))


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
    return softmax(logits, axis=-1) if task.exclusive else expit(logits)


@pytest.mark.parametrize("task", [SEVERAL, CLASSES], ids=lambda task: task.kind)
@given(logits=LOGITS, weights=st.lists(st.floats(0.01, 1), min_size=3, max_size=3))
@settings(max_examples=50, deadline=None)
def test_the_combination_is_the_weighted_mean_of_the_probabilities(
    task: Task, logits: np.ndarray, weights: list[float]
) -> None:
    shares = np.array(weights) / sum(weights)
    found = combine(task, logits, shares)
    expected = np.einsum("m,mnk->nk", shares, probabilities(task, logits))
    np.testing.assert_allclose(probabilities(task, found), expected, atol=1e-12)
    order = [2, 0, 1]
    np.testing.assert_allclose(combine(task, logits[order], shares[order]), found, atol=1e-9)
    same = np.stack([logits[0]] * 3)
    np.testing.assert_allclose(
        probabilities(task, combine(task, same, shares)), probabilities(task, logits[0]), atol=1e-12
    )


def test_the_mean_of_sure_networks_is_not_rounded_to_certainty() -> None:
    found = combine(BINARY, np.array([[[60.0]], [[50.0]]]), [0.5, 0.5])
    assert found[0, 0] == pytest.approx(50 + np.log(2), abs=1e-4)  # the doubt of both, halved
    with np.errstate(divide="ignore"):
        assert not np.isfinite(logit(expit([60.0, 50.0]).mean()))  # what plain probabilities would give


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.kind)
def test_fitted_weights_sum_to_one_and_do_no_worse_than_equal_ones(task: Task) -> None:
    rng = np.random.default_rng(1)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, 200)]
    else:
        labels = (rng.random((200, task.outputs)) < 0.4).astype(float)
        labels[:20, 0] = np.nan
    truth = np.nan_to_num(labels)
    logits = np.stack([scale * truth + rng.normal(size=labels.shape) for scale in (3.0, 1.0, 0.0)])
    weights = fit_weights(task, labels, logits)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert weights[0] > 0.5 > weights[2]
    losses = [log_loss(task, labels, combine(task, logits, w)) for w in (weights, np.full(3, 1 / 3))]
    assert losses[0] < losses[1]
    for other in rng.dirichlet(np.ones(3), 300):
        assert losses[0] <= log_loss(task, labels, combine(task, logits, other)) + 1e-6
    known = ~np.isnan(labels)
    of_truth = probabilities(task, combine(task, logits, weights))
    expected = -np.log((of_truth * truth).sum(axis=1)) if task.exclusive else None
    if expected is None:
        expected = -np.log(np.where(truth == 1, of_truth, 1 - of_truth))[known]
    assert losses[0] == pytest.approx(expected.mean())


def test_weights_cannot_be_fitted_to_images_without_labels() -> None:
    with pytest.raises(DataError, match="no label of the validation images is known"):
        fit_weights(BINARY, np.full((4, 1), np.nan), np.zeros((2, 4, 1)))


def build(task: Task, width: int) -> Any:
    import keras

    keras.utils.set_random_seed(width)
    model = registry().get("model", "tiny-cnn")
    network = model.build(task, 16, None, model.Options(width=width, depth=1, dropout=0.3))
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([kernel * 3, bias + np.linspace(-1, 1, task.outputs)])
    return network


IMAGES = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 1)).astype(np.float32)


@pytest.mark.parametrize("task", [SEVERAL, CLASSES], ids=lambda task: task.kind)
def test_the_ensemble_s_probabilities_are_the_weighted_mean_of_its_members(task: Task, tmp_path: Path) -> None:
    import keras

    from zoo.ensemble.network import averaged
    from zoo.inference.features import with_features
    from zoo.nn.members import members

    networks = [build(task, width) for width in (4, 5, 6)]
    before = np.stack([network.predict(IMAGES, verbose=0) for network in networks])
    whole = averaged(networks, [0.5, 0.3, 0.2], task)
    whole.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    logits, features = with_features(loaded).predict(IMAGES, verbose=0)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, combine(task, before, [0.5, 0.3, 0.2]), atol=5e-6)
    assert features.shape == (4, 4 * (4 + 5 + 6))  # of all networks: the OOD detector looks at them all
    assert len(members(loaded)) == 3


def test_a_network_without_a_head_of_its_own_can_be_averaged_but_not_cut() -> None:
    import keras

    from zoo.ensemble.network import averaged, concatenated

    image = keras.Input((16, 16, 1))
    maps = keras.layers.Conv2D(1, 3)(keras.layers.Rescaling(1 / 255)(image))
    other = keras.Model(image, keras.layers.GlobalAveragePooling2D()(maps), name="maps")
    networks = [other, build(BINARY, 4)]
    before = np.stack([network.predict(IMAGES, verbose=0) for network in networks])
    with pytest.raises(UsageError, match=r"maps does not end in a Dense layer.*--by mean"):
        concatenated(networks, BINARY)
    found = averaged(networks, [0.5, 0.5], BINARY).predict(IMAGES, verbose=0)
    np.testing.assert_allclose(found, combine(BINARY, before, [0.5, 0.5]), atol=1e-5)


def test_a_heat_map_is_made_of_the_evidence_of_all_networks() -> None:
    from zoo.ensemble.network import averaged
    from zoo.explain.maps import Mapper

    columns = np.zeros(len(IMAGES), int)
    single = Mapper(build(BINARY, 4)).heat_maps(IMAGES[..., 0], columns)
    twice = averaged([build(BINARY, 4), build(BINARY, 4)], [0.5, 0.5], BINARY)
    assert len(Mapper(twice).layers) == 2
    np.testing.assert_allclose(Mapper(twice).heat_maps(IMAGES[..., 0], columns), single, atol=1e-3)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Run, Run]:
    """Two finished runs on the same images."""
    runs = make_run(tmp_path / "a", SEVERAL), make_run(tmp_path / "b", SEVERAL)
    for run in runs:
        run.model_file.write_bytes(b"")
    return runs


def change_images(run: Run, change: Any) -> None:
    images = pd.read_csv(run.path / "images.csv")
    change(images).to_csv(run.path / "images.csv", index=False)


def test_runs_on_the_same_images_fit_together(pair: tuple[Run, Run]) -> None:
    check_members(pair)


def test_an_image_of_one_run_s_training_in_the_other_s_test_is_refused(pair: tuple[Run, Run]) -> None:
    first, other = pair

    def moved(images: pd.DataFrame) -> pd.DataFrame:
        images.loc[images["image"].isin(["image-0.png", "image-1.png"]), "split"] = "test"
        return images

    change_images(other, moved)
    config = other.config() | {"seed": 7}
    (other.path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(DataError, match=r"learned from 2 of the 152 test images.*'image-0\.png'.*seed: 0 and 7"):
        check_members([first, other])
    with pytest.raises(DataError, match="learned from 2 of the 152 test images"):
        check_members([other, first])


def test_a_leak_under_another_name_is_found_by_its_pixels(pair: tuple[Run, Run]) -> None:
    first, other = pair

    def renamed(images: pd.DataFrame) -> pd.DataFrame:
        images["image"] = "x" + images["image"]
        images.loc[0, "split"] = "test"
        return images

    change_images(other, renamed)
    with pytest.raises(DataError, match=r"learned from 1 of the 151 test images of run, such as 'ximage-0\.png'"):
        check_members([first, other])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.iloc[1:], r"different images \(1 only in run, such as 'image-0\.png'\)"),
        (lambda f: f.assign(**{"label:Mass": 1 - f["label:Mass"]}), "another label Mass"),
        (lambda f: f.assign(digest=f["digest"].str.replace("0", "f")), "images have other pixels"),
    ],
)
def test_other_images_are_refused(pair: tuple[Run, Run], change: Any, message: str) -> None:
    change_images(pair[1], change)
    with pytest.raises(DataError, match=message):
        check_members(pair)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"status": "interrupted"}, "is not finished .*zoo train --resume"),
        ({"image_size": 64}, "32 pixels and .* of 64.*--image-size 64"),
        ({"labels": ["Effusion", "Mass", "Pleural_Thickening"]}, "labels in another order"),
        ({"labels": ["Mass", "Effusion"], "thresholds": {}}, "one task with the same labels"),
    ],
)
def test_runs_that_do_not_fit_are_refused(pair: tuple[Run, Run], info: dict[str, Any], message: str) -> None:
    pair[1].update_info(**info)
    with pytest.raises(ZooError, match=message):
        check_members(pair)


def test_an_ensemble_needs_two_runs_with_networks(pair: tuple[Run, Run]) -> None:
    with pytest.raises(UsageError, match="at least two runs"):
        check_members(pair[:1])
    with pytest.raises(UsageError, match="named twice"):
        check_members([*pair, pair[0]])
    pair[1].model_file.unlink()
    with pytest.raises(ZooError, match=r"model\.keras is missing"):
        check_members(pair)


def test_only_zoo_ensemble_makes_ensembles() -> None:
    layer = {"model": {"name": "ensemble", "members": ["/a", "/b"], "by": "mean"}}
    with pytest.raises(UsageError, match="zoo ensemble /a /b --by mean"):
        refuse_to_train([{"epochs": 3}, layer])
    refuse_to_train([{"model": "tiny-cnn"}, {"model": {"name": "tiny-cnn", "width": 4}}])
    assert resolve([layer | {"epochs": 0}], with_ensembles(registry())).model.options.members == ("/a", "/b")
    assert "ensemble" not in registry().names("model")
