"""JSON and YAML documents within limits: how large, how deep, how many values, and only from regular files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.core import limits
from zoo.core.errors import DataError
from zoo.core.files import read_bytes


def read_json(file: Path) -> Any:
    """The value of a JSON file in UTF-8.

    Raises:
        DataError: it is no regular file, no JSON, or beyond a limit of documents.
        OSError: it is missing or cannot be read.
    """
    return parse_json(read_bytes(file, "document_bytes"), file)


def parse_json(text: str | bytes, what: object) -> Any:
    """The value of a JSON text; `what` names it in messages.

    Raises:
        DataError: it is no JSON, names a key twice, or is beyond a limit of documents.
    """
    limits.check("document_bytes", len(text), what)
    commas = (
        text.count(b",") if isinstance(text, bytes) else text.count(",")
    )  # each value but the first has one before it
    limits.check("document_values", commas + 1, what)
    try:
        with limits.memory_of(what):
            found = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise limits.exceeded("document_depth", what, "deeper levels than can be read") from None
    except ValueError as error:  # of JSON, of Unicode, of a number with too many digits
        raise DataError(f"{what} is not JSON: {' '.join(str(error).split())}") from None
    _measure(
        found,
        what,
        lambda value: value.values() if isinstance(value, dict) else value if isinstance(value, list) else (),
    )
    return found


def read_yaml(file: Path) -> Any:
    """The value of a YAML file in UTF-8, of YAML's plain types only.

    Raises:
        DataError: it is no regular file, no YAML, or beyond a limit.
        OSError: it is missing or cannot be read.
    """
    return parse_yaml(read_bytes(file, "config_bytes"), file)


def parse_yaml(text: str | bytes, what: object) -> Any:
    """The value of a YAML text; `what` names it in messages.

    What aliases and merge keys repeat counts as often as it is repeated, before anything is built.

    Raises:
        DataError: it is no YAML, holds more than YAML's plain types, or is beyond a limit.
    """
    import yaml

    limits.check("config_bytes", len(text), what)
    try:
        with limits.memory_of(what):
            decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
            # the C loader is ten times as fast; PyYAML may have been built without it
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(decoded)
            try:
                node = loader.get_single_node()
                if node is None:
                    return None
                _measure(node, what, _children)
                return loader.construct_document(node)
            finally:
                loader.dispose()
    except RecursionError:
        raise limits.exceeded("document_depth", what, "deeper levels than can be read") from None
    except DataError:
        raise
    except Exception as error:  # beside YAMLError whatever a wrong number or date makes the loader raise
        raise DataError(f"{what} is not YAML: {' '.join(str(error).split())}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key '{twice[:80]}' occurs twice in one object")
    return found


def _children(node: Any) -> Iterator[Any]:
    """The nodes below a node of YAML."""
    value = getattr(node, "value", None)
    for each in value if isinstance(value, list) else ():
        yield from each if isinstance(each, tuple) else (each,)


def _measure(root: Any, what: object, children: Any) -> None:
    """Check how deep a document is and how many values it has; each value is looked at once, however often it is repeated."""
    counts: dict[int, tuple[int, int]] = {}  # of values that were seen: how many they hold, and how deep they are
    open_: set[int] = set()
    stack = [(root, False)]
    while stack:
        value, done = stack.pop()
        key = id(value)
        below = list(children(value))
        if not below:
            continue
        if done:
            parts = [counts.get(id(each), (1, 1)) for each in below]
            counts[key] = (1 + sum(count for count, _ in parts), 1 + max(depth for _, depth in parts))
            limits.check("document_values", counts[key][0], what)
            limits.check("document_depth", counts[key][1], what)
            open_.discard(key)
        elif key not in counts:
            if key in open_:
                raise DataError(f"{what} holds a value that contains itself")
            open_.add(key)
            limits.check("document_depth", len(open_), what)
            stack += [(value, True), *((each, False) for each in below)]
