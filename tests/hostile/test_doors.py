from __future__ import annotations

from pathlib import Path

import harness


def test_every_case_gets_its_answer(tmp_path: Path) -> None:
    assert harness.run("corpus_doors", tmp_path) == []
