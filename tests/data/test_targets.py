"""From findings to what each task predicts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from prepared import NoPixels

from zoo.core.errors import DataError, UsageError
from zoo.core.records import Records
from zoo.core.tasks import Task
from zoo.data.targets import make_targets

NAN = np.nan


def records(
    rows: list[list[float]], names: tuple[str, ...] = ("Mass", "Nodule"), normal: str | None = "No Finding"
) -> Records:
    count = len(rows)
    table = pd.DataFrame(
        {"image": [str(i) for i in range(count)], "path": "", "patient": [str(i) for i in range(count)]}
    )
    table[list(names)] = np.array(rows, dtype=float)
    return Records(table, names, NoPixels(), normal=normal)


def test_binary_is_any_finding_and_unknown_where_the_known_ones_do_not_decide() -> None:
    targets = make_targets(records([[1, 0], [0, 0], [1, NAN], [0, NAN], [1, 1]]), "binary")
    assert targets.task == Task("binary", ("Abnormal",))
    np.testing.assert_array_equal(targets.labels[:, 0], [1, 0, 1, NAN, 1])
    assert targets.reasons.tolist() == ["", "", "", "label unknown", ""]


def test_binary_of_a_single_label_keeps_its_name() -> None:
    assert make_targets(records([[1], [0]], ("pneumonia",)), "binary").task.labels == ("pneumonia",)


def test_binary_without_normal_images_is_refused_with_the_way_on() -> None:
    with pytest.raises(DataError, match=r"--set data\.normal=NAME"):
        make_targets(records([[1, 0], [0, 1]], normal=None), "binary")


def test_binary_without_abnormal_images_is_refused() -> None:
    with pytest.raises(DataError, match="needs abnormal images"):
        make_targets(records([[0, 0], [0, 0]]), "binary")


def test_multilabel_keeps_findings_and_sets_aside_images_without_any_known_label() -> None:
    targets = make_targets(records([[1, NAN], [NAN, NAN], [0, 0]]), "multilabel")
    np.testing.assert_array_equal(targets.labels, [[1, NAN], [NAN, NAN], [0, 0]])
    assert targets.usable.tolist() == [True, False, True]


def test_multilabel_where_nothing_is_ever_positive_is_refused() -> None:
    with pytest.raises(DataError, match="Mass, Nodule"):
        make_targets(records([[0, 0], [0, NAN]]), "multilabel")


def test_multiclass_takes_images_of_one_class_and_says_why_not_the_others() -> None:
    targets = make_targets(records([[1, 0], [0, 0], [1, 1], [0, NAN], [0, 1]]), "multiclass")
    assert targets.task.labels == ("No Finding", "Mass", "Nodule")
    np.testing.assert_array_equal(targets.labels[[0, 1, 4]], [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert [bool(r) for r in targets.reasons] == [False, False, True, True, False]
    assert "more than one finding" in targets.reasons[2]


def test_multiclass_leaves_out_classes_without_images() -> None:
    targets = make_targets(records([[1, 0, 0], [0, 0, 1]], ("Mass", "Nodule", "Edema"), normal=None), "multiclass")
    assert targets.task.labels == ("Mass", "Edema")
    with pytest.raises(DataError, match="at least two classes"):
        make_targets(records([[1, 0], [1, 0]], normal=None), "multiclass")


NAMES = ("Mass", "Nodule", "Edema")
SOME = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]]


def test_multilabel_of_some_findings_keeps_every_image_in_the_order_asked_for() -> None:
    targets = make_targets(records(SOME, NAMES), "multilabel", findings=["nodule", "Mass"])
    assert targets.task.labels == ("Nodule", "Mass")
    np.testing.assert_array_equal(targets.labels, [[0, 1], [0, 0], [0, 0], [0, 1], [1, 0]])
    assert targets.usable.all()


def test_normal_is_an_output_of_its_own_where_it_is_named() -> None:
    targets = make_targets(records([*SOME, [0, NAN, 0]], NAMES), "multilabel", findings=["Mass", "No Finding"])
    assert targets.task.labels == ("Mass", "No Finding")
    # normal is an image without any finding, those that were not chosen included
    np.testing.assert_array_equal(targets.labels, [[1, 0], [0, 1], [0, 0], [1, 0], [0, 0], [0, NAN]])
    with_devices = dataclasses.replace(records([[0, 0, 1], [0, 1, 0]], NAMES), no_pathology=("Edema",))
    labels = make_targets(with_devices, "multilabel", findings=["Mass", "Nodule", "No Finding"]).labels
    np.testing.assert_array_equal(labels[:, 2], [1, 0])
    zero = make_targets(records([[1, 0], [0, NAN]]), "multilabel", findings=["Mass", "No Finding"], uncertain="zero")
    np.testing.assert_array_equal(zero.training[:, 1], [0, 1])


def test_binary_of_some_findings_sets_images_with_only_others_aside() -> None:
    targets = make_targets(records(SOME, NAMES), "binary", findings=["Mass"])
    assert targets.task.labels == ("Mass",)
    assert targets.usable.tolist() == [True, True, False, True, False]
    np.testing.assert_array_equal(targets.labels[targets.usable, 0], [1, 0, 1])
    assert "another finding" in targets.reasons[2]


def test_multiclass_of_some_findings_takes_images_of_exactly_those_classes() -> None:
    targets = make_targets(records(SOME, NAMES), "multiclass", findings=["Nodule", "No Finding", "Mass"])
    assert targets.task.labels == ("Nodule", "No Finding", "Mass")
    assert targets.usable.tolist() == [True, True, False, False, True]
    np.testing.assert_array_equal(targets.labels[targets.usable], [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    without = make_targets(records(SOME, NAMES), "multiclass", findings=["Nodule", "Mass"])
    assert without.usable.tolist() == [True, False, False, False, True]
    assert "No Finding is not among" in without.reasons[1]


@pytest.mark.parametrize(
    ("kind", "findings", "part"),
    [
        ("multilabel", ["Nodul"], "Did you mean 'Nodule'"),
        ("multilabel", ["Mass", "mass"], "names 'Mass' twice"),
        ("multilabel", ["No Finding"], "at least one finding"),
        ("multiclass", ["Mass"], "at least two classes"),
        ("binary", ["No Finding"], "at least one finding"),
        ("binary", [], "at least one finding"),
    ],
)
def test_findings_that_a_task_cannot_use_are_refused(kind: str, findings: list[str], part: str) -> None:
    with pytest.raises(UsageError, match=part):
        make_targets(records(SOME, NAMES), kind, findings=findings)  # a kind from a parameter


@pytest.mark.parametrize(("policy", "value"), [("zero", 0.0), ("one", 1.0), ("half", 0.5)])
def test_unknown_labels_are_replaced_for_training_only(policy: str, value: float) -> None:
    rows = [[1, NAN], [NAN, NAN], [0, 0], [0, NAN]]
    many = make_targets(records(rows), "multilabel", uncertain=policy)  # from a parameter
    np.testing.assert_array_equal(many.labels, rows)
    np.testing.assert_array_equal(many.training, [[1, value], [value, value], [0, 0], [0, value]])
    assert many.usable.all()
    assert many.training_only.tolist() == [False, True, False, False]
    one = make_targets(records(rows), "binary", uncertain=policy)  # from a parameter
    np.testing.assert_array_equal(one.labels[:, 0], [1, NAN, 0, NAN])
    np.testing.assert_array_equal(one.training[:, 0], [1, value, 0, value])
    assert one.training_only.tolist() == [False, True, False, True]


def test_ignoring_unknown_labels_leaves_them_unknown_in_training() -> None:
    targets = make_targets(records([[1, NAN], [NAN, NAN], [0, 0]]), "multilabel")
    np.testing.assert_array_equal(targets.training, targets.labels)
    assert not targets.training_only.any()


def test_unknown_labels_of_a_multiclass_task() -> None:
    rows = [[1, 0], [0, 0], [0, 1], [0, NAN], [1, NAN], [NAN, NAN]]
    zero = make_targets(records(rows), "multiclass", uncertain="zero")
    np.testing.assert_array_equal(zero.training[3:], [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    assert zero.training_only.tolist() == [False, False, False, True, True, True]
    one = make_targets(records(rows), "multiclass", uncertain="one")
    np.testing.assert_array_equal(one.training[3], [0, 0, 1])
    assert one.training_only.tolist() == [False, False, False, True, False, False]
    assert "more than one finding" in one.reasons[4]
    with pytest.raises(UsageError, match="cannot be one half"):
        make_targets(records(rows), "multiclass", uncertain="half")


def test_a_half_is_given_only_where_a_finding_asked_for_is_in_doubt() -> None:
    rows = [[1, 0, 0], [0, 0, 0], [NAN, 0, 0], [0, NAN, 0]]
    targets = make_targets(records(rows, NAMES), "binary", findings=["Mass"], uncertain="half")
    np.testing.assert_array_equal(targets.training[:, 0], [1, 0, 0.5, NAN])
    assert targets.usable.tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("kind", "labels", "outputs", "activation"),
    [
        ("binary", ("x",), 1, "sigmoid"),
        ("multilabel", ("x", "y"), 2, "sigmoid"),
        ("multiclass", ("x", "y", "z"), 3, "softmax"),
    ],
)
def test_tasks_know_their_outputs_and_activation(
    kind: str, labels: tuple[str, ...], outputs: int, activation: str
) -> None:
    task = Task(kind, labels)  # the literal is what is tested
    assert (task.outputs, task.activation, task.exclusive) == (outputs, activation, kind == "multiclass")


@pytest.mark.parametrize(
    ("kind", "labels"), [("binary", ("x", "y")), ("multiclass", ("x",)), ("multilabel", ("x", "x")), ("both", ("x",))]
)
def test_impossible_tasks_are_refused(kind: str, labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"label|class|kind"):
        Task(kind, labels)  # one of them is no kind
