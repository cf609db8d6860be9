"""Baselines: a model of the metadata alone and the prevalence, against scikit-learn and by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions, auroc, patient_weights
from zoo.evaluation.baselines import baselines, metadata_predictions, shared_features

BINARY = Task("binary", ("Abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Edema"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))


def metadata(number: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image": [f"{seed}-{i}.png" for i in range(number)],
            "patient": [f"{seed}-{p}" for p in rng.integers(0, number // 2, number)],
            "age": rng.integers(1, 95, number).astype(float),
            "sex": rng.choice(["F", "M"], number),
            "view": rng.choice(["AP", "PA"], number),
            "follow_up": rng.geometric(0.3, number) - 1,
        }
    )


def draw(chance: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(chance.shape) < chance).astype(float)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def make_data(
    task: Task = BINARY, number: int = 500, signal: float = 1.0, **effect: float
) -> tuple[pd.DataFrame, Predictions]:
    """Training images and predictions of test images whose labels follow the view (AP) and sex (M) by `effect`."""
    tables, labels = [], []
    for seed in (1, 2):
        table = metadata(number, seed)
        odds = effect.get("view", 0.0) * (table["view"] == "AP") + effect.get("sex", 0.0) * (table["sex"] == "M") - 0.5
        tables.append(table)
        labels.append(draw(np.tile(sigmoid(odds.to_numpy())[:, None], task.outputs), seed))
    training = tables[0].assign(**{f"label:{name}": labels[0][:, k] for k, name in enumerate(task.labels)})
    noise = np.random.default_rng(3).normal(size=labels[1].shape)
    return training, Predictions(task, tables[1], labels[1], signal * labels[1] + noise)


def test_one_feature_equals_a_plain_logistic_regression() -> None:
    training, test = make_data(view=1.5)
    training = training.drop(columns=["age", "sex", "follow_up"])
    found = metadata_predictions(training, test)
    assert shared_features(training, test.table) == ("view",)
    both = np.stack([training["view"] == "AP", training["view"] == "PA"], axis=1).astype(float)
    mean, deviation = both.mean(axis=0), both.std(axis=0)
    model = LogisticRegression().fit((both - mean) / deviation, training["label:Abnormal"])
    seen = np.stack([test.table["view"] == "AP", test.table["view"] == "PA"], axis=1).astype(float)
    expected = model.predict_proba((seen - mean) / deviation)[:, 1]
    np.testing.assert_allclose(found.probabilities[:, 0], expected, atol=1e-4)
    np.testing.assert_array_equal(found.labels, test.labels)
    # with 500 images the penalty hardly matters: each view gets about its share of abnormal training images
    share = training.groupby("view")["label:Abnormal"].mean()
    np.testing.assert_allclose(found.probabilities[:, 0], share[test.table["view"]], atol=0.01)


def test_follow_up_counts_on_a_logarithmic_scale() -> None:
    training, test = make_data()
    training["label:Abnormal"] = draw(sigmoid(np.log1p(training["follow_up"].to_numpy()) - 1), 8)
    log = np.log1p(training["follow_up"].to_numpy())
    scale = [((x - log.mean()) / log.std())[:, None] for x in (log, np.log1p(test.table["follow_up"].to_numpy()))]
    expected = LogisticRegression().fit(scale[0], training["label:Abnormal"]).decision_function(scale[1])
    found = metadata_predictions(training, test, ("follow_up",))
    np.testing.assert_allclose(found.logits[:, 0], expected, atol=1e-4)


def test_a_curved_effect_of_age_is_found() -> None:
    training, test = make_data(number=1500)
    middle = [draw(sigmoid(2.5 - np.abs(t["age"].to_numpy() - 48) / 8), s) for s, t in ((4, training), (5, test.table))]
    training["label:Abnormal"] = middle[0]
    test.labels[:, 0] = middle[1]
    found = metadata_predictions(training, test, ("age",))
    best = auroc(middle[1], -np.abs(test.table["age"].to_numpy() - 48))  # what knowing the curve would give
    assert best > 0.8
    assert auroc(middle[1], found.logits[:, 0]) > best - 0.02


def test_missing_values_and_unseen_ones_are_features_not_errors() -> None:
    training, test = make_data(number=800)
    gone = np.random.default_rng(0).random(800) < 0.4
    for column in ("age", "follow_up"):
        training[column] = training[column].astype(float).mask(gone)
    training.loc[gone, ["sex", "view"]] = None
    training["label:Abnormal"] = draw(np.where(gone, 0.9, 0.1), 6)
    missing = np.random.default_rng(1).random(800) < 0.5
    test.table["age"] = test.table["age"].mask(missing)
    test.table["sex"] = test.table["sex"].mask(missing, "other")
    test.labels[:, 0] = missing
    found = metadata_predictions(training, test)
    assert np.isfinite(found.logits).all()
    assert auroc(missing.astype(float), found.logits[:, 0]) == 1.0
    assert auroc(missing.astype(float), metadata_predictions(training, test, ("age",)).logits[:, 0]) == 1.0


def test_a_label_of_one_class_is_constant_and_unknown_labels_are_left_out() -> None:
    training, test = make_data(MULTILABEL, view=2.0)
    training["label:Edema"] = 0.0
    flipped = training.copy()
    flipped.loc[:249, "label:Mass"] = np.nan
    found = metadata_predictions(flipped, test)
    np.testing.assert_allclose(found.probabilities[:, 1], 0.5 / 501, rtol=1e-5)
    half = metadata_predictions(training.iloc[250:], test)
    share = [p.probabilities[:, 0][(test.table["view"] == "AP").to_numpy()].mean() for p in (found, half)]
    assert share[0] == pytest.approx(share[1], abs=0.05)


def test_multiclass_scores_every_class_even_one_not_seen() -> None:
    training, test = make_data(MULTICLASS)
    test.labels[:] = np.eye(3)[np.where(test.table["view"] == "AP", 0, 1)]
    labels = np.eye(3)[np.where(training["view"] == "AP", 0, 1)]
    for k, label in enumerate(MULTICLASS.labels):
        training[f"label:{label}"] = labels[:, k]
    found = metadata_predictions(training, test)
    np.testing.assert_array_equal(found.logits.argmax(axis=1), test.labels.argmax(axis=1))
    assert (found.probabilities[:, 2] < 0.01).all()
    best, prevalence = baselines(training, test)
    assert best.auroc.value == 1.0
    assert prevalence.auroc.value == 0.5


def test_the_difference_is_paired_over_the_patients() -> None:
    training, test = make_data(view=1.5, sex=1.0)
    found = baselines(training, test)[0]
    y, z = test.labels[:, 0], test.logits[:, 0]
    alone = metadata_predictions(training, test).logits[:, 0]
    weights = patient_weights(test.table["patient"], 300, 7)
    drawn = [sk.roc_auc_score(y, z, sample_weight=w) - sk.roc_auc_score(y, alone, sample_weight=w) for w in weights]
    assert found.name == "metadata only"
    assert found.features == ("age", "sex", "view", "follow_up")
    assert found.difference is not None
    assert found.difference.value == pytest.approx(sk.roc_auc_score(y, z) - sk.roc_auc_score(y, alone))
    assert (found.difference.low, found.difference.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.015
    )
    assert found.auprc.value == pytest.approx(sk.average_precision_score(y, alone))
    brier = [sk.brier_score_loss(y, sigmoid(alone), sample_weight=w) for w in weights]
    assert found.brier.value == pytest.approx(sk.brier_score_loss(y, sigmoid(alone)), abs=1e-6)
    assert (found.brier.low, found.brier.high) == pytest.approx(tuple(np.quantile(brier, [0.025, 0.975])), abs=0.004)


def test_prevalence_is_chance_and_its_figures_are_those_of_a_constant() -> None:
    training, test = make_data(MULTILABEL)
    test.labels[:50, 0] = np.nan
    found = baselines(training, test)[-1]
    assert found.name == "prevalence"
    assert (found.auroc.value, found.auroc.low, found.auroc.high) == (0.5, 0.5, 0.5)
    assert found.auprc.value == pytest.approx(np.nanmean(test.labels, axis=0).mean())
    shares = training[["label:Mass", "label:Edema"]].mean().to_numpy()
    assert found.brier.value == pytest.approx(np.nanmean((test.labels - shares) ** 2, axis=0).mean(), abs=1e-6)
    assert found.auprc.low < found.auprc.value < found.auprc.high
    assert found.beaten


def test_a_good_network_beats_the_baseline_and_a_blind_one_does_not() -> None:
    training, test = make_data(signal=3.0, view=1.0)
    found = baselines(training, test)[0]
    assert found.beaten is True
    assert found.difference.low > 0
    training, test = make_data(signal=0.0, view=3.0)
    found = baselines(training, test)[0]
    assert found.beaten is False
    assert found.difference.high < 0
    training, test = make_data(signal=0.0)
    found = baselines(training, test)[-1]
    assert found.beaten is False
    assert found.difference.low < 0 < found.difference.high


def test_a_single_feature_that_carries_over_better_than_all_comes_first() -> None:
    training, test = make_data(number=1500, signal=0.5, view=4.0, sex=1.5)
    # AP images are the abnormal ones in training, the normal ones in test; the sex means the same in both
    test.table["view"] = np.where(test.table["view"] == "AP", "PA", "AP")
    first, every, prevalence = baselines(training, test)
    assert first.features == ("sex",)
    assert every.features == ("age", "sex", "view", "follow_up")
    assert every.auroc.value < 0.5 < first.auroc.value
    assert prevalence.name == "prevalence"


@pytest.mark.parametrize("how", ["no columns", "all alike", "all missing"])
def test_without_metadata_only_the_prevalence_is_left(how: str) -> None:
    training, test = make_data()
    columns = ["age", "sex", "view", "follow_up"]
    if how == "no columns":
        training = training.drop(columns=columns)
    for column in columns:
        if how == "all alike":
            training[column] = training[column].iloc[0]
        elif how == "all missing":
            test.table[column] = None
    found = baselines(training, test)
    assert [f.name for f in found] == ["prevalence"]
    with pytest.raises(DataError, match="no metadata to predict from"):
        metadata_predictions(training, test)


def test_a_difference_can_be_undefined_or_without_an_interval() -> None:
    training, test = make_data()
    test.labels[:] = 1
    found = baselines(training, test)[-1]
    assert found.difference is None
    assert found.beaten is None
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["auroc"]["value"] is None
    training, test = make_data()
    test.table["patient"] = "1"
    found = baselines(training, test)[0]
    assert found.beaten is None
    assert math.isnan(found.auroc.low)
    assert found.difference is not None


def test_a_table_without_the_labels_is_refused() -> None:
    training, test = make_data(MULTILABEL)
    with pytest.raises(DataError, match="lacks the columns label:Edema"):
        baselines(training.drop(columns=["label:Edema"]), test)
    with pytest.raises(DataError, match="no rows"):
        baselines(training.iloc[:0], test)
