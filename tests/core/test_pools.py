"""The pool whose workers may crash: results in order, crashes found, and work that stops when nobody wants it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from child_targets import square, square_once, total

from zoo.core import pools
from zoo.core.errors import ZooError
from zoo.core.pools import process_map, thread_map

CRASHED = -1


def crashed(item: object) -> int:
    return CRASHED


def test_results_come_in_order_and_crashes_cost_their_own_item() -> None:
    numbers = [1, 2, -3, 4, -5, -6, 7, 8]
    found = list(process_map(square, numbers, 2, ahead=4, crashed=crashed))
    assert found == [1, 4, CRASHED, 16, CRASHED, CRASHED, 49, 64]


def test_an_item_that_crashes_is_split_to_find_the_culprit() -> None:
    groups = [[1, 2], [3, -4, 5], [6]]

    def split(numbers: list[int]) -> list[list[int]]:
        return [[each] for each in numbers] if len(numbers) > 1 else []

    found = list(process_map(total, groups, 1, ahead=2, crashed=crashed, split=split))
    assert found == [5, 9, CRASHED, 25, 36]


def test_an_item_whose_process_was_killed_by_others_keeps_its_result(tmp_path: Path) -> None:
    work = partial(square_once, str(tmp_path))
    assert list(process_map(work, [2, 3], 1, ahead=1, crashed=crashed)) == [4, 9]


def test_errors_of_the_work_are_raised() -> None:
    with pytest.raises(TypeError):
        list(process_map(square, ["text"], 1, ahead=1, crashed=crashed))


def test_crash_after_crash_ends_the_work_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_CRASHES", 1)
    with pytest.raises(ZooError, match=r"died on 2 images.*Buy memory"):
        list(process_map(square, [-1, -2, -3], 1, ahead=2, crashed=crashed, advice="Buy memory."))


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for each in range(1000):
            taken.append(each)
            yield each

    results = process_map(square, numbers(), 2, ahead=5, crashed=crashed)
    for done in range(1, 10):
        next(results)
        assert len(taken) <= done + 5
    results.close()
    assert len(taken) < 20


def test_threads_give_the_results_in_order_too() -> None:
    assert list(thread_map(abs, [-3, 2, -1], 2, ahead=2)) == [3, 2, 1]


SCRIPT = """
import os
from zoo.core.pools import process_map, thread_map

class Square:
    def __call__(self, number):
        return number * number

def main():
    print(*process_map(Square(), range(4), 2, ahead=4, crashed=str))

"""


@pytest.mark.parametrize("guard", ['if __name__ == "__main__": main()', "main()"])
def test_a_script_may_use_its_own_classes_behind_a_main_guard(tmp_path: Path, guard: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT + guard)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=600)
    if guard == "main()":
        assert done.returncode == 1
        assert "needs the guard" in done.stderr
    else:
        assert done.stdout.split() == ["0", "1", "4", "9"]
