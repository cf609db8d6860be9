"""A small JPEG encoder after ITU-T T.81 for tests: no library here writes 12 bits, or the predictors of process 14."""

from __future__ import annotations

import struct

import numpy as np
from scipy.fft import dctn


class Bits:
    """Bits in a row, as bytes with a zero after each FF."""

    def __init__(self) -> None:
        self.text: list[str] = []

    def add(self, value: int, count: int) -> None:
        if count:
            self.text.append(f"{value & ((1 << count) - 1):0{count}b}")

    def number(self, value: int, size: int) -> None:
        self.add(value if value >= 0 else value + (1 << size) - 1, size)

    def close(self) -> bytes:
        text = "".join(self.text)
        text += "1" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _table(kind: int, symbols: list[int], width: int) -> bytes:
    """A Huffman table in which every symbol has a code of the same width: its place in the list."""
    counts = [len(symbols) if length == width else 0 for length in range(1, 17)]
    return _segment(0xC4, bytes([kind << 4, *counts, *symbols]))


def jpeg_lossless(values: np.ndarray, precision: int, predictor: int = 1) -> bytes:
    """JPEG process 14 with one of the predictors 1 to 7."""
    x = values.astype(np.int64)
    a, b, c = np.zeros((3, *x.shape), np.int64)
    a[:, 1:], b[1:], c[1:, 1:] = x[:, :-1], x[:-1], x[:-1, :-1]
    predicted = [a, b, c, a + b - c, a + ((b - c) >> 1), b + ((a - c) >> 1), (a + b) >> 1][predictor - 1]
    predicted[0], predicted[1:, 0] = a[0], b[1:, 0]
    predicted[0, 0] = 1 << (precision - 1)
    bits = Bits()
    for difference in ((x - predicted + 32768) % 65536 - 32768).ravel().tolist():
        size = 16 if difference == -32768 else abs(difference).bit_length()
        bits.add(size, 5)
        if size < 16:
            bits.number(difference, size)
    head = _segment(0xC3, struct.pack(">BHHB3B", precision, *values.shape, 1, 1, 0x11, 0))
    scan = _segment(0xDA, bytes([1, 1, 0, predictor, 0, 0]))
    return b"\xff\xd8" + head + _table(0, list(range(17)), 5) + scan + bits.close() + b"\xff\xd9"


ZIGZAG = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda p: (sum(p), p[sum(p) % 2 == 0]))


def jpeg_12_bit(values: np.ndarray) -> bytes:
    """JPEG process 4, extended sequential with 12 bits, nothing quantised away but fractions; sides are multiples of 8."""
    symbols = [0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 15))]
    bits, last = Bits(), 0
    for top in range(0, values.shape[0], 8):
        for left in range(0, values.shape[1], 8):
            block = values[top : top + 8, left : left + 8].astype(float) - 2048
            coefficients = np.rint(dctn(block, norm="ortho")).astype(int)
            row = [int(coefficients[p]) for p in ZIGZAG]
            size = abs(row[0] - last).bit_length()
            bits.add(size, 5)
            bits.number(row[0] - last, size)
            last = row[0]
            _alternating(bits, row[1:], symbols)
    tables = _segment(0xDB, bytes([0, *[1] * 64])) + _table(0, list(range(16)), 5) + _table(1, symbols, 8)
    head = _segment(0xC1, struct.pack(">BHHB3B", 12, *values.shape, 1, 1, 0x11, 0))
    return b"\xff\xd8" + tables + head + _segment(0xDA, bytes([1, 1, 0, 0, 63, 0])) + bits.close() + b"\xff\xd9"


def _alternating(bits: Bits, row: list[int], symbols: list[int]) -> None:
    run = 0
    end = max((i + 1 for i, value in enumerate(row) if value), default=0)
    for value in row[:end]:
        if not value:
            run += 1
            continue
        for _ in range(run // 16):
            bits.add(symbols.index(0xF0), 8)
        size = abs(value).bit_length()
        bits.add(symbols.index((run % 16) << 4 | size), 8)
        bits.number(value, size)
        run = 0
    if end < len(row):
        bits.add(symbols.index(0x00), 8)
