"""Near-duplicate images: perceptual hashes that differ in few bits, confirmed by the correlation of their pixels.

Chest X-rays look alike, so a hash alone is no proof: it proposes pairs, and the pixels decide. The limits come from measurements
(benchmarks/near_duplicates.py).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from zoo.core.progress import Progress

HASH_SIDE = 16  # 16×16 = 256 bits
HASH_WORDS = HASH_SIDE * HASH_SIDE // 64
THRESHOLD = 40  # bits of 256 that near-duplicates may differ in
CORRELATION = 0.9  # of the pixels without their coarse shading
SIZE = 64  # pixels of the images that are compared
_BLOCK = 2048  # images compared with so many others at a time: what fits into a processor's cache
_BLUR = 4  # pixels: what is coarser is shading that all chest X-rays share
_EMPTY = 1e-6

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, `first[i] < second[i]`, with the bits their hashes differ in and the correlation of their pixels."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    correlation: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, which: np.ndarray) -> Pairs:
        return Pairs(self.first[which], self.second[which], self.distance[which], self.correlation[which])


def perceptual_hash(image: np.ndarray) -> np.ndarray:
    """The 256 bits of an image uint8 `(H, W)` as four uint64: signs of its coarse cosine transform about their median.

    imagehash's pHash (Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions). An image without
    structure gets a hash too; the correlation rejects it.
    """
    import imagehash
    from PIL import Image

    bits = imagehash.phash(Image.fromarray(np.ascontiguousarray(image)), hash_size=HASH_SIDE).hash
    packed: np.ndarray = np.packbits(bits.ravel()).view(np.uint64)
    return packed


def pairs_within(hashes: np.ndarray, threshold: int, advance: Advance = lambda rows: None) -> tuple[np.ndarray, ...]:
    """All pairs of rows of `(N, W)` uint64 that differ in at most `threshold` bits.

    Exact: two rows within the threshold differ in at most threshold // W bits of some word, so words are compared first, in
    blocks that fit the cache and on all cores; few pairs are left to be counted in full. Minutes for 112,120 images.

    Args:
        hashes: one row per image.
        threshold: bits, of 64 W.
        advance: called with the number of rows done.

    Returns:
        first, second and distance, `(P,)` each, sorted, first < second.
    """

    def found(start: int) -> tuple[np.ndarray, ...]:
        first, second, distance = _close(hashes[start : start + _BLOCK], hashes[start:], threshold)
        later = first < second
        return first[later] + start, second[later] + start, distance[later]

    return _in_blocks(found, len(hashes), advance)


def pairs_between(
    hashes: np.ndarray, others: np.ndarray, threshold: int, advance: Advance = lambda rows: None
) -> tuple[np.ndarray, ...]:
    """The same for pairs of a row of `hashes` and a row of `others` `(M, W)`: first, second (of `others`) and distance."""

    def found(start: int) -> tuple[np.ndarray, ...]:
        first, second, distance = _close(hashes[start : start + _BLOCK], others, threshold)
        return first + start, second, distance

    return _in_blocks(found, len(hashes), advance)


def _in_blocks(found: Callable[[int], tuple[np.ndarray, ...]], count: int, advance: Advance) -> tuple[np.ndarray, ...]:
    """The pairs of all blocks, sorted."""
    from zoo.core.pools import usable_cores

    parts: list[tuple[np.ndarray, ...]] = []
    starts = range(0, count, _BLOCK)
    with ThreadPoolExecutor(usable_cores()) as pool:
        for start, pairs in zip(starts, pool.map(found, starts), strict=True):
            parts.append(pairs)
            advance(min(_BLOCK, count - start))
    if not parts:
        return np.empty(0, int), np.empty(0, int), np.empty(0, int)
    first, second, distance = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.lexsort((second, first))
    return first[order], second[order], distance[order]


def _close(rows: np.ndarray, columns: np.ndarray, threshold: int) -> tuple[np.ndarray, ...]:
    """The pairs of one of a block of `rows` and one of the `columns`."""
    words = rows.shape[1]
    firsts, seconds = [np.empty(0, int)], [np.empty(0, int)]
    for start in range(0, len(columns), _BLOCK):
        part = columns[start : start + _BLOCK]
        close = np.zeros((len(rows), len(part)), bool)
        for word in range(words):
            close |= np.bitwise_count(rows[:, word, None] ^ part[None, :, word]) <= threshold // words
        a, b = np.nonzero(close)
        firsts.append(a)
        seconds.append(b + start)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    distance = np.bitwise_count(rows[first] ^ columns[second]).sum(axis=1, dtype=int)
    keep = distance <= threshold
    return first[keep], second[keep], distance[keep]


def distances(hashes: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Bits that the hashes of each pair differ in."""
    return np.bitwise_count(hashes[first] ^ hashes[second]).sum(axis=1, dtype=int)


def correlations(
    image: Callable[[int], np.ndarray], first: np.ndarray, second: np.ndarray, advance: Advance = lambda pairs: None
) -> np.ndarray:
    """Pearson's correlation of the details of each pair of images, 0 where one has none.

    Args:
        image: the pixels `(S, S)` of a row; kept only while they are needed, as there may be more than fit into memory.
        first: rows, sorted.
        second: their partners.
        advance: called after each pair.
    """
    found = np.zeros(len(first))
    for number, (a, b) in enumerate(zip(first, second, strict=True)):
        if number == 0 or a != first[number - 1]:
            mine = details(image(int(a)))
        found[number] = float((mine * details(image(int(b)))).sum())
        advance(1)
    return found


def details(image: np.ndarray) -> np.ndarray:
    """The fine part of an image, with mean 0 and length 1; zeros where there is none."""
    from scipy.ndimage import gaussian_filter

    values = image.astype(np.float32)
    fine = values - gaussian_filter(values, _BLUR * len(image) / SIZE)
    fine -= fine.mean()
    length = float(np.sqrt((fine**2).sum()))
    return fine / length if length > _EMPTY * fine.size else np.zeros_like(fine)


def confirmed(
    hashes: np.ndarray,
    image: Callable[[int], np.ndarray],
    rows: np.ndarray,
    threshold: int = THRESHOLD,
    correlation: float = CORRELATION,
) -> tuple[Pairs, int]:
    """Near-duplicates among `rows`, and how many pairs the hashes proposed.

    Args:
        hashes: `(N, W)`.
        image: the pixels of a row of `hashes`.
        rows: those that have pixels.
        threshold: bits of the hash that a pair may differ in.
        correlation: least correlation of their details.
    """
    with Progress("Comparing hashes", len(rows)) as progress:
        first, second, distance = pairs_within(hashes[rows], threshold, progress.advance)
    first, second = rows[first], rows[second]
    with Progress("Comparing pixels", len(first), unit="pairs") as progress:
        alike = correlations(image, first, second, progress.advance)
    pairs = Pairs(first, second, distance, alike)
    return pairs.take(alike >= correlation), len(first)
