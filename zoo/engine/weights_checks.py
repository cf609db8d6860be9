"""What a weights file or saved network may claim and refer to, checked before an array is read or a layer is built."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from zoo.core import limits
from zoo.core.documents import parse_json
from zoo.core.errors import DataError, ZooError
from zoo.core.files import open_regular
from zoo.core.zips import BROKEN, member, open_zip

if TYPE_CHECKING:
    import h5py

WEIGHTS, CONFIG = "model.weights.h5", "config.json"
BROKEN_FILE = (*BROKEN, KeyError, TypeError)  # what h5py and zipfile raise for a damaged file
_PARTS = (WEIGHTS, CONFIG, "metadata.json")
_ASSETS = "assets/"
_RUN_CODE = ("Lambda", "TorchModuleWrapper", "__lambda__")  # layers whose configuration is code
_NUMBERS = "fiubc"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The weights in a `.keras` or `.h5` file, checked by `check_arrays`.

    Raises (on entering):
        DataError: it is no regular file, or not to be trusted.
        OSError, KeyError …: it is damaged; see `BROKEN_FILE`.
    """
    import h5py

    with contextlib.ExitStack() as stack:
        stack.enter_context(limits.memory_of(path))
        stream = stack.enter_context(open_regular(path))
        size = stream.seek(0, io.SEEK_END)
        if path.suffix == ".keras":
            archive = stack.enter_context(open_zip(stream, path))
            stream = io.BytesIO(member(archive, WEIGHTS, "weights_bytes", path))
        file = stack.enter_context(h5py.File(stream, "r"))
        check_arrays(file, size, path)
        yield file


def check_arrays(file: h5py.File, size: int, path: Path) -> None:
    """Check what a weights file claims: every array lies in it, is of numbers, and all together are within the limits.

    Args:
        file: open.
        size: bytes of the file on the disk.
        path: names it in messages.

    Raises:
        DataError: it has links, other files' data, arrays of something else than numbers, or is beyond a limit.
    """
    import h5py

    total, stored, members, seen = 0, 0, 0, {_place(file)}
    groups, longest = [file], _longest_list(file, path)
    while groups:
        group = groups.pop()
        for name in group:
            members += 1
            limits.check("weights_members", members, path)
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _strange(path, group, name, "is a link, which is not followed")
            each = group[name]
            if _place(each) in seen:
                raise _strange(path, group, name, "stands in it twice")
            seen.add(_place(each))
            longest = max(longest, _longest_list(each, path))
            if isinstance(each, h5py.Group):
                groups.append(each)
            elif isinstance(each, h5py.Dataset):
                total += _claimed(each, path, group, name)
                stored += each.id.get_storage_size()
                limits.check("weights_bytes", total, path)
            else:
                raise _strange(path, group, name, "is neither a group nor an array")
    limits.check_expansion(size, total, path)
    # each text of a list may be the same one, as long as all that is no array
    limits.check("weights_bytes", longest * max(file.id.get_filesize() - stored, 0), f"{path}, its lists of names")


def _place(each: Any) -> int:
    """Where an object lies in its file."""
    import h5py

    return int(h5py.h5o.get_info(each.id).addr)


def _claimed(array: h5py.Dataset, path: Path, group: h5py.Group, name: str) -> int:
    """The bytes that reading an array takes: its own, or those of one chunk."""
    if array.external or array.is_virtual:
        raise _strange(path, group, name, "has its values in another file, which is not read")
    if array.shape is None or array.dtype.kind not in _NUMBERS or array.dtype.hasobject:
        raise _strange(path, group, name, f"is no array of numbers (its type is {array.dtype})")
    return max(math.prod(array.shape), math.prod(array.chunks or (0,))) * int(array.dtype.itemsize)


def _strange(path: Path, group: Any, name: str, what: str) -> DataError:
    where = f"{group.name.rstrip('/')}/{name}"[:200]
    return DataError(f"the weights file {path} is not to be trusted: '{where}' {what}.")


def _longest_list(owner: Any, path: Path) -> int:
    """The most texts of any length that one attribute of a group or array lists."""
    limits.check("weights_members", len(owner.attrs), f"{path}, attributes of {owner.name[:200]}")
    longest = 0
    for name in owner.attrs:
        found = owner.attrs.get_id(name)
        number = math.prod(found.shape or ())
        limits.check("weights_members", number, f"{path}, attribute {name[:200]}")
        longest = max(longest, number if found.dtype.hasobject else 0)
    return longest


def network_config(path: Path) -> Any:
    """The configuration of the network in a `.keras` or older `.h5` file as plain values; None where it holds weights alone.

    Raises:
        DataError: it is not to be trusted, or beyond a limit of documents.
        OSError, KeyError …: it is damaged; see `BROKEN_FILE`.
    """
    if path.suffix == ".keras":
        with open_zip(path) as archive:
            return parse_json(member(archive, CONFIG, "document_bytes", path), f"{CONFIG} in {path}")
    with opened(path) as file:
        text = file.attrs.get("model_config")
        return None if text is None else parse_json(text, f"model_config in {path}")


def check_network(path: Path) -> Any:
    """Check a `.keras` file before Keras loads it; returns its configuration.

    Raises:
        ZooError: it is damaged, no regular file, holds other members than Keras writes, or layers that are code, or is beyond a
            limit; names the file.
    """
    try:
        with open_zip(path) as archive:
            for name in archive.namelist():
                parts = PurePosixPath(name.replace("\\", "/"))
                if name not in _PARTS and (not name.startswith(_ASSETS) or ".." in parts.parts):
                    raise DataError(
                        f"{path} cannot be loaded: it has a member that Keras does not write, {name[:200]!r}."
                    )
        config = network_config(path)
        if code := next(_code(config), None):
            raise DataError(f"{path} cannot be loaded: it has a {code} layer, whose code is not run.")
        with opened(path):
            pass
    except DataError:
        raise
    except FileNotFoundError:
        raise ZooError(f"{path} cannot be loaded: it is not there.") from None
    except BROKEN_FILE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise ZooError(f"{path} cannot be loaded, it may be damaged: {said}") from error
    return config


def _code(config: Any) -> Iterator[str]:
    """The kinds of layers in a configuration that are code."""
    if isinstance(config, dict):
        own = str(config.get("module") or "keras").partition(".")[0] in ("keras", "builtins")
        if own and config.get("class_name") in _RUN_CODE:
            yield str(config["class_name"]).strip("_")
        config = list(config.values())
    for each in config if isinstance(config, list) else ():
        yield from _code(each)
