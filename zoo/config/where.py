"""Filters: the syntax of a condition on the records, such as `view == 'PA' and age >= 18`.

Python's parser reads the text and every part is checked; nothing is ever executed. `zoo.data.where` applies it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from zoo.core.errors import UsageError

LONGEST = 2000  # characters; a condition is typed by people
DEEPEST = 50  # conditions within conditions
GRAMMAR = (
    "A filter compares columns with texts and numbers (== != < <= > >= in, not in), known(COLUMN) asks whether there is a value, a "
    "finding alone means that it is present, and and, or, not and parentheses join them, as in \"view == 'PA' and age >= 18\"."
)
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`([^`]*)`")


@dataclass(frozen=True)
class Filter:
    """A condition that was read: its text, and what Python's parser made of it."""

    text: str
    tree: ast.expr
    quoted: Mapping[str, str]  # names made for the columns in backticks

    def names(self) -> list[str]:
        """The columns it names, as they are written, each once."""
        called = {id(n.func) for n in ast.walk(self.tree) if isinstance(n, ast.Call)}
        names = (n.id for n in ast.walk(self.tree) if isinstance(n, ast.Name) and id(n) not in called)
        return list(dict.fromkeys(self.quoted.get(name, name) for name in names))


def parse_filter(text: str) -> Filter:
    """Read a condition.

    Raises:
        UsageError: it is no condition, or uses anything but columns, literals, comparisons, known(), and, or and not.
    """
    quoted: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        if found.group(1) is None:
            return found.group()
        name = f"_zoo_column_{len(quoted)}"
        quoted[name] = found.group(1)
        return f" {name} "

    if len(text) > LONGEST:
        raise UsageError(f"a filter has at most {LONGEST:,} characters, not {len(text):,}.")
    if not text.strip():
        raise UsageError(f"the filter is empty. {GRAMMAR}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own remarks on such texts
            tree = ast.parse(_QUOTED.sub(named, text).strip(), mode="eval").body
        read = Filter(text, tree, quoted)
        _check(tree, read)
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"the filter {text!r} cannot be read: {error.msg}. {GRAMMAR}") from None
    except (ValueError, RecursionError, MemoryError, OverflowError):
        raise UsageError(f"the filter {text[:80]!r} cannot be read: it is too deep, or not a text. {GRAMMAR}") from None
    return read


SYMBOLS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}


def _check(node: ast.expr, read: Filter, depth: int = 0) -> None:
    """Refuse whatever is not of the grammar, before any table is there."""
    if depth > DEEPEST:
        raise UsageError(f"the filter {read.text[:80]!r} nests conditions more than {DEEPEST} deep.")
    if isinstance(node, ast.BoolOp):
        for each in node.values:
            _check(each, read, depth + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, read, depth + 1)
    elif isinstance(node, ast.Call):
        named = isinstance(node.func, ast.Name) and node.func.id == "known" and not node.keywords
        if not named or len(node.args) != 1 or not isinstance(node.args[0], ast.Name):
            raise _refused(node, read, "the only function is known(COLUMN)")
    elif isinstance(node, ast.Compare):
        for left, operator, right in pairs(node):
            _check_pair(left, operator, right, read)
    elif not isinstance(node, ast.Name):
        raise _refused(node, read, "it is no condition")


def _check_pair(left: ast.expr, operator: ast.cmpop, right: ast.expr, read: Filter) -> None:
    if type(operator) not in SYMBOLS:
        raise UsageError(f"the filter {read.text!r} uses 'is'; known(COLUMN) asks whether there is a value.")
    if isinstance(operator, ast.In | ast.NotIn):
        if not isinstance(left, ast.Name):
            raise _refused(left, read, "a column stands before in")
        if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
            raise _refused(right, read, "a list such as ['PA', 'AP'] stands after in")
        for each in right.elts:
            literal(each, read)
        return
    for side in (left, right):
        if not isinstance(side, ast.Name):
            literal(side, read)
    if not isinstance(left, ast.Name) and not isinstance(right, ast.Name):
        raise _refused(left, read, "it is compared with a literal; one side must be a column")


def pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    """`a < b < c` is `a < b and b < c`."""
    return zip([node.left, *node.comparators[:-1]], node.ops, node.comparators, strict=True)


def literal(node: ast.expr, read: Filter) -> str | float:
    """The text or number of a literal; True and False are 1 and 0."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = literal(node.operand, read)
        if not isinstance(value, str):
            return -value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    raise _refused(node, read, "it is neither a column, nor a number, nor a text in quotes")


def _refused(node: ast.expr, read: Filter, why: str) -> UsageError:
    text = ast.unparse(node)
    for made, name in read.quoted.items():
        text = text.replace(made, f"`{name}`")
    return UsageError(f"the filter {read.text!r} cannot use '{text}': {why}. {GRAMMAR}")
