"""Rendering of phantom images: layers of attenuation in body coordinates, then exposure, blur and noise."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from zoo import BadImage, ImageSource
from zoo.datasets import _phantom_findings as findings
from zoo.datasets._phantom_findings import Geometry, Layers, diaphragm, ramp, wall_profile
from zoo.datasets._phantom_patient import Radiograph, images_of

VERSION = 1  # raise when the same seed gives other pixels

Array = np.ndarray
_STEPS = 1024  # entries of the tables of the height profiles, over y in [-1.5, 1.5]


@dataclass(frozen=True)
class PhantomSource(ImageSource):
    """Renders images on demand; a path is "patient/number"."""

    seed: int
    size: int
    abnormal: float

    def read(self, path: str) -> tuple[np.ndarray, str]:
        try:
            patient, number = (int(part) for part in path.split("/"))
            if patient < 1 or number < 0:
                raise IndexError
            image = images_of(self.seed, patient, self.abnormal)[number]
        except (ValueError, IndexError):
            raise BadImage(f"no phantom image {path!r}: expected patient/number, such as 1/0") from None
        return render(image, self.seed, self.size), ""

    def fingerprint(self, paths: Sequence[str]) -> str:
        images = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:16]
        return f"phantom version {VERSION} seed {self.seed} size {self.size} abnormal {self.abnormal} images {images}"


def render(image: Radiograph, seed: int, size: int) -> Array:
    """Render an image as uint8 `(size, size)`. Everything random here is independent of the image's findings."""
    rng = np.random.default_rng([seed, image.patient, image.number, 1])
    g = findings.geometry(image)
    x, y = image.to_body(*_grid(size))
    u = np.abs(x)
    wall, shoulder = _profiles(image, g, y)
    noise = _smooth_noise(rng, size, 14)
    domes = np.where(x < 0, np.float32(g.domes[0]), np.float32(g.domes[1]))
    below = ramp(y - diaphragm(u, domes), 0.025)
    heart = _heart(image, g, x, y)
    air = _lungs(image, u, y, wall) * (1 - below) * (1 - heart)
    layers = Layers(x, y, u, wall, air, _vessels(image, seed, size), np.zeros_like(x), noise)
    findings.draw(layers, image, g)
    body = ramp(shoulder - u, 0.05)
    thick = _soft_tissue(image, layers, below, heart, rng) + _bones(image, layers)
    depth = (0.43 - 0.10 * image.anatomy.habitus) * (0.72 + 0.28 * np.clip((wall - u) * 4, 0, 1))
    depth *= _aeration(rng, size)
    thick += layers.extra - layers.air * depth + layers.air * layers.vessels * (0.09 * image.anatomy.vessels)
    thick += 0.012 * noise + 0.012 * _smooth_noise(rng, size, 40)
    thick *= body
    return _expose(image, thick + _devices(image, rng, size), rng)


@functools.lru_cache(maxsize=4)
def _grid(size: int) -> tuple[Array, Array]:
    line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1
    return np.broadcast_to(line, (size, size)), np.broadcast_to(line[:, None], (size, size))


def _profiles(image: Radiograph, g: Geometry, y: Array) -> tuple[Array, Array]:
    """Half width of the thorax, and of the body with neck and shoulders, at every pixel."""
    heights = np.linspace(-1.5, 1.5, _STEPS)
    habitus = image.anatomy.habitus
    rise = np.clip((heights + 1.02 + 0.05 * habitus) / 0.30, 0, 1)
    neck = 0.27 + 0.05 * habitus
    shoulders = neck + (1.12 - neck) * rise**1.4
    trunk = g.width + 0.11 + 0.13 * habitus
    arm = 1 / (1 + np.exp((heights + 0.22) * 9))
    table = np.stack([wall_profile(heights, g.width, g.apex), np.minimum(shoulders, trunk + 0.4 * arm)])
    at = ((y + 1.5) * np.float32(_STEPS / 3)).astype(np.intp)
    np.clip(at, 0, _STEPS - 1, out=at)
    wall, shoulder = table.astype(np.float32)
    return wall[at], shoulder[at]


def _smooth_noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _aeration(rng: np.random.Generator, size: int) -> Array:
    """How much air the lungs hold from place to place: differs from image to image, in health as in disease."""
    level = 1 + 0.14 * float(np.clip(rng.standard_normal(), -2, 2))
    out: Array = np.clip(level + 0.15 * _smooth_noise(rng, size, 4), 0.55, 1.35)
    return out


def _heart(image: Radiograph, g: Geometry, x: Array, y: Array) -> Array:
    cx, cy, half, height = g.heart
    dx, dy = (x - np.float32(cx)) / half, (y - np.float32(cy)) / height
    dy -= np.float32(image.anatomy.tilt) * dx
    heart = ramp((1 - np.sqrt(dx * dx + dy * dy)) * half, 0.035)
    knob = np.sqrt((x - np.float32(0.095)) ** 2 + 0.7 * (y + 0.33) ** 2)
    aorta = ramp(image.anatomy.knob + 0.07 - x, 0.04) * ramp(x, 0.05) * ramp(y + 0.33, 0.05)
    return np.maximum(np.maximum(heart, ramp(image.anatomy.knob + 0.01 - knob, 0.04)), 0.6 * aorta)


