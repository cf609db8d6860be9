"""The field's words: no public name of zoo is one that its readers would have to learn first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_architecture import ROOMS, ROOT, sources

# what not to call a thing -> what to call it
INSTEAD = {
    "film": "image, radiograph",
    "floor": "baseline",
    "guard": "out-of-distribution detector",
    "judge": "out-of-distribution score",
    "verdict": "result, sentence",
    "study": "results (a DICOM study and an Optuna study are other things)",
    "answer": "prediction, response",
    "called": "predicted positive",
    "placed": "device context",
    "team": "process group",
    "hear": "worker",
    "assist": "worker",
    "desk": "inference service",
    "shield": "security middleware",
    "refusal": "API error",
    "shades": "LUTs",
    "apart": "subprocess, significantly different",
    "told": "significantly different",
    "truth": "reference labels",
    "say": "logger.info",
}
# names that are somebody else's
OTHERS = {"study": ("zoo/search/tuner.py",)}  # Optuna's


def public_names(path: Path) -> Iterator[tuple[str, int]]:
    """The names a module gives to others: itself, functions, classes, parameters and fields."""
    yield path.stem, 1
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield from ((each.arg, node.lineno) for each in (*node.args.args, *node.args.kwonlyargs))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.lineno


def words(name: str) -> set[str]:
    """The words of a name, in the singular: `OwnFilms` and `own_films` have own and film."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_a_name_is_taken_to_pieces() -> None:
    assert words("OwnFilms") == words("own_films") == {"own", "film"}


@pytest.mark.parametrize("word", INSTEAD)
def test_no_public_name_has_a_word_of_a_private_language(word: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in sources(*ROOMS)
        for name, line in public_names(path)
        if not name.startswith("_") and word.removesuffix("s") in words(name)
        if str(path.relative_to(ROOT)) not in OTHERS.get(word, ())
    ]
    assert found == [], f"say {INSTEAD[word]}"


def test_a_film_is_an_image() -> None:
    texts = [*sources(*ROOMS), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    assert [str(p.relative_to(ROOT)) for p in texts if re.search(r"\bfilms?\b(?!\.csv)", p.read_text(), re.I)] == []
