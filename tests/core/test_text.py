"""Names from outside made printable."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.text import json_escaped, printable

ANY = st.text(st.characters(), max_size=30)  # lone surrogates too
CONTROL = {*range(32), *range(127, 160), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]8;;http://x\x1b\\link", r"\x1b]8;;http://x\x1b\link"),
        ("a.png\nError: forged\r\t", r"a.png\nError: forged\r\t"),
        ("\x9b31m", r"\x9b31m"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        (os.fsdecode(b"\xff.png"), r"\udcff.png"),
        ("Größe ≥ 3 – حالة.png", "Größe ≥ 3 – حالة.png"),
    ],
)
def test_what_would_control_a_terminal_is_shown_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown


@given(ANY)
def test_printable_text_has_no_control_characters_and_is_unicode(text: str) -> None:
    shown = printable(text)
    assert not CONTROL & set(map(ord, shown))
    shown.encode()
    assert printable(shown) == shown
    if shown == text:
        assert not CONTROL & set(map(ord, text))


@given(st.recursive(ANY, lambda each: st.lists(each, max_size=3) | st.dictionaries(ANY, each, max_size=3)))
def test_json_is_read_back_exactly_and_has_no_control_characters(value: object) -> None:
    for indent in (None, 2):
        text = json_escaped(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(text) == value
        assert not (CONTROL - {10}) & set(map(ord, text))
        text.encode()
