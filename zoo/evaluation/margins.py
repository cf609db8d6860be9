"""Is a run not inferior, or equivalent, to a reference by a margin that was set beforehand?

Non-inferiority: the lower bound of the interval of new minus reference lies above −margin. Equivalence: both bounds lie within
±margin (two one-sided tests: Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15). With a two-sided level of
.95 each one-sided test is at .025 (ICH E9 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zoo.core.errors import UsageError
from zoo.evaluation.comparison import Comparison
from zoo.evaluation.interval import Interval
from zoo.evaluation.serialise import Serialisable

Outcome = Literal["equivalent", "noninferior", "inconclusive", "inferior", "undefined"]


@dataclass(frozen=True)
class MarginTest(Serialisable):
    """A new run against a reference on the same images.

    `difference` is `new` minus `reference` with its interval of `level`. `noninferior` and `equivalent` are None without an
    interval.
    """

    new: str
    reference: str
    metric: str
    label: str
    margin: float
    level: float
    difference: Interval
    noninferior: bool | None
    equivalent: bool | None

    @property
    def outcome(self) -> Outcome:
        """In one word: "equivalent" is not inferior as well, and "inferior" lies below −margin as a whole."""
        if self.noninferior is None:
            return "undefined"
        if self.difference.high < -self.margin:
            return "inferior"
        if self.equivalent:
            return "equivalent"
        return "noninferior" if self.noninferior else "inconclusive"


def check_margin(margin: float) -> None:
    """Check that a margin can be one of a metric between 0 and 1.

    Raises:
        UsageError: it is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise UsageError(
            f"the margin is the largest loss that does not matter, above 0 and below 1, such as 0.02, not {margin!r}."
        )


def against_margin(comparison: Comparison, reference: str, margin: float, level: float = 0.95) -> MarginTest:
    """Test the other run of a comparison against the reference, whichever of the two stands first in it.

    Args:
        comparison: of two runs, with intervals of `level`.
        reference: the name of one of them.
        margin: in (0, 1), of the comparison's metric.
        level: two-sided, in (0, 1).

    Raises:
        UsageError: the margin is not between 0 and 1.
    """
    check_margin(margin)
    found = comparison.overall.difference
    new = comparison.first
    if reference == new:
        new, found = comparison.second, Interval(-found.value, -found.high, -found.low)
    elif reference != comparison.second:
        raise ValueError(f"{reference!r} is none of {comparison.first!r} and {comparison.second!r}")
    known = not math.isnan(found.low)
    return MarginTest(
        new,
        reference,
        comparison.metric,
        comparison.overall.label,
        margin,
        level,
        found,
        noninferior=found.low > -margin if known else None,
        equivalent=-margin < found.low and found.high < margin if known else None,
    )
