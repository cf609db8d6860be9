"""Filters on the table of records: what they keep, and that nothing but a clear error comes of anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prepared import NoPixels

from zoo.config.where import parse_filter
from zoo.core.errors import UsageError
from zoo.core.records import Records
from zoo.data.where import filter_records

NAN = np.nan


def make_images(**columns: list[object]) -> Records:
    given = {
        "view": ["PA", "AP", "PA", None, "AP"],
        "age": [17.0, 18.0, 64.0, 40.0, NAN],
        "sex": ["M", "F", "F", "M", None],
        "Mass": [1.0, 0.0, 0.0, NAN, 0.0],
        "Pleural Thickening": [0.0, 0.0, 1.0, 0.0, 0.0],
        "quality": ["good", "good", "bad", "", "good"],
        "score": ["3", "", "10", "7", "1"],
        **columns,
    }
    table = pd.DataFrame({"image": list("abcde"), "path": "", "patient": list("11234"), **given})
    return Records(table, ("Mass", "Pleural Thickening"), NoPixels(), normal="No Finding")


def kept(text: str, **columns: list[object]) -> str:
    return "".join(filter_records(make_images(**columns), text).table["image"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("view == 'PA' and age >= 18", "c"),
        ('view == "AP" or age < 18', "abe"),
        ("18 <= age < 65", "bcd"),
        ("not (age >= 18)", "a"),  # the image without an age is in neither
        ("age != 18", "acd"),
        ("known(age) and not known(view)", "d"),
        ("view in ['AP', 'LATERAL']", "be"),
        ("view not in ('AP',)", "ac"),
        ("Mass", "a"),
        ("not Mass", "bce"),
        ("Mass == 1 or `Pleural Thickening` == 1", "ac"),
        ("Pleural_Thickening", "c"),
        ("`No Finding`", "be"),
        ("No_Finding and quality == 'good'", "be"),
        ("score >= 7", "cd"),  # texts that are numbers are compared as numbers
        ("patient == 1", "ab"),
        ("age > -1 and sex == 'F'", "bc"),
        ("age in [18, 64]", "bc"),
        ("age > 60 or not known(age) or Mass == True", "ace"),
        ("quality == 'it`s'or quality == 'bad'", "c"),  # a backtick within a text is part of it
    ],
)
def test_images_that_satisfy_a_condition_are_kept(text: str, expected: str) -> None:
    assert kept(text) == expected


def test_an_unknown_value_decides_nothing_that_the_rest_decides() -> None:
    assert kept("age >= 18 or view == 'AP'") == "bcde"
    assert kept("not (age < 18 and view == 'PA')") == "bcde"
    assert kept("not (age < 18 or view == 'PA')") == "b"


def test_the_number_of_filtered_images_is_kept_and_reported() -> None:
    records = filter_records(make_images(), "view == 'PA'")
    assert records.filtered_out == 3
    assert records.notes == ("Filter view == 'PA': 2 of 5 images kept",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("viwe == 'PA'", ["unknown column 'viwe'", "Did you mean 'view'", "age", "No Finding"]),
        ("age >= '18'", ["numbers with the text '18'", "age is 17 to 64"]),
        ("view >= 18", ["texts with 18", "AP, PA"]),
        ("view == age", ["texts with the column 'age'"]),
        ("view", ["'view' for a condition"]),
        ("age", ["'age' for a condition"]),
        ("view == 'LATERAL'", ["leaves none of the 5 images", "view is AP, PA"]),
        ("", ["empty"]),
        ("   ", ["empty"]),
        ("age >=", ["cannot be read"]),
        ("age = 18", ["cannot be read"]),
        ("age is None", ["known(COLUMN)"]),
        ("__import__('os').system('true')", ["only function is known"]),
        ("age.real > 1", ["'age.real'"]),
        ("[x for x in (1, 2)]", ["no condition"]),
        ("known(age, view)", ["known(COLUMN)"]),
        ("1 < 2", ["one side must be a column"]),
        ("age + 1 > 2", ["'age + 1'"]),
        ("age in age", ["a list such as"]),
        ("age > f'{age}'", ["neither a column"]),
        ("`No Finding`.x == 1", ["`No Finding`.x"]),
        ("(lambda: 1)()", ["only function"]),
        ("not " * 60 + "Mass", ["deep"]),
        ("age > 0 or " * 200 + "Mass", ["at most 2,000 characters"]),
    ],
)
def test_anything_else_is_a_clear_error(text: str, parts: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        kept(text)
    for part in parts:
        assert part in str(error.value)


def test_a_published_test_set_is_not_filtered_away() -> None:
    split: list[object] = ["train", "train", "test", "train", "train"]
    assert kept("view == 'PA'", split=split) == "ac"
    with pytest.raises(UsageError, match="none of the 1 published test images"):
        kept("view == 'AP'", split=split)


PIECES = ["age", "view", "Mass", "`No Finding`", "known(", "(", ")", "[", "]", ",", "and", "or", "not", "in", "is"]
PIECES += [
    "==",
    "<",
    ">=",
    "!=",
    "'PA'",
    "18",
    "-",
    "None",
    "True",
    "1e999",
    "9" * 5000,
    "`",
    "'",
    "\\",
    "\0",
    "lambda",
    ":=",
]


@settings(deadline=None)  # the machine may be busy
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)))
@example("(" * 300 + ")" * 300)
@example("-" * 1500 + "1 < age")
@example("age < " + "9" * 1900)
@example("age in [" + "1," * 900 + "]")
@example("\ud800 == 'PA'")
def test_no_text_does_anything_but_filter_or_be_refused(text: str) -> None:
    try:
        found = kept(text)
    except UsageError:
        return
    assert set(found) <= set("abcde")


SIMPLE = st.one_of(
    st.tuples(st.just("age"), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 100).map(str)),
    st.tuples(st.just("view"), st.sampled_from(["==", "!="]), st.sampled_from(["'PA'", "'AP'"])),
    st.tuples(st.just("view"), st.sampled_from(["in", "not in"]), st.sampled_from(["['PA']", "['AP', 'PA']"])),
    st.tuples(st.just("Mass"), st.just("=="), st.sampled_from(["0", "1"])),
).map(" ".join)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" and ", " or "]), inner).map(lambda parts: f"({''.join(parts)})"),
        inner.map(lambda each: f"not ({each})"),
    ),
    max_leaves=5,
)


@settings(deadline=None)
@given(CONDITIONS)
def test_where_everything_is_known_pandas_finds_the_same_images(text: str) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "age": rng.integers(0, 100, 40).astype(float),
            "view": rng.choice(["PA", "AP"], 40),
            "Mass": rng.integers(0, 2, 40),
        }
    )
    expected = set(table.query(text, engine="python").index)
    table = table.assign(image=[str(i) for i in range(40)], path="", patient="1", Mass=table["Mass"].astype(float))
    records = Records(table, ("Mass",), NoPixels())
    if not expected:
        with pytest.raises(UsageError, match="leaves none"):
            filter_records(records, text)
        return
    assert {int(name) for name in filter_records(records, text).table["image"]} == expected


def test_reading_a_condition_names_its_columns() -> None:
    assert parse_filter("`No Finding` and known(age) and age > 1").names() == ["No Finding", "age"]
