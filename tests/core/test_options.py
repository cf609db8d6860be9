from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Lt

from zoo.core.contracts import NoOptions, option
from zoo.core.errors import UsageError
from zoo.core.options import as_dict, describe, type_text, validate


@dataclass(frozen=True)
class Knobs:
    dropout: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share dropped")
    size: Literal["small", "large"] = option("small", "which of the two")
    depth: int | None = option(None, "layers")
    betas: tuple[float, ...] = option((0.9, 0.999), "decay rates")


def test_describe_gives_type_bounds_default_and_meaning_in_order() -> None:
    assert [(o.name, o.type, o.default, o.help) for o in describe(Knobs)] == [
        ("dropout", "float ≥ 0 < 1", 0.0, "share dropped"),
        ("size", "small | large", "small", "which of the two"),
        ("depth", "int or none", None, "layers"),
        ("betas", "list of float", (0.9, 0.999), "decay rates"),
    ]


def test_values_as_yaml_gives_them_become_typed_options() -> None:
    knobs = validate(Knobs, {"dropout": "0.25", "depth": 3, "betas": [0.5, 0.6]}, "model")
    assert knobs == Knobs(dropout=0.25, depth=3, betas=(0.5, 0.6))
    assert as_dict(knobs) == {"dropout": 0.25, "size": "small", "depth": 3, "betas": [0.5, 0.6]}
    assert validate(Knobs, as_dict(knobs), "model") == knobs
    with pytest.raises(FrozenInstanceError):
        knobs.depth = 4


def test_unknown_option_names_the_closest_and_the_valid_ones() -> None:
    with pytest.raises(
        UsageError, match=r"option model\.droput.*Did you mean 'dropout'\?.*Valid: betas, depth, dropout, size"
    ):
        validate(Knobs, {"droput": 0.1}, "model")
    with pytest.raises(UsageError, match=r"option loss\.x: this loss has no options\. See 'zoo info bce'"):
        validate(NoOptions, {"x": 1}, "loss", "See 'zoo info bce'.")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dropout": 1.0}, [r"model.dropout: received 1.0", "float ≥ 0 < 1"]),
        ({"size": "huge"}, ["model.size: received 'huge'", "small | large"]),
        ({"depth": "deep"}, ["model.depth: received 'deep'", "int or none"]),
        ({"dropout": -1, "size": 3}, ["model.dropout", "model.size"]),
    ],
)
def test_wrong_value_names_option_value_and_what_is_valid(values: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        validate(Knobs, values, "model")
    for part in said:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_problem_of_a_value_with_several_types_is_reported_once() -> None:
    with pytest.raises(UsageError) as caught:
        validate(Knobs, {"depth": "deep"}, "model")
    assert str(caught.value).count("model.depth") == 1


@pytest.mark.parametrize(
    ("hint", "text"),
    [(Annotated[int, Gt(2)], "int > 2"), (bool, "bool"), (str | None, "str or none"), (tuple[int, ...], "list of int")],
)
def test_type_text(hint: Any, text: str) -> None:
    assert type_text(hint) == text


def test_mutable_default_is_refused() -> None:
    with pytest.raises(TypeError, match="immutable"):
        option([], "a list")