def _lungs(image: Radiograph, u: Array, y: Array, wall: Array) -> Array:
    """Aerated lung before diaphragm and heart: between the chest wall and the mediastinum."""
    medial = np.float32(image.anatomy.mediastinum) + 0.05 * np.clip(0.1 - y, 0, 0.5) ** 2
    return ramp(wall - u, 0.035) * ramp(u - medial, 0.04)


def _soft_tissue(image: Radiograph, layers: Layers, below: Array, heart: Array, rng: np.random.Generator) -> Array:
    """Chest wall, mediastinum, heart, abdomen with the gastric bubble, breasts, trachea and hila."""
    body, x, y, u = image.anatomy, layers.x, layers.y, layers.u
    inside = np.clip((layers.wall + 0.12 - u) * 3, 0, 1)
    thick = 0.46 + 0.06 * body.habitus + 0.16 * inside
    thick += 0.05 * heart + (0.07 + 0.04 * body.habitus) * below
    bubble = ((x - 0.36) / 0.15) ** 2 + ((y - 0.64 - image.inspiration) / 0.07) ** 2
    thick -= float(rng.uniform(0, 0.16)) * ramp(1 - bubble, 0.8)
    thick -= 0.09 * ramp(0.045 - np.abs(x - 0.01), 0.04) * ramp(-0.22 - y, 0.1)
    hilum = ((u - 0.20) / 0.10) ** 2 + ((y + 0.02 + 0.02 * np.sign(x)) / 0.15) ** 2
    thick += 0.09 * layers.air * np.exp(-hilum)
    if body.breast > 0.1:
        r = np.sqrt((u - 0.42) ** 2 + (y - 0.26) ** 2 * 1.2)
        thick += 0.10 * body.breast * ramp(0.36 - r, 0.12) * np.clip(0.4 + y - 0.1, 0.1, 1)
    return thick


def _bones(image: Radiograph, layers: Layers) -> Array:
    """Ribs (posterior and anterior arcs), spine, clavicles and scapulae."""
    body, x, y, u, wall = image.anatomy, layers.x, layers.y, layers.u, layers.wall
    cage = ramp(wall + 0.03 - u, 0.05) * ramp(0.72 - y, 0.2)
    turn = np.clip((u - 0.45 * wall) / (0.55 * wall + 0.01), 0, 1) ** 2
    back = (y - body.rib_slope * u - 0.20 * turn) * np.float32(1 / body.rib_spacing) + body.rib_phase
    bones = body.rib_contrast * _arcs(back, 0.27) * ramp(u - 0.07, 0.06)
    front = (y + 0.62 * u - 0.35 * u * u) * np.float32(1 / (1.12 * body.rib_spacing)) + 2 * body.rib_phase
    bones += 0.55 * body.rib_contrast * _arcs(front, 0.25) * np.clip((u - 0.22) * 4, 0, 1)
    bones *= cage
    vertebra = y * np.float32(1 / 0.135) + body.rib_phase
    bones += ramp(0.085 - np.abs(x), 0.03) * (0.06 + 0.03 * _arcs(vertebra, 0.36))
    clavicle = y + 0.57 + body.clavicle + 0.27 * u - 0.10 * np.sin(6 * u)
    bones += 0.13 * ramp(0.034 - np.abs(clavicle), 0.03) * ramp(u - 0.10, 0.03) * ramp(0.80 - u, 0.1)
    inward = 0.0 if image.view == "PA" else 0.17
    scapula = u - (wall + 0.06 - inward) - 0.25 * (y + 0.25)
    bones += 0.07 * ramp(scapula, 0.03) * ramp(0.24 - scapula, 0.1) * ramp(0.36 - np.abs(y + 0.32), 0.1)
    humerus = (u - 0.93) ** 2 + (y + 0.66) ** 2
    return bones + 0.10 * ramp(0.16 - np.sqrt(humerus), 0.04)


def _arcs(phase: Array, half: float) -> Array:
    """Bands of half width `half` around every whole phase, brighter at their edges as cortical bone is."""
    d = np.abs(phase - np.rint(phase))
    band = ramp(half - d, 0.14)
    return band * (0.7 + 0.3 * np.clip(d * np.float32(1 / half), 0, 1) ** 2)


