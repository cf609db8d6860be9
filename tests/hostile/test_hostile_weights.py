from __future__ import annotations

from pathlib import Path

import corpus_weights
import harness


def test_every_hostile_weights_file_and_network_gets_its_answer(tmp_path: Path) -> None:
    assert len(corpus_weights.CASES) >= 108
    assert harness.run("corpus_weights", tmp_path) == []
