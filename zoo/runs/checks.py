"""A run's folder is input as any other: what its files must be and hold, checked when it is opened."""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import Any, Literal

from zoo.core.documents import read_json, read_yaml
from zoo.core.errors import DataError

_FILES = (
    "config.yaml",
    "run.json",
    "data.json",
    "images.csv",
    "set_aside.csv",
    "metrics.csv",
    "model.keras",
    "ood.npz",
)
_SHOWN = ("report.html", "model-card.md", "checklists.csv", "checklists.json")
_PREFIXES = ("evaluation-", "results-")
_FOLDERS = ("predictions", "checkpoints", "explanations")


def check_files(run: Path) -> None:
    """Check that each file of a run is a regular file within its folder, as far as it is there.

    Raises:
        DataError: one is a directory, a FIFO, a device, or a link that leads elsewhere; names it.
    """
    root = os.path.realpath(run)
    try:
        names = [name for name in os.listdir(run) if name in (*_FILES, *_SHOWN) or name.startswith(_PREFIXES)]
        inner = [
            f"{folder}/{name}" for folder in _FOLDERS if (run / folder).is_dir() for name in os.listdir(run / folder)
        ]
        for name in [*names, *inner, *_FOLDERS]:
            _check_file(run / name, root, name in _FOLDERS)
    except OSError as error:
        raise DataError(f"the run {run} cannot be read: {error.strerror}.") from None


def _check_file(file: Path, root: str, folder: bool) -> None:
    try:
        mode = file.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        real = os.path.realpath(file)
        if not real.startswith(root + os.sep) or not os.path.exists(real):
            raise DataError(
                f"{file} is a link that leads out of the run's folder, which is not followed: copy the file there."
            )
        mode = os.stat(real).st_mode
    inner = file.parent.name in _FOLDERS and stat.S_ISDIR(mode)  # such as explanations/maps
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode) or inner):
        raise DataError(
            f"{file} is no regular {'folder' if folder else 'file'}: it was damaged. Restore it from a copy."
        )


def read_info(run: Path) -> dict[str, Any]:
    """run.json of a run, checked.

    Raises:
        DataError: it is missing, damaged, or holds something of another kind than zoo writes; names the file and the key.
    """
    found = _read(run / "run.json", _info())
    thresholds, labels = found.get("thresholds"), found.get("labels")
    if thresholds and labels and not set(thresholds) <= set(labels):
        raise DataError(
            f"{run / 'run.json'} has thresholds of other labels than it lists: it was damaged. Restore it from a copy."
        )
    if labels and len(set(labels)) < len(labels):
        raise DataError(f"{run / 'run.json'} lists a label twice: it was damaged. Restore it from a copy.")
    return found


def read_data(run: Path) -> dict[str, Any]:
    """data.json of a run, checked; errors as for `read_info`."""
    return _read(run / "data.json", _data())


def read_config(run: Path) -> dict[str, Any]:
    """config.yaml of a run, checked; errors as for `read_info`."""
    return _read(run / "config.yaml", _config(), read_yaml)


def _read(file: Path, kind: Any, reader: Any = read_json) -> dict[str, Any]:
    import pydantic

    try:
        found = reader(file)
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}): this is not a complete run.") from None
    except DataError as error:
        raise DataError(
            f"{str(error).removesuffix('.')}. This run was damaged: restore the file from a copy."
        ) from None
    if not isinstance(found, dict):
        raise DataError(f"{file} holds no settings: it was damaged. Restore it from a copy.")
    try:
        kind.model_validate(found)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(
            str(part)[:60] for part in first["loc"] if not str(part).startswith(("function-", "dict[", "str", "union"))
        )
        raise DataError(
            f"{file} is damaged: {key} is {repr(first['input'])[:80]} ({first['msg'].lower()}). Restore it from a copy."
        ) from None
    return found


@functools.cache
def _info() -> Any:
    from typing import Annotated

    from pydantic import Field

    text: Any = dict[str, str]
    count: Any = Annotated[int, Field(ge=0)]
    number: Any = _finite()
    return _shape(
        status=str,
        task=Literal["binary", "multilabel", "multiclass"],
        labels=Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)],
        model=str,
        image_size=Annotated[int, Field(ge=1, le=20_000)] | None,
        thresholds=dict[str, number] | None,
        threshold_rule=dict[str, Any] | None,
        seconds=Annotated[number, Field(ge=0)],
        predictions=text | None,
        versions=text,
        plugins=list[text] | None,
        best_epoch=count | None,
        monitor=str,
        checkpoint_every=count | None,
        resumed=list[str],
        track=list[str],
        started=str,
        command=str,
        device=str,
    )


@functools.cache
def _data() -> Any:
    from typing import Annotated

    from pydantic import Field

    count: Any = Annotated[int, Field(ge=0)]
    number: Any = _finite()
    return _shape(
        dataset=str,
        root=str | None,
        store=str,
        fingerprint=str,
        split=str,
        images=dict[str, count],
        patients=dict[str, count | None],
        positive=dict[str, dict[str, Annotated[number, Field(ge=0)]]],
        set_aside=count,
        filtered_out=count | None,
        limited_out=count | None,
        notes=list[str],
        patients_known=bool,
        sources=dict[str, str | None] | None,
        weights_digest=str | None,
    )


@functools.cache
def _config() -> Any:
    from typing import Annotated

    from pydantic import Field

    count: Any = Annotated[int, Field(ge=0)]
    named: Any = dict[str, Any] | str
    sections = dict.fromkeys(("data", "model", "loss", "augment", "optimizer", "schedule"), named)
    return _shape(
        **sections, task=str, seed=count, epochs=count, batch_size=Annotated[int, Field(ge=1)], image_size=count | None
    )


def _finite() -> Any:
    from typing import Annotated

    from pydantic import Field

    return Annotated[float, Field(allow_inf_nan=False)]


def _shape(**keys: Any) -> Any:
    """What checks a mapping: each of these keys is of its kind where it is there; others are let pass."""
    import pydantic

    fields: dict[str, Any] = {name: (kind, None) for name, kind in keys.items()}
    config = pydantic.ConfigDict(strict=True, extra="allow", protected_namespaces=())
    return pydantic.create_model("shape", __config__=config, **fields)
