"""Who the phantom's patients are: their anatomy, how each image is taken, and the course of their findings.

Coordinates of the body: x and y in [-1, 1] over an unshifted image, x towards the right of the image (the patient's left),
y downwards. A side is -1 (patient's right, left of the image) or 1. All randomness of a patient comes from (seed, patient).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

PERSISTENCE = 0.7  # chance that the next image of a patient keeps the state instead of drawing it anew
SECOND = {  # what a finding tends to bring along
    "Atelectasis": ("Effusion", "Consolidation"),
    "Cardiomegaly": ("Effusion", "Atelectasis"),
    "Consolidation": ("Effusion", "Atelectasis"),
    "Effusion": ("Atelectasis", "Cardiomegaly", "Consolidation"),
    "Nodule": ("Nodule", "Effusion"),
    "Pneumothorax": ("Atelectasis", "Effusion"),
}
PRIMARY = tuple(SECOND)
PRIMARY_WEIGHTS = np.cumsum([0.15, 0.13, 0.20, 0.16, 0.20, 0.16])


@dataclass(frozen=True)
class Anatomy:
    """What stays with a patient. Lengths in body units; `ratio` is the cardiothoracic ratio on a PA image."""

    width: float
    apex: float
    dome_right: float
    dome_left: float
    ratio: float
    tilt: float
    mediastinum: float
    knob: float
    rib_spacing: float
    rib_phase: float
    rib_slope: float
    rib_contrast: float
    habitus: float
    breast: float
    clavicle: float
    vessels: float


@dataclass(frozen=True)
class Finding:
    """One finding: side, position `x` (distance from the midline) and `y`, extent `a` × `b`, `angle` and strength 0–1."""

    label: str
    side: int
    x: float
    y: float
    a: float
    b: float
    angle: float
    strength: float


@dataclass(frozen=True)
class Radiograph:
    """One image: how it was taken, and what it shows."""

    patient: int
    number: int
    view: str
    age: int
    sex: str
    anatomy: Anatomy
    findings: tuple[Finding, ...]
    inspiration: float
    magnification: float
    angle: float
    scale: float
    shift: tuple[float, float]

    def to_image(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Body coordinates to image coordinates, both in [-1, 1] over the image."""
        c, s = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return c * x - s * y + self.shift[0], s * x + c * y + self.shift[1]

    def to_body(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Radiograph coordinates to body coordinates."""
        c, s = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        x, y = x - np.float32(self.shift[0]), y - np.float32(self.shift[1])
        return np.float32(c) * x + np.float32(s) * y, np.float32(c) * y - np.float32(s) * x


def _anatomy(rng: np.random.Generator, sex: str, age: int) -> Anatomy:
    n = rng.standard_normal(10)
    u = rng.random(6)
    dome = 0.42 + 0.035 * n[0]
    return Anatomy(
        width=0.74 + 0.03 * n[1],
        apex=-0.76 + 0.03 * n[2],
        dome_right=dome,
        dome_left=dome + 0.03 + 0.05 * u[0],
        ratio=float(np.clip(0.43 + 0.0004 * (age - 50) + 0.02 * n[3], 0.38, 0.485)),
        tilt=0.30 + 0.10 * n[4],
        mediastinum=0.135 + 0.012 * n[5],
        knob=0.075 + 0.0006 * (age - 50) + 0.008 * n[6],
        rib_spacing=0.150 + 0.008 * n[7],
        rib_phase=u[1],
        rib_slope=0.30 + 0.05 * n[8],
        rib_contrast=0.035 + 0.035 * u[2],
        habitus=u[3],
        breast=(0.25 + 0.75 * u[4]) if sex == "F" else 0.15 * u[4],
        clavicle=0.05 * n[9],
        vessels=0.7 + 0.6 * u[5],
    )


def _finding(rng: np.random.Generator, label: str) -> Finding:
    """A new finding at a random place; `_phantom_findings` explains `x`, `y`, `a` and `b`."""
    u = rng.random(5)
    side = 1 if rng.random() < 0.5 else -1
    angle = 0.0
    if label == "Nodule":
        y = -0.45 + 0.69 * u[1]
        x, a, b = 0.22 + (0.34 - 0.45 * max(0.0, -0.15 - y)) * u[0], 0.07 + 0.05 * u[2], 0.0
    elif label == "Consolidation":
        x, y, a, b = 0.28 + 0.22 * u[0], -0.40 + 0.62 * u[1], 0.18 + 0.09 * u[2], 0.16 + 0.10 * u[3]
    elif label == "Atelectasis":
        x, y, a, b = 0.36 + 0.10 * u[0], 0.05 + 0.06 * u[1], 0.20 + 0.08 * u[2], 0.026 + 0.016 * u[3]
        angle = 0.5 * (u[4] - 0.3)
    elif label == "Effusion":
        x, y, a, b = 0.0, 0.0, 0.24 + 0.38 * u[0], 0.20 + 0.10 * u[1]
    elif label == "Pneumothorax":
        x, y, a, b = 0.0, 0.0, 0.17 + 0.15 * u[0], 0.65 + 0.5 * u[1]
    else:  # Cardiomegaly: `a` is the factor on the heart's width
        x, y, a, b, side = 0.0, 0.0, 1.32 + 0.27 * u[0], 0.0, 1
    return Finding(label, side, float(x), float(y), float(a), float(b), float(angle), float(u[4]))


def _onset(rng: np.random.Generator) -> list[Finding]:
    label = PRIMARY[int(np.searchsorted(PRIMARY_WEIGHTS, rng.random() * PRIMARY_WEIGHTS[-1]))]
    found = [_finding(rng, label)]
    if rng.random() < 0.35:
        found.append(_join(rng, found))
    return found


def _join(rng: np.random.Generator, found: list[Finding]) -> Finding:
    choices = SECOND[found[0].label]
    present = {f.label for f in found} - {"Nodule"}
    label = choices[int(rng.integers(len(choices)))]
    return _finding(rng, "Nodule" if label in present else label)


def _course(rng: np.random.Generator, images: int, abnormal: float) -> list[tuple[Finding, ...]]:
    """Findings image by image: a spell of disease keeps its findings in place; some clear early, others join."""
    course: list[tuple[Finding, ...]] = []
    found: list[Finding] = []
    for number in range(images):
        if number == 0 or rng.random() > PERSISTENCE:
            sick = rng.random() < abnormal
            if sick and not found:
                found = _onset(rng)
            elif not sick:
                found = []
        elif found:
            if len(found) > 1 and rng.random() < 0.3:
                found = found[:-1]
            elif len(found) == 1 and rng.random() < 0.2:
                found = [*found, _join(rng, found)]
        course.append(tuple(found))
    return course


@functools.lru_cache(maxsize=64)
def images_of(seed: int, patient: int, abnormal: float) -> tuple[Radiograph, ...]:
    """All images of one patient, the same in every process."""
    rng = np.random.default_rng([seed, patient])
    sex = "F" if rng.random() < 0.46 else "M"
    age = int(np.clip(rng.normal(50, 16), 18, 90))
    anatomy = _anatomy(rng, sex, age)
    count = 1 + int(rng.binomial(4, 0.25))
    course = _course(rng, count, abnormal)
    made = []
    for number, findings in enumerate(course):
        ap = rng.random() < (0.40 if findings else 0.28)
        n = rng.standard_normal(6)
        age += int(rng.random() < 0.3)
        made.append(
            Radiograph(
                patient=patient,
                number=number,
                view="AP" if ap else "PA",
                age=age,
                sex=sex,
                anatomy=anatomy,
                findings=findings,
                inspiration=float((-0.08 if ap else 0.0) + 0.025 * n[0]),
                magnification=float(1.10 + 0.02 * n[1]) if ap else 1.0,
                angle=float((0.045 if ap else 0.025) * n[2]),
                scale=float(np.clip(0.96 + 0.065 * n[3], 0.80, 1.12)),
                shift=(float(np.clip(0.07 * n[4], -0.15, 0.15)), float(np.clip(0.07 * n[5], -0.15, 0.15))),
            )
        )
    return tuple(made)
