from __future__ import annotations

from pathlib import Path

import corpus_runs
import harness


def test_every_run_that_was_tampered_with_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_runs.CASES) >= 100
    assert harness.run("corpus_runs", tmp_path) == []
