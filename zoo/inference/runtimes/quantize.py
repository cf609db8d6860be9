"""Smaller converted networks: weights in half precision, or convolutions in 8-bit integers.

What follows the last convolution (pooling, the head, activation, calibration) stays in float32: it costs little, and steps of
1/256 would make equal what the network distinguishes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

LEAST_WEIGHTS = 64  # of an array worth storing in half precision
_LITERT_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
_ONNX_CONVOLUTIONS = ("Conv", "ConvTranspose")


def litert_int8(file: Path) -> None:
    """Quantise a calibrated LiteRT file, in place, to int8 convolutions with ranges per channel of the weights."""
    from tensorflow.lite.python.convert import mlir_quantize

    calibrated = file.read_bytes()
    file.write_bytes(mlir_quantize(calibrated, denylisted_nodes=_litert_tail(calibrated)))


def _litert_tail(content: bytes) -> list[str]:
    """The names of what follows the last convolution, or of the last matrix product where there is none."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    operations = interpreter._get_ops_details()
    kinds = [each["op_name"] for each in operations]
    start = _after_the_last(kinds, _LITERT_CONVOLUTIONS, ("FULLY_CONNECTED", "BATCH_MATMUL"))
    outputs = [int(index) for each in operations[start:] for index in each["outputs"]]
    return [interpreter._get_tensor_details(index, 0)["name"] for index in outputs]


def onnx_float16(file: Path) -> None:
    """Store the float32 weights of an ONNX file, in place, as float16; they become float32 when it is loaded."""
    import onnx

    model = onnx.load(file)
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
    onnx.save(model, file)


def onnx_int8(file: Path, samples: np.ndarray) -> None:
    """Quantise an ONNX file, in place, to int8 convolutions (quantise and dequantise nodes, ranges per channel).

    Args:
        file: a file with one input.
        samples: inputs `(N, ...)` that the ranges of activations are taken from.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Samples(CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._left = ({name: sample[None]} for sample in samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._left, None)

    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.onnx")
        quant_pre_process(file, ready, skip_symbolic_shape=True)
        model = onnx.load(ready)
        quantize_static(
            ready,
            file,
            Samples(model.graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_onnx_body(model),
        )


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
