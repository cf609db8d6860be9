"""Write docs/licences.md, the licences of what zoo installs and of what its wheels bundle: `python docs/generate_licences.py`.

Read from the installed packages of base and extras, with what they need in turn; when which was last released from
docs/releases.csv, where dates of versions that looked old were looked up once.
"""

from __future__ import annotations

import configparser
import csv
import importlib.metadata as metadata
import platform
import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
TARGET, RELEASES = ROOT / "docs" / "licences.md", ROOT / "docs" / "releases.csv"
FOR_DEVELOPERS = {"test", "docs", "dev"}
SAME = {"gpu"}  # the packages of another extra, or of the base, built otherwise
YEARS = 2
# where the metadata hold the whole text or nothing: read in the licence file of the wheel
READ = {
    "cycler": "BSD-3-Clause",
    "kagglehub": "Apache-2.0",
    "matplotlib": "PSF-like (Matplotlib)",
    "mlflow-skinny": "Apache-2.0",
    "namex": "Apache-2.0",
}
# the libraries in folders NAME.libs: by the beginning of their file names; licences as their projects state them
LIBRARIES = {
    "libXau": ("libXau", "MIT"),
    "libaec": ("libaec", "BSD-2-Clause"),
    "libavif": ("libavif", "BSD-2-Clause"),
    "libbrotli": ("Brotli", "MIT"),
    "libcrc32c": ("crc32c", "BSD-3-Clause"),
    "libcrypto": ("OpenSSL", "OpenSSL and SSLeay; Apache-2.0 from 3.0"),
    "libfreetype": ("FreeType", "FTL or GPL-2.0"),
    "libgfortran": ("GNU Fortran runtime", "GPL-3.0 with GCC runtime exception"),
    "libgomp": ("GNU OpenMP runtime", "GPL-3.0 with GCC runtime exception"),
    "libharfbuzz": ("HarfBuzz", "MIT"),
    "libhdf5": ("HDF5", "BSD-3-Clause"),
    "libjpeg": ("libjpeg-turbo", "IJG, BSD-3-Clause and Zlib"),
    "liblcms2": ("Little CMS", "MIT"),
    "liblzma": ("XZ Utils", "0BSD"),
    "libopenblas": ("OpenBLAS, with LAPACK", "BSD-3-Clause"),
    "libopenjp2": ("OpenJPEG", "BSD-2-Clause"),
    "libpng": ("libpng", "libpng-2.0"),
    "libquadmath": ("GCC quad-precision runtime", "LGPL-2.1-or-later"),
    "libscipy_openblas": ("OpenBLAS, with LAPACK", "BSD-3-Clause"),
    "libsharpyuv": ("libwebp", "BSD-3-Clause"),
    "libssl": ("OpenSSL", "OpenSSL and SSLeay; Apache-2.0 from 3.0"),
    "libsz": ("libaec", "BSD-2-Clause"),
    "libtiff": ("LibTIFF", "libtiff"),
    "libwebp": ("libwebp", "BSD-3-Clause"),
    "libxcb": ("libxcb", "MIT"),
    "libzstd": ("Zstandard", "BSD-3-Clause"),
}


HEAD = """\
# Licences

zoo is under Apache-2.0. These are the licences that the packages it asks for state, and those of the libraries that their
wheels bring along (Linux, {machine}, Python {python}). Made by `python docs/generate_licences.py`.
"""
LINKED = """\
Libraries that are linked into a module (as in isal, kornia-rs, onnx, pylibjpeg-openjpeg, python-gdcm and TensorFlow) are
named in the licence files of those wheels. The OpenSSL that python-gdcm brings is 1.1.1, which is no longer maintained: GDCM
has it for anonymising, and zoo, which only decodes pixels with GDCM, in a process of its own, does not call it.
"""


