"""Typed options of strategies: described for `zoo info`, validated when used. pydantic is imported only to validate."""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zoo.core.errors import UsageError, unknown


class UnreadableOptions(TypeError):
    """The annotations of an `Options` class cannot be resolved."""


@dataclass(frozen=True)
class OptionInfo:
    """One option: its name, type with bounds or choices, default, and meaning. `metadata` is what `option(...)` was given."""

    name: str
    hint: Any
    default: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The type as a user reads it."""
        return type_text(self.hint)

    @property
    def help(self) -> str:
        """What the option does, in a few words."""
        return str(self.metadata.get("help", ""))

    @property
    def default_text(self) -> str:
        """The default as a user reads it: what None stands for, where the option says so."""
        return str(self.metadata.get("none") or "none") if self.default is None else str(self.default)


def describe(options_class: type) -> list[OptionInfo]:
    """Every option of an `Options` class, in order.

    Raises:
        UnreadableOptions: an annotation cannot be resolved.
    """
    if hasattr(options_class, "described"):  # options of several strategies together
        described: list[OptionInfo] = options_class.described()
        return described
    try:
        hints = typing.get_type_hints(options_class, include_extras=True)
    except Exception as error:  # whatever evaluating an annotation raises
        raise UnreadableOptions(
            f"the annotations of {options_class.__module__}.{options_class.__qualname__} cannot be resolved ({error}); types of "
            "options are imported in its module, outside of `if TYPE_CHECKING`."
        ) from error
    return [OptionInfo(f.name, hints[f.name], f.default, f.metadata) for f in dataclasses.fields(options_class)]


def validate(options_class: type, values: Mapping[str, Any], where: str, then: str = "") -> Any:
    """Build an `Options` instance from plain values, as read from YAML or the command line.

    Args:
        options_class: a frozen dataclass of `option(...)` fields.
        values: the options given; the rest take their defaults.
        where: the section named in errors, such as "model" for `model.alpha`.
        then: the next command, for the error of an unknown option.

    Raises:
        UsageError: an option is unknown or its value is not valid; names the option, the value and what is valid.
    """
    if hasattr(options_class, "validated"):
        return options_class.validated(values, where, then)
    known = {o.name: o for o in describe(options_class)}
    for name in values:
        if name not in known:
            raise (
                unknown(f"option {where}.{name}:", name, known, then)
                if known
                else UsageError(f"unknown option {where}.{name}: this {where} has no options. {then}".strip())
            )
    import pydantic

    try:
        return pydantic.TypeAdapter(options_class).validate_python(dict(values))
    except pydantic.ValidationError as error:
        problems = []
        for each in error.errors():
            name = str(each["loc"][0]) if each["loc"] else ""
            valid = f" (valid: {known[name].type})" if name in known else ""
            problems.append(f"{where}.{name}: received {each['input']!r}, {each['msg'].lower()}{valid}")
        raise UsageError("; ".join(dict.fromkeys(problems)) + ".") from None


def as_dict(options: Any) -> dict[str, Any]:
    """The plain values of an `Options` instance, tuples as lists, ready for YAML and JSON."""
    if hasattr(options, "as_dict"):
        return dict(options.as_dict())
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(options).items()}


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


_SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def type_text(hint: Any) -> str:
    """A type as a user reads it: `float ≥ 0 ≤ 1`, `small | large`, `int or none`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        bounds = [
            f"{sign} {_number(getattr(note, name))}"
            for note in args[1:]
            for name, sign in _SIGNS.items()
            if getattr(note, name, None) is not None
        ]
        return " ".join([type_text(args[0]), *bounds])
    if origin is typing.Literal:
        return " | ".join(str(a) for a in args)
    if origin is tuple:
        return f"list of {type_text(args[0])}"
    if origin is collections.abc.Mapping:
        return "mapping"
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if a is type(None) else type_text(a) for a in args)
    return getattr(hint, "__name__", str(hint))
