"""How many images and patients an evaluation needs for intervals as narrow as wanted.

Riley et al., "Minimum sample size for external validation of a clinical prediction model with a binary outcome", Statistics
in Medicine 40 (2021), for AUROC, observed / expected and calibration slope; Buderer 1996, Academic Emergency Medicine 3, for
sensitivity and specificity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from zoo.core.errors import UsageError
from zoo.evaluation.serialise import Serialisable

MOST = 10**9  # images; more are not looked for
MEASURES = ("auroc", "sensitivity", "specificity", "observed_expected", "slope")


@dataclass(frozen=True)
class Requirement:
    """What one of `MEASURES` needs for an interval of `width` where it is `expected`.

    `independent` is the number of images if each were of another patient, `images` and `patients` the numbers with several
    of each, `positives` how many of the images have the label.
    """

    measure: str
    expected: float
    width: float
    independent: int
    images: int
    patients: int
    positives: int


@dataclass(frozen=True)
class Plan(Serialisable):
    """The requirements of every measure asked for. `design_effect` is how many images say as much as an independent one."""

    prevalence: float
    level: float
    images_per_patient: float
    correlation: float
    design_effect: float
    requirements: tuple[Requirement, ...]

    @property
    def decisive(self) -> Requirement:
        """The one that needs most."""
        return max(self.requirements, key=lambda each: each.independent)


def plan(
    prevalence: float,
    auroc: float,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    width: float = 0.1,
    calibration_width: float = 0.2,
    images_per_patient: float = 1.0,
    correlation: float = 1.0,
    level: float = 0.95,
) -> Plan:
    """Plan an evaluation of one label.

    Args:
        prevalence: the expected share of images with the label, in (0, 1).
        auroc: the expected AUROC, in (.5, 1). The logits are taken as normal with equal variance in both classes and as well
            calibrated, which the slope needs.
        sensitivity: expected, in (0, 1); None leaves it out.
        specificity: likewise.
        width: wanted of the intervals of AUROC, sensitivity and specificity, from end to end.
        calibration_width: wanted of the intervals of observed / expected and slope, both expected to be 1.
        images_per_patient: 1 or more, on average.
        correlation: of the images of one patient, in [0, 1]; 1, as if they were all alike, is on the safe side. The design
            effect is 1 + (images per patient − 1) × correlation (Kish 1965).
        level: of the intervals, in (0, 1).

    Raises:
        UsageError: a value is outside its range, or a width needs more than 10⁹ images.
    """
    _check(
        prevalence, auroc, sensitivity, specificity, width, calibration_width, images_per_patient, correlation, level
    )
    z = NormalDist().inv_cdf((1 + level) / 2)
    error, calibration_error = width / (2 * z), calibration_width / (2 * z)
    # of a ratio of 1 with an interval that is symmetric on the logarithm
    ratio_error = math.asinh(calibration_width / 2) / z
    wanted: list[tuple[str, float, float, float]] = [
        ("auroc", auroc, width, _auroc_images(prevalence, auroc, error)),
    ]
    for name, value, share in (("sensitivity", sensitivity, prevalence), ("specificity", specificity, 1 - prevalence)):
        if value is not None:
            wanted.append((name, value, width, value * (1 - value) / error**2 / share))
    wanted.append(("observed_expected", 1.0, calibration_width, (1 - prevalence) / prevalence / ratio_error**2))
    wanted.append(("slope", 1.0, calibration_width, slope_images(*binormal(prevalence, auroc), calibration_error)))
    effect = 1 + (images_per_patient - 1) * correlation
    rows = []
    for name, expected, each, number in wanted:
        if not number * effect <= MOST:
            raise UsageError(f"an interval of {name} of {each:g} needs more than {MOST:,} images. Ask for a wider one.")
        independent = math.ceil(number - 1e-9)
        patients = math.ceil(independent * effect / images_per_patient - 1e-9)
        images = math.ceil(patients * images_per_patient - 1e-9)
        rows.append(Requirement(name, expected, each, independent, images, patients, math.ceil(images * prevalence)))
    return Plan(prevalence, level, images_per_patient, correlation, effect, tuple(rows))


def auroc_error(prevalence: float, auroc: float, images: float) -> float:
    """Standard error of an AUROC: Newcombe's (2006, Statistics in Medicine 25) form of Hanley & McNeil's (1982)."""
    more = images / 2 - 1
    spread = 1 + more * (1 - auroc) / (2 - auroc) + more * auroc / (1 + auroc)
    return math.sqrt(auroc * (1 - auroc) * spread / (images**2 * prevalence * (1 - prevalence)))


def _auroc_images(prevalence: float, auroc: float, error: float) -> int:
    low, high = 1, 2
    while auroc_error(prevalence, auroc, high) > error:
        if high > MOST:
            return high
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if auroc_error(prevalence, auroc, middle) > error else (low, middle)
    return high


def binormal(prevalence: float, auroc: float) -> tuple[tuple[tuple[float, float], ...], float]:
    """The two normal classes of this AUROC whose logits are their own log-odds: (mean, share) of each, and their variance."""
    variance = 2 * NormalDist().inv_cdf(auroc) ** 2
    mean = math.log(prevalence / (1 - prevalence)) - variance / 2
    return ((mean, 1 - prevalence), (mean + variance, prevalence)), variance


def slope_images(parts: Sequence[tuple[float, float]], variance: float, error: float) -> float:
    """Images for this standard error of the slope, from the information of a logistic regression of slope 1 on logits.

    The logits are a mixture of normal `parts`, (mean, share) each.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    information = np.zeros(3)
    for centre, share in parts:
        x = centre + math.sqrt(variance) * nodes
        weight = share * weights * np.exp(-np.logaddexp(0, x) - np.logaddexp(0, -x))
        information += [weight.sum(), weight @ x, weight @ x**2]
    own, mixed, square = information.tolist()
    return own / (error**2 * (own * square - mixed**2))


def _check(
    prevalence: float,
    auroc: float,
    sensitivity: float | None,
    specificity: float | None,
    width: float,
    calibration_width: float,
    images_per_patient: float,
    correlation: float,
    level: float,
) -> None:
    shares = {"prevalence": prevalence, "sensitivity": sensitivity, "specificity": specificity, "level": level}
    shares |= {"width": width}
    for name, value in shares.items():
        if value is not None and not 0 < value < 1:
            raise UsageError(f"the {name} lies between 0 and 1, such as {_EXAMPLES[name]}, not {value!r}.")
    if not 0.5 < auroc < 1:
        raise UsageError(f"the expected AUROC lies above .5 and below 1, such as 0.85, not {auroc!r}.")
    if not 0 < calibration_width <= 10:
        raise UsageError(
            f"the width for slope and O/E lies above 0 and goes up to 10, such as 0.2, not {calibration_width!r}."
        )
    if not 1 <= images_per_patient <= 1000:
        raise UsageError(f"the images per patient are 1 to 1000 on average, such as 2.5, not {images_per_patient!r}.")
    if not 0 <= correlation <= 1:
        raise UsageError(f"the correlation of a patient's images goes from 0 to 1, not {correlation!r}.")


_EXAMPLES = {"prevalence": "0.05", "sensitivity": "0.9", "specificity": "0.8", "level": "0.95", "width": "0.1"}
