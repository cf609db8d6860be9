"""The limits on what a file may claim: every reader asks here, and every refusal names the setting that raises the limit.

Each limit has a default, and one environment variable, `ZOO_MAX_` and its name in capitals, that replaces it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from zoo.core.errors import DataError, UsageError, did_you_mean

PREFIX = "ZOO_MAX_"


@dataclass(frozen=True)
class Limit:
    """One limit: `name`, the `default` in `unit`, and what it `bounds`."""

    name: str
    default: int
    unit: str
    bounds: str

    @property
    def variable(self) -> str:
        """The environment variable that replaces the default."""
        return PREFIX + self.name.upper()


_ALL = (
    Limit("pixels", 100_000_000, "pixels", "one image, by what its header claims"),
    Limit("image_side", 20_000, "pixels", "the longer side of one image, to which a square is padded"),
    Limit("image_memory", 1_000_000_000, "bytes", "decoding one image, by its pixels and their bits"),
    Limit("image_bytes", 500_000_000, "bytes", "the file of one image that is read whole"),
    Limit("image_parts", 100_000, "parts", "one image file: its chunks, strips, tiles, segments, blocks or fragments"),
    Limit("image_frames", 5_000, "frames", "one image file, of which the first is read"),
    Limit("image_header_bytes", 4_000_000, "bytes", "what comes before the pixels of a PNM or JPEG 2000 file"),
    Limit("jpeg_scans", 100, "scans", "one JPEG, each of which may go over all pixels"),
    Limit("dicom_bytes", 500_000_000, "bytes", "one DICOM file"),
    Limit("dicom_header_bytes", 64_000_000, "bytes", "a DICOM header that has to be inflated"),
    Limit("dicom_items", 1_000, "items", "a sequence of a DICOM header"),
    Limit("dicom_frame_seconds", 60, "seconds", "decoding a compressed DICOM frame in its process"),
    Limit("dicom_frame_memory", 4_000_000_000, "bytes", "the process that decodes compressed DICOM frames"),
    Limit("dicom_value_bytes", 1_000_000, "bytes", "one attribute of a DICOM header"),
    Limit("dicom_reads", 100_000, "reads", "the attributes of a DICOM header"),
    Limit("table_bytes", 300_000_000, "bytes", "a table or list, unpacked"),
    Limit("table_columns", 10_000, "columns", "a table"),
    Limit("table_cells", 30_000_000, "cells", "a table"),
    Limit("cell_chars", 131_072, "characters", "one cell of a table"),
    Limit(
        "document_bytes", 64_000_000, "bytes", "a JSON or YAML document: a configuration, run.json, a saved evaluation"
    ),
    Limit("document_values", 2_000_000, "values", "a JSON or YAML document, with those that its aliases repeat"),
    Limit("document_depth", 100, "levels", "a JSON or YAML document"),
    Limit("card_bytes", 1_000_000, "bytes", "a model card that `zoo serve` shows; one is made where it is larger"),
    Limit("weights_bytes", 8_000_000_000, "bytes", "the arrays of a weights file or saved network, unpacked"),
    Limit(
        "weights_members", 100_000, "members", "the groups and arrays of a weights file, or members of a saved network"
    ),
    Limit("npz_bytes", 40_000_000_000, "bytes", "the arrays of an npz file, unpacked"),
    Limit("expansion", 100, "times", "the size of a file or archive, unpacked"),
    Limit("expansion_from", 64_000_000, "bytes", "what a file may unpack to before its expansion counts"),
    Limit("archive_members", 500_000, "members", "an archive, folders among them"),
    Limit("archive_member_bytes", 4_000_000_000, "bytes", "one member of an archive, unpacked"),
    Limit("archive_bytes", 400_000_000_000, "bytes", "an archive, unpacked"),
    Limit("archive_header_bytes", 16_000_000, "bytes", "the headers between two files of an archive"),
    Limit("record_bytes", 500_000_000, "bytes", "one record of a TFRecord file"),
)
TABLE = {each.name: each for each in _ALL}


def value(name: str) -> int:
    """A limit as it is in force: the default, or what the environment says.

    Raises:
        UsageError: the environment variable is no whole number of 1 or more.
        KeyError: there is no such limit.
    """
    limit = TABLE[name]
    text = os.environ.get(limit.variable, "").strip()
    if not text:
        return limit.default
    if (
        not (text.isascii() and text.replace("_", "").isdecimal())
        or not 0 < (found := int(text.replace("_", ""))) < 2**63
    ):
        raise UsageError(
            f"{limit.variable} is '{text}', not a whole number of {limit.unit} from 1. Without it the limit is "
            f"{quantity(limit.default, limit.unit)}; see 'zoo info limits'."
        )
    return found


def check(name: str, found: float, what: object, error: type[Exception] = DataError) -> None:
    """Refuse what is beyond a limit.

    Args:
        name: the limit.
        found: what the file claims or holds, in the limit's unit.
        what: the file, and the part of it that is meant.
        error: the class to raise.

    Raises:
        DataError: `found` is more than the limit; names both, and the setting that raises it.
        UsageError: the setting itself is wrong.
    """
    if found > value(name):
        raise exceeded(name, what, quantity(found, TABLE[name].unit), error)


def check_expansion(packed: int, unpacked: float, what: object, error: type[Exception] = DataError) -> None:
    """Refuse a file of `packed` bytes that unpacks to `unpacked` bytes, further than honest files do.

    Raises:
        DataError: it is beyond `expansion_from` and more than `expansion` times the file.
    """
    if unpacked > value("expansion_from") and unpacked > value("expansion") * packed:
        size = f"{quantity(unpacked, 'bytes')} or more from {quantity(packed, 'bytes')}"
        raise exceeded("expansion", what, size, error)


def exceeded(name: str, what: object, found: str, error: type[Exception] = DataError) -> Exception:
    """The error for what is beyond a limit; `found` says how much it is, such as "3,000 columns"."""
    limit = TABLE[name]
    return error(
        f"{what}: {found}, over the limit of {quantity(value(name), limit.unit)} for {limit.bounds}. A file that is to be "
        f"trusted is read with {limit.variable} set higher."
    )


@contextlib.contextmanager
def memory_of(what: object, error: type[Exception] = DataError) -> Iterator[None]:
    """Say of a file that it took more memory than there is, instead of ending in a MemoryError.

    Raises:
        DataError: memory ran out.
    """
    try:
        yield
    except MemoryError:
        raise error(f"{what} takes more memory than this computer has free") from None


def check_settings() -> None:
    """Check every `ZOO_MAX_…` variable of the environment.

    Raises:
        UsageError: one names no limit, or has a wrong value.
    """
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and variable not in (every := [each.variable for each in _ALL]):
            raise UsageError(
                f"{variable} is set, but there is no such limit.{did_you_mean(variable, every)} See 'zoo info limits'."
            )
    for name in TABLE:
        value(name)


def quantity(number: float, unit: str) -> str:
    """A number in its unit: "3,000 columns", "512 MB", "1.5 GB"."""
    if unit == "bytes":
        for size, short in ((1e9, "GB"), (1e6, "MB")):
            if number >= size:
                return f"{number / size:,.4g} {short}" if number < 1000 * size else f"{number / size:,.0f} {short}"
    return f"{number:,.0f} {unit}"
