"""Smaller forms of an exported file: half precision, and eight-bit integers. Input and output stay as they are."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from absld.export.onnx_file import INPUT, OUTPUT, finished
from absld.export.parity import Array


def fp16(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """The same network in half precision: 16 bits for each weight and activation.

    The converter's own way to keep float32 at the border gives a graph out of order, which onnx.checker refuses. So it
    converts the border too, and a Cast before the first node and one after the last put float32 back.

    Raises:
        onnx.checker.ValidationError: what came out is not valid ONNX.

    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx.load_from_string(model), keep_io_types=False)
    inner = {INPUT: f"{INPUT}_half", OUTPUT: f"{OUTPUT}_half"}
    for node in half.graph.node:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
    half.graph.node.insert(0, helper.make_node("Cast", [INPUT], [inner[INPUT]], to=TensorProto.FLOAT16))
    half.graph.node.append(helper.make_node("Cast", [inner[OUTPUT]], [OUTPUT], to=TensorProto.FLOAT))
    for tensor in (*half.graph.input, *half.graph.output):
        tensor.type.tensor_type.elem_type = TensorProto.FLOAT
    return finished(half, metadata)


class _Batches:
    """What onnxruntime's calibration asks for: one batch after the other, then None."""

    def __init__(self, batches: Iterable[Array]) -> None:
        self.left = iter(batches)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self.left, None)
        return None if batch is None else {INPUT: batch}


def int8(model: bytes, metadata: Mapping[str, str], calibration: Iterable[Array]) -> bytes:
    """The same network with signed eight-bit weights (a scale for each channel) and activations (one for each tensor).

    Args:
        model: The file.
        metadata: What the new file says of itself.
        calibration: Batches of images. The lowest and highest value of each activation over them set its scale.

    Raises:
        onnx.checker.ValidationError: what came out is not valid ONNX.

    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        whole, shaped, small = (Path(folder) / f"{name}.onnx" for name in ("whole", "shaped", "small"))
        whole.write_bytes(model)
        # shapes alone: BatchNorm is folded already, and the optimised graph would be one for this processor
        quant_pre_process(whole, shaped, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            shaped,
            small,
            _Batches(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        return finished(onnx.load(small), metadata)
