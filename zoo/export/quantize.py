"""Smaller exported files: weights in half precision, or arithmetic in 8-bit integers with ranges from training images.

What comes after the last convolution (pooling, the head, activation, calibration) stays in float32: it is little work, and 256
steps would make equal what the network tells apart. Resizing is whole numbers already and is not touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.inference.runtimes.convert import quiet

LEAST_WEIGHTS = 64  # of an array worth storing in half precision
_LITERT_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_ONNX_CONVOLUTIONS = ("Conv", "ConvTranspose")


def litert_int8(model: Any, file: Path, samples: np.ndarray | None) -> None:
    """Write a model with uint8 input `(N, H, W, 1)` as LiteRT with int8 convolutions (per-channel weights).

    Args:
        model: a Keras model on the TensorFlow backend.
        file: where to.
        samples: images uint8 `(N, S, S)` that the ranges of activations are taken from.

    Raises:
        ZooError: the converter fails.
    """
    import keras
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    images = _at_least_some(samples)

    def batches() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[None, ..., None]]

    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            spec = keras.InputSpec(shape=(None, None, None, 1), dtype="uint8", name="image")
            model.export(folder, format="tf_saved_model", input_signature=[spec], verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = batches
            # the two steps of tf.lite.experimental.QuantizationDebugger: no other way leaves single operations in float32
            converter._experimental_calibrate_only = True
            calibrated = converter.convert()
            content = mlir_quantize(calibrated, denylisted_nodes=_litert_tail(calibrated))
    except Exception as error:
        raise ZooError(f"{model.name} cannot be quantised for LiteRT: {' '.join(str(error).split())[:300]}") from error
    file.write_bytes(content)


def _litert_tail(content: bytes) -> list[str]:
    """The names of what follows the last convolution, or of the last matrix product where there is none."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    operations = interpreter._get_ops_details()
    kinds = [each["op_name"] for each in operations]
    start = _after_the_last(kinds, _LITERT_CONVOLUTIONS, ("FULLY_CONNECTED", "BATCH_MATMUL"))
    outputs = [int(index) for each in operations[start:] for index in each["outputs"]]
    return [interpreter._get_tensor_details(index, 0)["name"] for index in outputs]


def onnx_float16(model: Any) -> None:
    """Store the float32 weights of an ONNX model, in place, as float16, turned into float32 when it is loaded."""
    import onnx

    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or np.prod(weight.dims) < LEAST_WEIGHTS:
            continue
        name = weight.name
        largest = np.finfo(np.float16).max
        values = np.clip(onnx.numpy_helper.to_array(weight), -largest, largest).astype(np.float16)
        weight.CopyFrom(onnx.numpy_helper.from_array(values, f"{name}/float16"))
        casts.append(onnx.helper.make_node("Cast", [weight.name], [name], f"{name}/cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def onnx_int8(model: Any, samples: np.ndarray | None) -> Any:
    """An ONNX model with int8 convolutions (quantise and dequantise nodes, per-channel weights); arguments as `litert_int8`."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    images = _at_least_some(samples)
    name = model.graph.input[0].name

    class TrialImages(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {name: image[None, ..., None]}

    with tempfile.TemporaryDirectory() as folder, quiet():
        whole, ready, file = (Path(folder, f"{name}.onnx") for name in ("whole", "ready", "int8"))
        try:
            onnx.save(model, whole)
            quant_pre_process(whole, ready, skip_symbolic_shape=True)
            body = _onnx_body(onnx.load(ready))
            quantize_static(
                ready,
                file,
                TrialImages(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=body,
            )
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise ZooError(f"{model.graph.name} cannot be quantised for ONNX: {text}") from error
        return onnx.load(file)


def _onnx_body(model: Any) -> list[str]:
    """The names of the operations from the first convolution to the last, or of the matrix products where there is none."""
    kinds = [node.op_type for node in model.graph.node]
    weighty = _ONNX_CONVOLUTIONS if any(kind in _ONNX_CONVOLUTIONS for kind in kinds) else ("MatMul", "Gemm")
    start = next((i for i, kind in enumerate(kinds) if kind in weighty), len(kinds))
    end = _after_the_last(kinds, weighty, ())
    return [node.name for node in model.graph.node[start:end]]


def _after_the_last(kinds: list[str], wanted: tuple[str, ...], otherwise: tuple[str, ...]) -> int:
    for chosen in (wanted, otherwise):
        found = [i for i, kind in enumerate(kinds) if kind in chosen]
        if found:
            return found[-1] + (1 if chosen is wanted else 0)
    return len(kinds)


def _at_least_some(samples: np.ndarray | None) -> np.ndarray:
    from zoo.inference.runtimes.convert import LEAST_SAMPLES

    given = 0 if samples is None else len(samples)
    if samples is None or given < LEAST_SAMPLES:
        raise ZooError(f"int8 takes its ranges from at least {LEAST_SAMPLES} training images; {given} could be read.")
    return samples
