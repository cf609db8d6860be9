from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import DataError, UsageError, ZooError, closest, unknown

NAMES = ["mobilenetv3", "densenet121", "inceptionresnetv2"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("mobilnetv3", "mobilenetv3"),
        ("DenseNet121", "densenet121"),
        ("mobile", "mobilenetv3"),
        ("zzz", None),
        ("", None),
    ],
)
def test_closest_name(typed: str, meant: str | None) -> None:
    assert closest(typed, NAMES) == meant


@given(st.text(), st.lists(st.text(min_size=1), max_size=5))
def test_closest_returns_a_valid_name_or_none(name: str, valid: list[str]) -> None:
    assert closest(name, valid) in {None, *valid}


def test_unknown_says_what_was_received_what_is_near_what_is_valid_and_what_to_do() -> None:
    assert str(unknown("model", "densnet", NAMES, "See 'zoo list models'.")) == (
        "unknown model 'densnet'. Did you mean 'densenet121'? "
        "Valid: densenet121, inceptionresnetv2, mobilenetv3. See 'zoo list models'."
    )
    assert str(unknown("recipe", "x", [])) == "unknown recipe 'x'. There is none to choose from."


@pytest.mark.parametrize(("error", "code"), [(ZooError, 1), (DataError, 1), (UsageError, 2)])
def test_exit_codes(error: type[ZooError], code: int) -> None:
    assert error("x").exit_code == code
    assert issubclass(error, ZooError)
