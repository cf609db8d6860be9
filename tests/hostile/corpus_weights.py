"""Hostile weights files and saved networks."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from harness import Case, outside

H5, KERAS = "w.weights.h5", "model.keras"
DENSE = {
    "module": "keras.layers",
    "class_name": "Dense",
    "config": {"name": "dense", "units": 1},
    "registered_name": None,
}


def setup() -> None:
    import h5py

    import zoo.engine.weights_files

    assert h5py
    assert zoo.engine.weights_files


def _arrays(change: Callable[[Any, Path], object], folder: Path, name: str = H5) -> None:
    """A small weights file as Keras writes it, and what `change` adds."""
    import h5py

    with h5py.File(folder / name, "w") as file:
        layer = file.create_group("layers/dense/vars")
        layer["0"], layer["1"] = np.ones((3, 2), "float32"), np.zeros(2, "float32")
        change(file, folder)


def _h5(change: Callable[[Any, Path], object] = lambda file, folder: None) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), "float32")
        change(file, Path())
    return stream.getvalue()


def _keras(folder: Path, *, method: int = zipfile.ZIP_STORED, **members: bytes | None) -> None:
    """A saved network; a member of None is left out."""
    parts = {"metadata.json": b"{}", "config.json": json.dumps(DENSE).encode(), "model.weights.h5": _h5()} | members
    with zipfile.ZipFile(folder / KERAS, "w", method) as archive:
        for name, data in parts.items():
            if data is not None:
                archive.writestr(name, data)


def _config(value: Any, folder: Path) -> None:
    _keras(folder, **{"config.json": value if isinstance(value, bytes) else json.dumps(value).encode()})


def _layers(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras", "class_name": "Sequential", "config": {"layers": list(layers)}}


def _secret(folder: Path) -> None:
    """Another file with an array under the usual name, and one of bare bytes."""
    import h5py

    with h5py.File(folder / "other.h5", "w") as file:
        file["layers/dense/vars/0"] = np.full((3, 2), 7, "float32")
    (folder / "other.bin").write_bytes(b"\x07" * 24)


def _external_link(target: str, file: Any, folder: Path) -> None:
    import h5py

    _secret(folder)
    file["layers/stolen"] = h5py.ExternalLink(target, "/layers/dense")


def _soft(target: str, file: Any, folder: Path) -> None:
    import h5py

    file["layers/soft"] = h5py.SoftLink(target)


def _external_storage(file: Any, folder: Path) -> None:
    _secret(folder)
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (3, 2), "float32", external=[("other.bin", 0, 24)])


def _virtual(file: Any, folder: Path) -> None:
    import h5py

    _secret(folder)
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "layers/dense/vars/0", (3, 2))
    file.create_virtual_dataset("layers/virtual", layout)


def _claim(shape: tuple[int, ...], chunks: tuple[int, ...] | None, file: Any, folder: Path) -> None:
    """An array of that shape of which nothing is written."""
    more = {"compression": "gzip"} if chunks else {}
    file.create_dataset("layers/large", shape, "float32", chunks=chunks, **more)


def _written(mb: int, file: Any, folder: Path) -> None:
    """An array of zeros, compressed chunk by chunk."""
    array = file.create_dataset("layers/large", (mb, 250_000), "float32", chunks=(10, 250_000), compression=9)
    block = np.zeros((10, 250_000), "float32")
    for start in range(0, mb, 10):
        array[start : start + 10] = block


def _typed(kind: str, file: Any, folder: Path) -> None:
    import h5py

    values: dict[str, tuple[Any, Any]] = {
        "text": (["a", "b"], h5py.string_dtype()),
        "fixed text": (np.array([b"a", b"b"]), None),
        "references": ([file["layers"].ref], h5py.ref_dtype),
        "compound": (np.zeros(2, [("a", "f4"), ("b", "i4")]), None),
        "ragged": ([np.arange(3, dtype="i4")], h5py.vlen_dtype("i4")),
        "opaque": (np.zeros(2, "V4"), None),
        "nothing": (h5py.Empty("f4"), None),
        "nested": (np.zeros(2, [("a", "f4", (1000, 1000))]), None),
    }
    data, dtype = values[kind]
    if kind == "ragged":
        file.create_dataset("layers/odd", (1,), dtype)[0] = data[0]
    else:
        file.create_dataset("layers/odd", data=data, dtype=dtype)


def _groups(number: int, file: Any, folder: Path) -> None:
    for n in range(number):
        file.create_group(f"g{n}")


def _names(file: Any, folder: Path) -> None:
    import h5py

    file.attrs.create("other", "x" * 60_000, dtype=h5py.string_dtype())
    for n in range(60):
        file["layers"].attrs.create(f"text{n}", "x" * 60_000, dtype=h5py.string_dtype())
    file.attrs.create("layer_names", ["dense"] * 4000, dtype=h5py.string_dtype())


def _not_finite(file: Any, folder: Path) -> None:
    file["layers/dense/vars/0"][0, 0] = np.nan


def _cycle(file: Any, folder: Path) -> None:
    file["layers/again"] = file["layers"]


def _twice(file: Any, folder: Path) -> None:
    file["layers/again"] = file["layers/dense/vars/0"]


def _stored_type(file: Any, folder: Path) -> None:
    file["a_type"] = np.dtype("f4")


def _unknown_filter(file: Any, folder: Path) -> None:
    array = file.create_dataset("layers/odd", (100,), "float32", chunks=(100,), compression="gzip")
    array[:] = 1
    array.id.write_direct_chunk((0,), b"not deflated")


def weights(folder: Path) -> bool:
    from zoo.engine.weights_files import check_file

    return check_file(folder / H5) is None


def network_weights(folder: Path) -> bool:
    from zoo.engine.weights_files import check_file

    return check_file(folder / KERAS) is None


def legacy(folder: Path) -> Any:
    from zoo.engine.weights_files import legacy_layers, open_file

    with open_file(folder / "w.h5") as file:
        return legacy_layers(file)


def network(folder: Path) -> Any:
    """What every load of a saved network begins with."""
    from zoo.engine.load import custom_layers

    return custom_layers(folder / KERAS)


def _bytes(name: str, data: bytes | Callable[[], bytes], folder: Path) -> None:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data())


def _part(begin: int, end: int | None) -> bytes:
    return _h5()[begin:end]


def _flipped(at: int) -> bytes:
    data = bytearray(_h5())
    data[at] ^= 0xFF
    return bytes(data)


def _special(kind: str, name: str, folder: Path) -> None:
    file = folder / name
    if kind == "FIFO":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "sparse":
        with file.open("wb") as stream:
            stream.truncate(10**11)
    elif kind == "link to nothing":
        file.symlink_to("nothing")
    else:
        file.symlink_to(kind)


NOT_TRUSTED = "not to be trusted"
CHANGES: dict[str, tuple[Callable[[Any, Path], object], str]] = {
    "an external link": (partial(_external_link, "other.h5"), "'/layers/stolen' is a link"),
    "an external link to itself": (partial(_external_link, H5), "'/layers/stolen' is a link"),
    "an external link to a device": (partial(_external_link, "/dev/zero"), "'/layers/stolen' is a link"),
    "an external link outside": (lambda f, d: _external_link(str(outside(d)), f, d), "'/layers/stolen' is a link"),
    "a soft link": (partial(_soft, "/layers/dense"), "'/layers/soft' is a link"),
    "a soft link to itself": (partial(_soft, "/layers/soft"), "'/layers/soft' is a link"),
    "a soft link to nothing": (partial(_soft, "/nothing"), "'/layers/soft' is a link"),
    "a soft link to its group": (partial(_soft, "/layers"), "'/layers/soft' is a link"),
    "external storage": (_external_storage, "'/layers/dense/vars/0' has its values in another file"),
    "a virtual array": (_virtual, "'/layers/virtual' has its values in another file"),
    "a group in itself": (_cycle, "stands in it twice"),
    "an array twice": (_twice, "stands in it twice"),
    "a stored type": (_stored_type, "neither a group nor an array"),
    "a claim of 6 GB": (partial(_claim, (1_500_000_000,), (1_000_000,)), "6 GB or more from .*EXPANSION"),
    "a claim of 6 GB in one piece": (partial(_claim, (1_500_000_000,), None), "6 GB or more from .*EXPANSION"),
    "a claim of 40 TB": (partial(_claim, (10**7, 10**6), (1000, 100)), "over the limit of 8 GB .*WEIGHTS_BYTES"),
    "a claim beyond 64 bits": (partial(_claim, (2**31, 2**31, 2**31), (1, 1, 2**10)), "WEIGHTS_BYTES"),
    "a chunk of 1 GB": (partial(_claim, (250_000_000,), (250_000_000,)), "1 GB or more from .*EXPANSION"),
    "300 MB of zeros": (partial(_written, 300), "300 MB or more from .*EXPANSION"),
    "text": (partial(_typed, "text"), "no array of numbers"),
    "fixed text": (partial(_typed, "fixed text"), "no array of numbers"),
    "references": (partial(_typed, "references"), "no array of numbers"),
    "compound values": (partial(_typed, "compound"), "no array of numbers"),
    "ragged values": (partial(_typed, "ragged"), "no array of numbers"),
    "opaque values": (partial(_typed, "opaque"), "no array of numbers"),
    "no values": (partial(_typed, "nothing"), "no array of numbers"),
    "nested values": (partial(_typed, "nested"), "no array of numbers"),
    "a list of texts of any length": (_names, "its lists of names: .*WEIGHTS_BYTES"),
    "NaN": (_not_finite, "not finite"),
    "a chunk that is not deflated": (_unknown_filter, "cannot be read, it may be damaged"),
}
CASES = [
    Case(f"weights: {what}", partial(_arrays, change), weights, words) for what, (change, words) in CHANGES.items()
]
CASES += [
    Case(f"older weights: {what}", partial(_arrays, CHANGES[what][0], name="w.h5"), legacy, CHANGES[what][1])
    for what in (
        "an external link",
        "external storage",
        "a virtual array",
        "a claim of 40 TB",
        "a list of texts of any length",
    )
]
SPECIAL = {
    "FIFO": "no regular file",
    "folder": "is a directory",
    "/dev/zero": "no regular file",
    "/proc/self/mem": "cannot|may be damaged",
    "sparse": "may be damaged|cannot be|not to be trusted",
    "link to nothing": "cannot|not there|may be damaged",
}
CASES += [
    Case(f"{name}: {kind}", partial(_special, kind, name), read, words)
    for kind, words in SPECIAL.items()
    for name, read in ((H5, weights), (KERAS, network), ("w.h5", legacy))
]
CASES += [
    Case(
        f"weights cut to bytes {begin} to {end}",
        partial(_bytes, H5, partial(_part, begin, end)),
        weights,
        "may be damaged",
    )
    for begin, end in ((0, 0), (0, 1), (0, 8), (0, 40), (0, 96), (0, 300), (0, 800), (0, 2000), (0, -1), (8, None))
]
CASES += [
    Case(f"weights with byte {at} changed", partial(_bytes, H5, partial(_flipped, at)), weights, "damaged|trusted|read")
    for at in (0, 3, 8, 13, 14, 24, 40, 48, 96, 136, 137, 160)
]
CASES += [
    Case(
        f"a network whose weights are {what}", partial(_keras, **{"model.weights.h5": data}), network, "damaged|trusted"
    )
    for what, data in (("none", b""), ("text", b"text"), ("a zip file", b"PK\x03\x04" + b"\0" * 99))
]


def _changed_inside(what: str, folder: Path) -> None:
    _arrays(CHANGES[what][0], folder)
    _keras(folder, **{"model.weights.h5": (folder / H5).read_bytes()})


CASES += [
    Case(f"{read.__name__}: {what} inside of a network", partial(_changed_inside, what), read, CHANGES[what][1])
    for what in ("an external link", "external storage", "a virtual array", "a group in itself", "a claim of 6 GB")
    for read in (network, network_weights)
]
CONFIGS: dict[str, tuple[Any, str]] = {
    "a lambda layer": (
        _layers({"module": "keras.layers", "class_name": "Lambda", "config": {}}),
        "Lambda layer, whose code",
    ),
    "a lambda function": (
        _layers({"class_name": "__lambda__", "config": {"value": "4wEA"}}),
        "lambda layer, whose code",
    ),
    "a lambda deep inside": ({"a": [{"b": [[{"module": "keras.layers", "class_name": "Lambda"}]]}]}, "Lambda layer"),
    "a module of Torch": (
        _layers({"module": "keras.layers", "class_name": "TorchModuleWrapper"}),
        "TorchModuleWrapper layer",
    ),
    "half": (b'{"module": "keras', "not JSON"),
    "nothing": (b"", "not JSON"),
    "deep": (b"[" * 200_000 + b"]" * 200_000, "DOCUMENT_DEPTH"),
    "a key twice": (b'{"class_name": "Dense", "class_name": "Lambda"}', "occurs twice"),
    "bytes that are no text": (b"\xff\xfe\xfd", "not JSON"),
}
CASES += [
    Case(f"a network's configuration: {what}", partial(_config, value), network, words)
    for what, (value, words) in CONFIGS.items()
]


def _large_config(size: int, folder: Path) -> None:
    _keras(folder, method=zipfile.ZIP_DEFLATED, **{"config.json": b" " * size + b"{}"})


def _twice_in(folder: Path) -> None:
    import warnings

    _keras(folder)
    with warnings.catch_warnings(), zipfile.ZipFile(folder / KERAS, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("config.json", b"{}")


CASES += [
    Case("a config.json of 200 MB", partial(_large_config, 200_000_000), network, "200 MB or more from .*EXPANSION"),
    Case(
        "a config.json of 40 MB",
        partial(_large_config, 40_000_000),
        network,
        "40 MB, over the limit of 16 MB .*DOCUMENT_BYTES",
    ),
    Case("two config.json", _twice_in, network, "two members named 'config.json'"),
    Case("no config.json", partial(_keras, **{"config.json": None}), network, "may be damaged"),
    Case("no weights", partial(_keras, **{"model.weights.h5": None}), network, "may be damaged"),
    Case("a member that leads out", partial(_keras, **{"assets/../../x": b"x"}), network, "Keras does not write"),
    Case("a member from the root", partial(_keras, **{"/tmp/x": b"x"}), network, "Keras does not write"),
    Case("a member more", partial(_keras, **{"run.py": b"x"}), network, "Keras does not write"),
    Case("a network that is text", partial(_bytes, KERAS, b"text"), network, "may be damaged"),
    Case("a network that is an HDF5 file", partial(_bytes, KERAS, _h5), network, "may be damaged"),
    Case("a network that is read", _keras, lambda f: network(f) == {}, None),
    Case("its weights are read", _keras, network_weights, None),
    Case("weights that are read", partial(_arrays, lambda file, folder: None), weights, None),
    Case("weights that are compressed are read", partial(_arrays, partial(_written, 10)), weights, None),
]
