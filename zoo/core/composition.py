"""Compositions: augmenters joined by `+` are one augmenter that applies them in this order."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zoo.core.calls import call
from zoo.core.contracts import ALL_TASKS, Augmenter, AugmenterInfo, AugmentFunction, Info
from zoo.core.errors import UsageError, unknown
from zoo.core.options import OptionInfo, as_dict, describe, validate

SEPARATOR = "+"


def part_names(name: str) -> list[str]:
    """The names in a composition.

    Raises:
        UsageError: a name is empty or occurs twice.
    """
    names = name.split(SEPARATOR)
    if not all(names):
        raise UsageError(
            f"the augmenter '{name}' has an empty part; a composition is NAME+NAME without spaces. See 'zoo list augmenters'."
        )
    for each in names:
        if names.count(each) > 1:
            raise UsageError(f"the augmenter '{name}' names '{each}' more than once; name each part once.")
    return names


@dataclass(frozen=True)
class PartOptions:
    """The options of a composition: an instance of the options of each part, in their order."""

    classes: ClassVar[Mapping[str, type]] = {}
    parts: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", tuple(each() for each in self.classes.values()))

    @classmethod
    def described(cls) -> list[OptionInfo]:
        """Every option of every part, named PART.OPTION."""
        return [replace(o, name=f"{name}.{o.name}") for name, each in cls.classes.items() for o in describe(each)]

    @classmethod
    def validated(cls, values: Mapping[str, Any], where: str, then: str) -> PartOptions:
        """The options from one mapping per part; raises UsageError as `zoo.core.options.validate` does."""
        for name, given in values.items():
            if name not in cls.classes:
                raise unknown(f"option {where}.{name}:", name, [o.name for o in cls.described()], then)
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"{where}.{name}: received {given!r}; the options of a part are given one by one, as {where}.{name}.OPTION. "
                    f"{then}".strip()
                )
        return cls(
            tuple(
                validate(each, {str(k): v for k, v in values.get(name, {}).items()}, f"{where}.{name}", then)
                for name, each in cls.classes.items()
            )
        )

    def as_dict(self) -> dict[str, Any]:
        return {name: as_dict(each) for name, each in zip(self.classes, self.parts, strict=True)}


@functools.cache
def _options_class(parts: tuple[tuple[str, type], ...]) -> type[PartOptions]:
    """One class per combination, so that equal options compare equal."""

    class Options(PartOptions):
        """Options of each part."""

        classes: ClassVar[Mapping[str, type]] = dict(parts)

    return Options


class Composition(Augmenter):
    """Several augmenters, one after another on the same batch.

    All parts draw from the seed generator that the engine owns, saves and restores. The composition is per image if all parts
    are, and random if any is.
    """

    def __init__(self, parts: Sequence[Augmenter]) -> None:
        infos = [part.info for part in parts]
        self.parts = tuple(parts)
        self.Options = _options_class(  # type: ignore[misc]  # each composition has its own
            tuple((part.info.name, part.Options) for part in parts)
        )
        self.info = _joined(infos)

    def effect(self, options: Any) -> Info:
        return _joined([call(part.effect, each) for part, each in zip(self.parts, options.parts, strict=True)])

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras

        functions = [call(part.build, image_size, each) for part, each in zip(self.parts, options.parts, strict=True)]
        if any(isinstance(each, keras.layers.Layer) for each in functions):
            return _tracked(functions)
        return functools.partial(_apply, functions)


def _joined(infos: Sequence[Info]) -> AugmenterInfo:
    return AugmenterInfo(
        name=SEPARATOR.join(info.name for info in infos),
        summary="; then ".join(info.summary for info in infos),
        tasks=tuple(task for task in ALL_TASKS if all(task in info.tasks for info in infos)),
        licence="; ".join(dict.fromkeys(info.licence for info in infos if info.licence)),
        paper="; ".join(info.paper for info in infos if info.paper),
        per_image=all(getattr(info, "per_image", False) for info in infos),
        random=any(getattr(info, "random", True) for info in infos),
    )


def _apply(functions: Sequence[AugmentFunction], images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
    for function in functions:
        images, labels = function(images, labels, seed)
    return images, labels


def _tracked(functions: Sequence[AugmentFunction]) -> AugmentFunction:
    """The functions as a layer, so that the engine saves and restores the state of layers among them."""
    import keras

    class Chain(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(dtype="float32")
            self.functions = list(functions)
            self.supports_jit = all(getattr(each, "supports_jit", True) for each in functions)

        def __call__(self, images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            return _apply(self.functions, images, labels, seed)

    return Chain()
