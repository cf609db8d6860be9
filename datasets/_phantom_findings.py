"""How the phantom's findings look: each changes the image's layers in place, and has a box.

An image is composed of layers in body coordinates, float32 `(S, S)`: `air` (0–1, aerated lung) and `extra` (attenuation
added on top). Each function explains what the numbers of its `Finding` mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zoo.datasets._phantom_patient import Finding, Radiograph

Array = np.ndarray


@dataclass(frozen=True)
class Geometry:
    """Outlines of one image in body coordinates, after breathing, magnification and findings."""

    width: float
    apex: float
    domes: tuple[float, float]  # patient's right, left
    heart: tuple[float, float, float, float]  # centre x, y; half width, half height
    bottom: float

    def dome(self, side: int) -> float:
        return self.domes[0] if side < 0 else self.domes[1]


@dataclass
class Layers:
    """Working arrays of one image; `x`, `y` are body coordinates and `u` is |x|, all `(S, S)`."""

    x: Array
    y: Array
    u: Array
    wall: Array  # half width of the thorax at each pixel's height
    air: Array
    vessels: Array
    extra: Array
    noise: Array  # smooth noise, mean 0, deviation about 1


def wall_profile(y: Array, width: float, apex: float) -> Array:
    """Half width of the thoracic cavity at height `y`: an arch at the apex, slowly widening below."""
    t = np.clip((y - apex) / 1.3, 0, 1)
    return width * (1 - (1 - t) ** 3.2) ** 0.55 * (0.96 + 0.06 * t)


def diaphragm(u: Array, dome: float | Array) -> Array:
    """Height of the diaphragm at distance `u` from the midline: a dome that falls to the costophrenic angle."""
    d = u - 0.36
    return dome + 0.35 * d * d + np.maximum(d, 0) ** 2 * 1.3


def geometry(image: Radiograph) -> Geometry:
    """The outlines of an image; cardiomegaly widens the heart, atelectasis raises the diaphragm of its side."""
    body = image.anatomy
    domes = {-1: body.dome_right + image.inspiration, 1: body.dome_left + image.inspiration}
    ratio = body.ratio * image.magnification
    for finding in image.findings:
        if finding.label == "Cardiomegaly":
            ratio *= finding.a
        elif finding.label == "Atelectasis":
            domes[finding.side] -= _volume_loss(finding)
    half = min(ratio, 0.74) * body.width
    dome = body.dome_left + image.inspiration
    height = 0.19 + 0.30 * half
    return Geometry(
        body.width, body.apex, (domes[-1], domes[1]), (0.34 * half, dome - 0.66 * height, half, height), 0.8
    )


def ramp(d: Array, soft: float) -> Array:
    """A soft step: 0 below -soft/2, 1 above soft/2, in units of the distance `d`."""
    out: Array = np.clip(d * np.float32(1 / soft) + np.float32(0.5), 0, 1)
    return out


def _volume_loss(finding: Finding) -> float:
    return 0.07 + 0.06 * finding.strength


def _side(layers: Layers, side: int) -> Array:
    return ramp(layers.x * side, 0.02)


def nodule(layers: Layers, f: Finding, g: Geometry) -> None:
    """A round opacity of radius `a` with a soft margin."""
    r2 = (layers.x - f.side * f.x) ** 2 + (layers.y - f.y) ** 2
    layers.extra += (0.26 + 0.10 * f.strength) * ramp(f.a - np.sqrt(r2), 0.03)


def consolidation(layers: Layers, f: Finding, g: Geometry) -> None:
    """An ill-defined, uneven opacity with half extents `a` × `b`; it replaces air, so it stops at the pleura."""
    r2 = ((layers.x - f.side * f.x) / f.a) ** 2 + ((layers.y - f.y) / f.b) ** 2
    patch = np.clip((1.0 - r2) * 1.6 + 0.45 * layers.noise, 0, 1) * ramp(1.15 - r2, 0.3)
    layers.air -= layers.air * patch * (0.75 + 0.2 * f.strength)


def atelectasis(layers: Layers, f: Finding, g: Geometry) -> None:
    """A plate of length 2`a` and thickness 2`b`, `y` above the raised diaphragm, widening to a wedge laterally."""
    cx, cy, angle = _plate(f, g)
    dx, dy = layers.x - cx, layers.y - cy
    along = math.cos(angle) * dx + math.sin(angle) * dy
    across = math.cos(angle) * dy - math.sin(angle) * dx
    thick = f.b * (1 + 0.5 * f.side * along / f.a)
    plate = ramp(thick - np.abs(across), 0.035) * ramp(f.a - np.abs(along), 0.06)
    layers.air -= layers.air * plate * (0.75 + 0.2 * f.strength)


def _plate(f: Finding, g: Geometry) -> tuple[float, float, float]:
    return f.side * f.x, g.dome(f.side) - f.y - 0.04, f.side * f.angle


def effusion(layers: Layers, f: Finding, g: Geometry) -> None:
    """Fluid that stands `a` high at the chest wall above the costophrenic angle, with a meniscus of height `b`."""
    level = _fluid(f, g, layers.u)
    fluid = ramp(layers.y - level, 0.05) * _side(layers, f.side)
    layers.air -= layers.air * fluid * 0.95


def _fluid(f: Finding, g: Geometry, u: Array) -> Array:
    angle = float(diaphragm(np.array(g.width), g.dome(f.side)))
    inward = np.clip((g.width - u) / 0.5, 0, 1)
    return angle - f.a + f.b * (1 - (1 - inward) ** 2)


def pneumothorax(layers: Layers, f: Finding, g: Geometry) -> None:
    """Air between wall and lung: a rim `a` wide at the apex that ends `b` below it, and the thin pleural line."""
    edge = _pleura(f, g, layers.y, layers.wall)
    outside = layers.u - edge
    here = _side(layers, f.side) * ramp(g.apex + f.b - layers.y, 0.04)
    rim = ramp(outside, 0.02) * here
    layers.vessels *= 1 - rim
    layers.extra -= layers.air * rim * (0.15 + 0.05 * f.strength)
    line = np.clip(1 - np.abs(outside) * np.float32(1 / 0.022), 0, 1)
    layers.extra += line * here * layers.air * (0.22 + 0.05 * f.strength)


def _pleura(f: Finding, g: Geometry, y: Array, wall: Array) -> Array:
    """Distance of the collapsed lung's edge from the midline at height `y`."""
    t = np.clip((y - g.apex) / f.b, 0, 1)
    return np.maximum(wall - f.a * (1 - 0.75 * t) - 0.5 * f.a * (1 - t) ** 3, 0)


