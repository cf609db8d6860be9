from __future__ import annotations

import re
from pathlib import Path

import corpus_harness
import harness


def test_the_harness_reports_every_fault_and_nothing_else(tmp_path: Path) -> None:
    faults = harness.run("corpus_harness", tmp_path, memory=300_000_000, seconds=3)
    changed = faults.pop()
    assert changed == "a case: what lies outside its folder was changed"
    said = dict(fault.split(": ", 1) for fault in faults)
    assert list(said) == [case.name for case in corpus_harness.BAD]
    for case, words in corpus_harness.BAD.items():
        assert re.search(words, said[case.name]), (case.name, said[case.name])
