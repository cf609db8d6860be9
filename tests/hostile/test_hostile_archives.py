from __future__ import annotations

from pathlib import Path

import corpus_archives
import corpus_arrays
import harness


def test_every_hostile_archive_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_archives.CASES) >= 60
    assert harness.run("corpus_archives", tmp_path) == []


def test_every_hostile_file_of_arrays_or_records_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_arrays.CASES) >= 60
    assert harness.run("corpus_arrays", tmp_path) == []