def plain(name: str) -> str:
    """The normalised name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> dict[str, list[Requirement]]:
    """What zoo asks for: the base and each extra for users."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    texts = {"base": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {
        name: [Requirement(line) for line in text.split("\n") if line.strip()]
        for name, text in texts.items()
        if name not in FOR_DEVELOPERS | SAME
    }


def installed(requirements: Iterable[Requirement]) -> dict[str, metadata.Distribution]:
    """The packages asked for with all that they need in turn, as they are installed here."""
    todo, seen = list(requirements), set()
    found: dict[str, metadata.Distribution] = {}
    while todo:
        wanted = todo.pop()
        key = plain(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            package = metadata.distribution(wanted.name)
        except metadata.PackageNotFoundError:
            continue
        found[key[0]] = package
        for each in map(Requirement, package.requires or []):
            if each.marker is None or any(each.marker.evaluate({"extra": x}) for x in wanted.extras or {""}):
                todo.append(each)
    return found


def licence(package: metadata.Distribution) -> str:
    """The licence that a package states."""
    fields = package.metadata
    classes = [
        each.rpartition(" :: ")[2] for each in fields.get_all("Classifier") or [] if each.startswith("License ::")
    ]
    text = fields.get("License") or ""
    short = text if 0 < len(text) < 40 and "\n" not in text else ""
    expression = fields.get("License-Expression") or READ.get(plain(fields["Name"]))
    return expression or ", ".join(classes) or short or "see its licence file"


def bundled(package: metadata.Distribution) -> list[str]:
    """The files of shared libraries of others that a wheel brings."""
    return sorted({file.name for file in package.files or [] if re.search(r"\.(libs|dylibs)$", file.parent.name)})


def library(file: str) -> tuple[str, str]:
    """A library's name and licence, by its file."""
    starts = [each for each in LIBRARIES if file.startswith(each)]
    return LIBRARIES[max(starts, key=len)] if starts else (file, "see the licence files of the wheel")


def old() -> list[dict[str, str]]:
    """Packages without a release for years, when the dates were looked up."""
    with RELEASES.open(newline="") as table:
        rows = list(csv.DictReader(table))
    return [
        row
        for row in rows
        if (date.fromisoformat(row["looked_up"]) - date.fromisoformat(row["released"])).days > YEARS * 365.25
    ]


def page() -> str:
    """The page as Markdown."""
    asked = declared()
    every = installed(each for wanted in asked.values() for each in wanted)
    direct = {plain(each.name) for wanted in asked.values() for each in wanted}
    lines = [
        HEAD.format(machine=platform.machine(), python=platform.python_version()),
        "## Packages that zoo asks for",
        "",
        "| package | version seen | licence | of |",
        "| --- | --- | --- | --- |",
    ]
    for part, wanted in asked.items():
        for name in sorted(plain(each.name) for each in wanted):
            package = every.get(name)
            seen = (package.version, licence(package)) if package else ("–", "not installed here")
            lines.append(f"| {name} | {seen[0]} | {seen[1]} | {'base' if part == 'base' else f'`[{part}]`'} |")
    lines += ["", "`[gpu]` is TensorFlow with NVIDIA's CUDA libraries, which are under NVIDIA's own licence.", ""]
    lines += ["## Libraries in their wheels", ""]
    lines += ["| library | licence | files | in |", "| --- | --- | --- | --- |"]
    brought = [(*library(file), file, name) for name, package in every.items() for file in bundled(package)]
    lines += [f"| {title} | {terms} | `{file}` | {name} |" for title, terms, file, name in sorted(brought)]
    lines += [
        "",
        LINKED,
        "## Without a release for two years",
        "",
        "| package | version | released | why it stays |",
        "| --- | --- | --- | --- |",
        *(f"| {row['package']} | {row['version']} | {row['released']} | {row['why']} |" for row in old()),
        "",
        "## What these need in turn",
        "",
        "| package | version seen | licence |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {each.version} | {licence(each)} |"
            for name, each in sorted(every.items())
            if name not in direct
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page())
