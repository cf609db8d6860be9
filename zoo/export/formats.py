"""The formats of exported files: writing each, giving it its metadata, and running it again."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.files import replacing
from zoo.export.preprocess import graph_resizing, keras_resizing, onnx_resizing
from zoo.inference.runtimes.convert import quiet, to_litert, to_onnx

METADATA_FILE = "zoo-metadata.json"  # inside the file; `metadata.json` of a .keras file is Keras' own
OUTPUT = "probabilities"
EITHER = "gray pixels (N, H, W, 1) in [0, 255], uint8 or float, any N, H and W; images need not be square"
BYTES = "gray pixels (N, H, W, 1), uint8, any N, H and W; images need not be square"

# an image (H, W) uint8 -> probabilities (K,) float32
Runner = Callable[[np.ndarray], np.ndarray]
# a Keras tensor (N, H, W, 1), size -> (N, size, size, 1)
Resize = Callable[[Any, int], Any]
Assembled = Callable[[Resize | None, str], Any]


@dataclass(frozen=True)
class Format:
    """One format: its suffix, the input in words, the values of --quantize it knows, and the extra it needs."""

    name: str
    suffix: str
    images: str
    quantize: tuple[str, ...] = ()
    extra: str = ""
    modules: tuple[str, ...] = ()


FORMATS = {
    each.name: each
    for each in (
        Format("keras", ".keras", EITHER),
        Format("savedmodel", ".savedmodel", EITHER),
        Format("litert", ".tflite", BYTES, ("float16", "int8"), "litert", ("ai_edge_litert",)),
        Format("onnx", ".onnx", BYTES, ("float16", "int8"), "onnx", ("onnx", "onnxruntime", "tf2onnx")),
    )
}


def check_format(name: str, quantization: str | None) -> Format:
    """The format of that name, for that quantisation.

    Raises:
        UsageError: the format cannot be quantised so.
        ZooError: what it needs is not installed.
    """
    form = FORMATS[name]
    if quantization is not None and quantization not in form.quantize:
        valid = ", ".join(f"{each.name} ({', '.join(each.quantize)})" for each in FORMATS.values() if each.quantize)
        raise UsageError(
            f"{name} has no --quantize {quantization}: Keras computes convolutions in floating point alone, and its weights "
            f"keep their precision. Valid: {valid}."
        )
    missing = [module for module in form.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ZooError(
            f"--format {name} needs {' and '.join(missing)}, to write the file and to check it. Install the extra: "
            f"pip install 'cxr-zoo[{form.extra}]'"
        )
    return form


def write(form: Format, file: Path, assembled: Assembled, quantization: str | None, samples: np.ndarray | None) -> None:
    """Write the file, without metadata.

    Args:
        form: of what format.
        file: where to; the caller renames it when it is whole.
        assembled: gives the model of `network.assemble` for a way to resize and a type of input.
        quantization: float16, int8 or None.
        samples: prepared images uint8 `(N, S, S)`, which int8 takes its ranges from.

    Raises:
        ZooError: the format cannot express the network.
    """
    inputs = None if samples is None else samples[..., None]
    given: Any = quantization
    if form.name == "keras":
        assembled(keras_resizing, "float32").save(file)
    elif form.name == "savedmodel":
        _write_savedmodel(assembled(graph_resizing, "float32"), assembled(graph_resizing, "uint8"), file)
    elif form.name == "litert":
        to_litert(assembled(graph_resizing, "uint8"), file, dtype="uint8", quantize=given, samples=inputs)
    else:
        _write_onnx(assembled(None, "float32"), file, quantize=given, samples=inputs)


def _write_savedmodel(floats: Any, bytes_: Any, folder: Path) -> None:
    """Two signatures: `serving_default` for uint8 pixels, `serve_float` for float32 ones, both giving `probabilities`."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ZooError("a SavedModel is written on the TensorFlow backend alone. Set KERAS_BACKEND=tensorflow.")
    archive = keras.export.ExportArchive()
    for name, model, dtype in (("serve", bytes_, "uint8"), ("serve_float", floats, "float32")):
        spec = keras.InputSpec(shape=(None, None, None, 1), dtype=dtype, name="image")
        archive.add_endpoint(name, _named(model), input_signature=[spec])
    try:
        with quiet():
            archive.write_out(folder, verbose=False)
    except OSError as error:
        raise ZooError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _named(model: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda image: {OUTPUT: model(image, training=False)}


def _write_onnx(model: Any, file: Path, **options: Any) -> None:
    """As `to_onnx`, with resizing in front, and names for the axes that vary and for the output."""
    import onnx

    to_onnx(model, file, **options)
    network = onnx.load(file)
    network.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "images"
    _rename_output(network, OUTPUT)
    onnx.save(onnx_resizing(network, int(model.input_shape[1])), file)


def _rename_output(model: Any, name: str) -> None:
    output = model.graph.output[0]
    for node in model.graph.node:
        node.output[:] = [name if each == output.name else each for each in node.output]
        node.input[:] = [name if each == output.name else each for each in node.input]
    output.name = name


def add_metadata(form: Format, file: Path, metadata: dict[str, Any]) -> None:
    """Put the metadata into the file: readers of the format pass over it, or have a place for it."""
    text = json.dumps(metadata, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if form.name == "savedmodel":
        (file / "assets").mkdir(exist_ok=True)
        (file / "assets" / METADATA_FILE).write_text(text, encoding="utf-8")
    elif form.name == "onnx":
        import onnx

        model = onnx.load(file)
        values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        onnx.helper.set_model_props(model, values)
        model.doc_string = str(metadata["research_only"])
        onnx.save(model, file)
    else:  # a .keras file is a zip archive; to a LiteRT file one may be appended, as its metadata convention has it
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(METADATA_FILE, text)


def read_metadata(file: Path) -> dict[str, Any]:
    """The metadata of an exported file; what was no text in an ONNX file stays JSON's text."""
    if file.is_dir():
        text = (file / "assets" / METADATA_FILE).read_text(encoding="utf-8")
    elif file.suffix == ".onnx":
        import onnx

        return {each.key: each.value for each in onnx.load(file, load_external_data=False).metadata_props}
    else:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(METADATA_FILE).decode()
    return dict(json.loads(text))


def open_file(form: Format, file: Path) -> Runner:
    """A function from an image `(H, W)` uint8 to the file's probabilities `(K,)`, by the format's own runtime."""
    return _RUNNERS[form.name](file)


def _run_keras(file: Path) -> Runner:
    import keras

    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    return lambda image: np.asarray(model.predict_on_batch(image[None, ..., None]))[0]


def _run_savedmodel(file: Path) -> Runner:
    import keras

    layer = keras.layers.TFSMLayer(file, call_endpoint="serving_default")
    return lambda image: np.asarray(layer(image[None, ..., None])[OUTPUT])[0]


def _run_litert(file: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(model_path=str(file))
        interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    shape: list[tuple[int, ...]] = [()]

    def run(image: np.ndarray) -> np.ndarray:
        if image.shape != shape[0]:
            interpreter.resize_tensor_input(into, (1, *image.shape, 1))
            interpreter.allocate_tensors()
            shape[0] = image.shape
        interpreter.set_tensor(into, np.ascontiguousarray(image[None, ..., None]))
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(out))[0]

    return run


def _run_onnx(file: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # warnings about its own optimisations say nothing to a user
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: np.asarray(session.run([OUTPUT], {name: image[None, ..., None]})[0])[0]


_RUNNERS = {"keras": _run_keras, "savedmodel": _run_savedmodel, "litert": _run_litert, "onnx": _run_onnx}


@contextmanager
def replacing_export(path: Path, form: Format) -> Iterator[Path]:
    """Yield a temporary path beside `path`, for a file or a folder; on success it takes the place of what lay there.

    Raises:
        UsageError: something else than an earlier export lies there.
        ZooError: nothing can be written there.
    """
    check_target(path, form)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if form.name != "savedmodel":
            with replacing(path) as partial:
                yield partial
            return
    except OSError as error:
        raise ZooError(f"{path} cannot be written: {error.strerror or error}.") from error
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    old = path.with_name(f".replaced-{os.getpid()}-{path.name}")
    try:
        yield partial
        if path.exists():
            path.rename(old)
        partial.rename(path)
    except OSError as error:
        raise ZooError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def check_target(path: Path, form: Format) -> None:
    """Refuse to write over anything but a file, or for a SavedModel over anything but a SavedModel."""
    if form.name == "savedmodel":
        if path.exists() and not (path / "saved_model.pb").is_file() and not _is_empty(path):
            raise UsageError(f"{path} exists and is no SavedModel: it is left alone. Choose another --out.")
    elif path.is_dir():
        raise UsageError(f"{path} is a folder; --out names the file, such as {path / f'model{form.suffix}'}.")
    elif path.suffix != form.suffix:
        raise UsageError(f"a file of the format {form.name} ends in {form.suffix}, not '{path.name}'.")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