DRAW = {
    "Nodule": nodule,
    "Consolidation": consolidation,
    "Atelectasis": atelectasis,
    "Effusion": effusion,
    "Pneumothorax": pneumothorax,
}


def draw(layers: Layers, image: Radiograph, g: Geometry) -> None:
    """Draw all findings of an image but cardiomegaly, which is in the geometry already."""
    for finding in image.findings:
        if finding.label in DRAW:
            DRAW[finding.label](layers, finding, g)


def _body_box(f: Finding, g: Geometry) -> tuple[float, float, float, float]:
    """The finding's box in body coordinates: left and right as signed x, top, bottom."""
    if f.label == "Cardiomegaly":
        x, y, half, height = g.heart
        return x - half - 0.01, x + half + 0.01, y - height - 0.02, y + height
    if f.label == "Nodule":
        r = f.a + 0.02
        return f.side * f.x - r, f.side * f.x + r, f.y - r, f.y + r
    if f.label == "Atelectasis":
        cx, cy, angle = _plate(f, g)
        dx = abs(f.a * math.cos(angle)) + 0.03
        dy = abs(f.a * math.sin(angle)) + 1.5 * f.b + 0.02
        inner, outer = min(abs(cx) - dx, 0.12), max(abs(cx) + dx, g.width + 0.02)
        bottom = float(diaphragm(np.array(g.width), g.dome(f.side) + _volume_loss(f)))
        return *_signed(f.side, inner, outer), cy - dy, bottom + 0.02  # the raised diaphragm belongs to it
    if f.label == "Consolidation":
        inner, outer = f.x - f.a, min(f.x + f.a, g.width)
        low = min(f.y + f.b, g.dome(f.side) + 0.1)
        return *_signed(f.side, inner, outer), f.y - f.b, low
    if f.label == "Effusion":
        u = np.linspace(0.1, g.width, 64)
        wet = u[_fluid(f, g, u) < diaphragm(u, g.dome(f.side))]
        top, bottom = float(_fluid(f, g, u).min()), float(diaphragm(u[-1:], g.dome(f.side))[0])
        return *_signed(f.side, float(wet.min()) - 0.02, g.width + 0.02), top - 0.02, bottom
    heights = np.linspace(g.apex, g.apex + f.b, 64)
    wall = wall_profile(heights, g.width, g.apex)
    edge = _pleura(f, g, heights, wall)[8:]
    return *_signed(f.side, float(edge.min()), float(wall.max()) + 0.02), g.apex, g.apex + f.b + 0.02


def _signed(side: int, inner: float, outer: float) -> tuple[float, float]:
    return (inner, outer) if side > 0 else (-outer, -inner)


def box(image: Radiograph, finding: Finding) -> tuple[float, float, float, float]:
    """Box of a finding on its image: x, y of the upper left corner, width, height, in fractions of the image."""
    left, right, top, bottom = _body_box(finding, geometry(image))
    x, y = image.to_image(np.array([left, right, left, right]), np.array([top, top, bottom, bottom]))
    x, y = np.clip((x + 1) / 2, 0, 1), np.clip((y + 1) / 2, 0, 1)
    return float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y))
