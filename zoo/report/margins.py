"""Non-inferiority and equivalence in a sentence that states margin, level and direction."""

from __future__ import annotations

from zoo.evaluation.interval import short
from zoo.evaluation.margins import MarginTest
from zoo.report.sentences import METRICS

_OUTCOMES = {
    "equivalent": "{new} is equivalent to {reference}, and so not inferior: both bounds lie within ±{margin}",
    "noninferior": "{new} is not inferior to {reference}: the lower bound lies above −{margin}",
    "inconclusive": "It is unknown whether {new} is inferior to {reference}: the lower bound does not lie above −{margin}",
    "inferior": "{new} is inferior to {reference}: both bounds lie below −{margin}",
    "undefined": "It is unknown whether {new} is inferior to {reference} by {margin}: there is no interval",
}


def sentence(found: MarginTest) -> str:
    """What the test comes to, and what it rests on."""
    names = {"new": found.new, "reference": found.reference, "margin": short(found.margin)}
    metric = f"{'macro ' if found.label == 'macro' else ''}{METRICS[found.metric]}"
    side = 100 * (1 - found.level) / 2
    return (
        f"{_OUTCOMES[found.outcome].format(**names)} ({metric} of {found.new} minus that of {found.reference}: "
        f"{found.difference}; {100 * found.level:g}% interval, each bound a one-sided test at {side:.2g}%; margin "
        f"{short(found.margin)})."
    )
