from __future__ import annotations

from pathlib import Path

import corpus_tables
import harness


def test_every_hostile_table_list_and_document_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_tables.CASES) >= 140
    assert harness.run("corpus_tables", tmp_path) == []
