"""Reads what varies in a sweep: values to try (`--over KEY=V1,V2`) or a range to search (`--over KEY=LOW:HIGH`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.config.resolve import parse_set
from zoo.config.run_config import SECTIONS
from zoo.core.errors import UsageError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"(?P<log>log:)?(?P<low>{NUMBER}):(?P<high>{NUMBER})(?::(?P<step>{NUMBER}))?")
FORMS = "model=vgg16,resnet50 for values, model.dropout=0:0.5 or optimizer.lr=log:1e-5:1e-2 for a range"


@dataclass(frozen=True)
class Values:
    """A setting and its values, as they were typed."""

    key: str
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(self.texts)}"


@dataclass(frozen=True)
class Range:
    """A setting and its numbers from `low` to `high`, both included.

    With `whole` they are integers, with `step` multiples of it above `low`, with `log` drawn evenly on a logarithmic scale.
    """

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        step = "" if self.step is None else f":{_text(self.step)}"
        return f"{self.key}={'log:' if self.log else ''}{_text(self.low)}:{_text(self.high)}{step}"


Dimension = Values | Range
Assignment = Mapping[str, Any]  # key -> the text of a value, or a number of a range


def parse_over(text: str, *, ranges: bool) -> Dimension:
    """Read one `--over`. Commas inside brackets, braces and quotes belong to a value.

    Raises:
        UsageError: it is not of the form KEY=..., has a value twice, or is a range and `ranges` is false.
    """
    key, equals, given = (part.strip() for part in text.partition("="))
    if not equals or not given or not all(key.split(".")):
        raise UsageError(f"--over takes KEY=VALUES such as {FORMS}, not '{text}'.")
    match = RANGE.fullmatch(given)
    if match:
        if not ranges:
            raise UsageError(
                f"--over {text} is a range: a search draws from it with --trials N; a grid takes values, such as {key}=V1,V2."
            )
        return _range(key, match, text)
    texts = _pieces(given)
    if not all(texts):
        raise UsageError(f"--over {text}: between two commas there is no value.")
    twice = sorted({each for each in texts if texts.count(each) > 1})
    if twice:
        raise UsageError(f"--over {text} names {', '.join(twice)} twice.")
    return Values(key, tuple(texts))


def parse_overs(texts: Iterable[str], *, ranges: bool) -> tuple[Dimension, ...]:
    """Read every `--over`, in the order given.

    Raises:
        UsageError: as `parse_over`; or there is none, or two have the same key.
    """
    found = tuple(parse_over(text, ranges=ranges) for text in texts)
    if not found:
        raise UsageError(f"say what varies: --over {FORMS}.")
    keys = [each.key for each in found]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise UsageError(f"--over {twice[0]} is given twice: put all its values into one, {twice[0]}=V1,V2.")
    return found


def _range(key: str, match: re.Match[str], text: str) -> Range:
    bounds = [match[name] for name in ("low", "high", "step") if match[name] is not None]
    whole = all(re.fullmatch(r"[+-]?\d+", bound) for bound in bounds)
    low, high, *steps = (float(bound) for bound in bounds)
    if low >= high:
        raise UsageError(
            f"--over {text}: the range begins at {_text(low)} and must end above it, not at {_text(high)}."
        )
    if match["log"] and low <= 0:
        raise UsageError(f"--over {text}: a logarithmic range begins above 0.")
    if steps and (match["log"] or not 0 < steps[0] <= high - low):
        raise UsageError(f"--over {text}: a step is above 0, at most the range, and not for a logarithmic range.")
    return Range(key, low, high, steps[0] if steps else None, bool(match["log"]), whole)


def _pieces(text: str) -> list[str]:
    """The text split at the commas that no bracket or quote encloses."""
    pieces, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in "[{(":
            depth += 1
        elif sign in "]})":
            depth -= 1
        elif sign == "," and depth == 0:
            pieces.append("")
            continue
        pieces[-1] += sign
    return [piece.strip() for piece in pieces]


def layers(
    below: Sequence[Mapping[str, Any]], above: Sequence[Mapping[str, Any]], values: Assignment
) -> list[Mapping[str, Any]]:
    """The layers of one trial's configuration.

    Varied settings override all others, strategies before their options (choosing a strategy drops the options of another).
    Only a varied recipe comes below what was typed, above the file, as recipes do.
    """
    recipe = [layer("recipe", values["recipe"])] if "recipe" in values else []
    keys = sorted((key for key in values if key != "recipe"), key=lambda key: not _chooses(key))
    return [*below, *recipe, *above, *(layer(key, values[key]) for key in keys)]


def _chooses(key: str) -> bool:
    section, _, name = key.partition(".")
    return section in (*SECTIONS, "threshold") and name in ("", "name", "rule")


def layer(key: str, value: Any) -> dict[str, Any]:
    """One setting as a layer of a configuration; a text is parsed as by --set."""
    if isinstance(value, str):
        return parse_set(f"{key}={value}")
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def given_twice(typed: Sequence[Mapping[str, Any]], dimensions: Iterable[Dimension]) -> UsageError | None:
    """The error for a setting that varies and has one value on the command line too; None if there is none."""
    for each in dimensions:
        section, _, name = each.key.partition(".")
        for one in typed:
            if section not in one:
                continue
            there = one[section]
            if not name or (isinstance(there, Mapping) and name in there):
                if not name and isinstance(there, Mapping) and not {"name", "rule"} & set(there):
                    continue  # options of the section, not its choice
                return UsageError(f"{each.key} is given one value and varies too: leave out one of the two.")
    return None


def shown(value: Any) -> str:
    """A value as a table shows it."""
    return value if isinstance(value, str) else f"{value:.4g}" if isinstance(value, float) else str(value)


def described(values: Assignment) -> str:
    """A trial's values in one line: `model=vgg16 augment=none`."""
    return " ".join(f"{key}={shown(value)}" for key, value in values.items())


def _text(number: float) -> str:
    return f"{number:.12g}"