def _vessels(image: Radiograph, seed: int, size: int) -> Array:
    """Vessels that fork three times from the hila, drawn at twice the size; 0–1 float32 `(size, size)`."""
    rng = np.random.default_rng([seed, image.patient, 2])
    canvas = Image.new("L", (2 * size, 2 * size))
    pen = ImageDraw.Draw(canvas)
    side = np.repeat([-1.0, 1.0], 8)
    heading = np.tile(np.linspace(-1.35, 1.45, 8), 2) + rng.normal(0, 0.1, 16)
    x, y = 0.17 * side, np.tile(np.linspace(-0.12, 0.14, 8), 2)
    for length, width, shade in ((0.17, 0.030, 230), (0.15, 0.020, 170), (0.14, 0.013, 130), (0.10, 0.009, 90)):
        far = length * rng.uniform(0.75, 1.25, len(x))
        x1, y1 = x + side * far * np.cos(heading), y + far * np.sin(heading)
        ends = np.stack([*image.to_image(x, y), *image.to_image(x1, y1)], axis=1)
        pixels = max(1, round(width * image.scale * size))
        for line in ((ends + 1) * size).tolist():
            pen.line(line, fill=shade, width=pixels)
        spread = rng.uniform(0.15, 0.5, len(x))
        x, y, side = np.repeat(x1, 2), np.repeat(y1, 2), np.repeat(side, 2)
        heading = np.stack([heading - spread, heading + spread], axis=1).ravel()
    return np.asarray(canvas.reduce(2), dtype=np.float32) * np.float32(1 / 255)


def _devices(image: Radiograph, rng: np.random.Generator, size: int) -> Array | float:
    """Leads, electrodes and lines, as often in health as in disease, and the side marker."""
    count = int(rng.random() < (0.5 if image.view == "AP" else 0.1)) * int(rng.integers(1, 4))
    start, kinds = rng.uniform(-0.9, 0.9, (3, 6)), rng.random(3)
    right = rng.random() < 0.5
    corner = (rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.12))
    big = 2 * size
    canvas = Image.new("L", (big, big))
    pen = ImageDraw.Draw(canvas)
    for (x, y, bend, tip, drop, _), kind in zip(start[:count], kinds[:count], strict=True):
        t = np.linspace(0, 1, 9)
        if kind < 0.6:  # a lead from the upper edge to an electrode
            px, py = 0.8 * x + 0.4 * bend * np.sin(np.pi * t), -1 + t * (1 + 0.5 * y)
            ex, ey, r = (px[-1] + 1) * size, (py[-1] + 1) * size, 0.025 * big
            pen.ellipse((ex - r, ey - r, ex + r, ey + r), fill=110)
        else:  # a central line that ends beside the spine
            px, py = -0.05 + (0.5 * tip - 0.05) * (1 - t) ** 2, -0.9 + t * (0.9 + 0.2 * drop)
        fx, fy = image.to_image(px, py)
        pen.line(((np.stack([fx, fy], 1) + 1) * size).ravel().tolist(), fill=70, width=max(1, round(0.008 * big)))
    h = 0.07 * big
    mx, my = (corner[0] if right else 0.95 - corner[0]) * big, corner[1] * big
    if right:
        stem = [mx, my + h, mx, my, mx + h / 2, my, mx + h / 2, my + h / 2, mx, my + h / 2, mx + h / 2, my + h]
    else:
        stem = [mx, my, mx, my + h, mx + h / 2, my + h]
    pen.line(stem, fill=200, width=max(1, round(0.014 * big)))
    return np.asarray(canvas.reduce(2), dtype=np.float32) * np.float32(1 / 255)


def _expose(image: Radiograph, thick: Array, rng: np.random.Generator) -> Array:
    """Blur, grid cut-off, exposure, contrast, quantum noise and collimation; to uint8."""
    size = thick.shape[0]
    gain, offset, gamma = rng.uniform(0.85, 1.2), rng.uniform(-0.06, 0.10), math.exp(rng.uniform(-0.3, 0.3))
    slope, level = rng.normal(0, 0.035, 2), rng.uniform(0.008, 0.022)
    edges, black = np.clip(rng.normal(0.0, 0.03, 4), 0, 0.09), rng.uniform(0, 0.06)
    fx, fy = _grid(size)
    for _ in range(2 if image.view == "AP" else 1):
        thick = _blur(thick)
    thick = thick * np.float32(gain) + np.float32(slope[0]) * fx + np.float32(slope[1]) * fy + np.float32(offset)
    quantum = rng.standard_normal((size, size), dtype=np.float32)
    grey = np.clip(thick, 0, 1) ** np.float32(gamma) + quantum * np.float32(level)
    left, right, top, bottom = (round(e * size) for e in edges)
    shown = np.full((size, size), np.float32(black))
    inside = slice(top, size - bottom), slice(left, size - right)
    shown[inside] = grey[inside]
    return np.clip(shown * 255, 0, 255).astype(np.uint8)


def _blur(image: Array) -> Array:
    """A 3-tap binomial blur in both directions; the border repeats."""
    padded = np.pad(image, 1, mode="edge")
    rows = padded[:-2] + padded[2:] + 2 * padded[1:-1]
    out: Array = (rows[:, :-2] + rows[:, 2:] + 2 * rows[:, 1:-1]) * np.float32(1 / 16)
    return out
