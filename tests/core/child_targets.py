"""What the tests of child processes run in them."""

from __future__ import annotations

import os
import sys

from zoo.core.processes import Channel


def double(channel: Channel) -> int:
    """Answer numbers with their doubles; 0 ends it."""
    print("a library's chatter")
    while number := channel.receive():
        channel.send(2 * number)
    channel.send(sys.argv[1:])
    return 7


def fail(channel: Channel) -> None:
    raise ValueError("of the child")


def square(number: int) -> int:
    if number < 0:
        os._exit(3)
    return number * number


def total(numbers: list[int]) -> int:
    return sum(square(each) for each in numbers)
