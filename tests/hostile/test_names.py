"""Every hostile name, cell, link and store gets its answer."""

from __future__ import annotations

from pathlib import Path

import corpus_names
import harness


def test_every_name_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_names.CASES) >= 80
    assert harness.run("corpus_names", tmp_path) == []
