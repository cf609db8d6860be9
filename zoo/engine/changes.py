"""Changes since a run began: images, software, device, and the files its network is built from."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.config.run_config import REGISTERED, RunConfig
from zoo.config.weights import weights_file
from zoo.core.calls import call
from zoo.core.cells import csv_text
from zoo.core.contracts import Model
from zoo.core.errors import UsageError
from zoo.core.registry import Entry, Registry
from zoo.data.pipeline import ImageSet
from zoo.engine import devices
from zoo.runs.run import Run

logger = logging.getLogger(__name__)

# what decides the numbers; the platform's text changes with every kernel
DECISIVE = ("cxr-zoo", "python", "keras", "tensorflow", "jax", "numpy")


@dataclass(frozen=True)
class Changes:
    """Refuses to resume after a change, or logs it where the user allowed changes."""

    allowed: bool

    def accept(self, changes: Iterable[str]) -> None:
        """Log the changes if they are allowed; raise UsageError otherwise."""
        found = "; ".join(changes)
        if not found:
            return
        if not self.allowed:
            raise UsageError(
                f"since the run began {found}. Resuming would not reproduce the uninterrupted run. Undo the change, or "
                "accept it with --allow-changed."
            )
        logger.warning(f"accepted: since the run began {found}")


def software(config: RunConfig, registry: Registry) -> dict[str, str]:
    """Versions of the software that determines a run's result, plugin distributions included."""
    return devices.versions() | {
        o.distribution: o.version for entry in entries_of(config, registry) for o in entry.origins
    }


def entries_of(config: RunConfig, registry: Registry) -> list[Entry]:
    """The strategies and the recipe of a configuration."""
    names = {kind: getattr(config, section).name for section, kind in REGISTERED.items()}
    if config.settings.recipe is not None:
        names["recipe"] = config.settings.recipe
    return [registry.entry(kind, name) for kind, name in names.items()]


def plugins_of(config: RunConfig, registry: Registry) -> list[dict[str, str]]:
    """What comes from plugins, for run.json: kind, name, plugin, distribution and version of each."""
    parts = [part for entry in entries_of(config, registry) for part in entry.parts or (entry,)]
    return [
        {"kind": p.kind, "name": p.name, "plugin": o.plugin, "distribution": o.distribution, "version": o.version}
        for p in parts
        if not (o := p.origin).own
    ]


def changed_software(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One phrase per relevant version that differs."""
    names = [n for n in dict.fromkeys([*before, *now]) if n in DECISIVE or n not in devices.versions()]
    return [
        f"{name} changed from {before.get(name, 'none')} to {now.get(name, 'none')}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def images_table(images: ImageSet) -> str:
    """images.csv: every image with the digest of its pixels and its labels (`label:NAME`)."""
    digests = images.store.table["digest"].to_numpy()[images.rows]
    labels = {f"label:{name}": images.labels[:, k] for k, name in enumerate(images.task.labels)}
    return csv_text(images.kept_table.assign(digest=digests, **labels))


def changed_images(run: Run, images: ImageSet) -> list[str]:
    """How the images differ from those in data.json and images.csv."""
    kept = run.data()
    text = images_table(images)
    before = (run.path / "images.csv").read_bytes().decode()  # as written: `read_text` would alter line ends
    same_store = kept["fingerprint"] == images.store.fingerprint
    if before == text:
        files = f"the image files or their preparation changed (fingerprint {kept['fingerprint']}, now {images.store.fingerprint})"
        return [] if same_store else [f"{files}, though not their pixels and labels"]
    old, new = (
        pd.read_csv(io.StringIO(t), dtype=str, keep_default_na=False).set_index("image") for t in (before, text)
    )
    counts = {
        "added": len(new.index.difference(old.index)),
        "removed": len(old.index.difference(new.index)),
    }
    both = old.index.intersection(new.index)
    for what, columns in _compared([*old.columns, *new.columns]).items():
        sides = [table.loc[both].reindex(columns=columns) for table in (old, new)]
        counts[f"with {what} changed"] = int((sides[0].fillna("") != sides[1].fillna("")).any(axis=1).sum())
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    return [f"the images changed: {', '.join(parts) or 'their order'}"]


def _compared(columns: list[str]) -> dict[str, list[str]]:
    names = list(dict.fromkeys(columns))
    labels = [name for name in names if name.startswith("label:")]
    known = {"pixels": ["digest"], "split": ["split"], "labels": labels}
    rest = [name for name in names if name not in ("digest", "split", *labels)]
    return known | {"other columns": rest}


def weights_digest(weights: str | None) -> str | None:
    """Digest of the initial weights file; None for published or random weights."""
    if weights is None or not Path(weights).exists():
        return None
    return _digest(weights_file(weights))


def changed_weights(data: Mapping[str, Any], weights: str | None) -> list[str]:
    """A phrase if the initial weights file has changed."""
    if data.get("weights_digest") == weights_digest(weights):
        return []
    return [f"the weights in {weights} changed"]


def source_digests(model: Model, options: Any) -> dict[str, str | None]:
    """Digest of each file a network is built from; None for a missing one."""
    return {str(file): _digest(file) if file.is_file() else None for file in call(model.sources, options)}


def changed_sources(data: Mapping[str, Any], model: Model, options: Any) -> list[str]:
    """A phrase for each file a network is built from that has changed."""
    before = data.get("sources") or {}
    return [
        f"{file} {'changed' if digest else 'was removed'}"
        for file, digest in source_digests(model, options).items()
        if before.get(file) != digest
    ]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
