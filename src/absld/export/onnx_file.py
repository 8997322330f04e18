"""A network as one ONNX file: any batch size, normalisation inside, logits out, nothing of the builder's machine."""

from collections.abc import Mapping
from typing import Any

import onnx
import torch
from torch import nn

INPUT, OUTPUT, BATCH = "images", "logits", "batch"
TRACED_BATCH = 2
"""A batch of one may be taken for a constant by the exporter; two is not."""


def to_onnx(student: nn.Module, image: tuple[int, int, int], opset: int, metadata: Mapping[str, str]) -> bytes:
    """The bytes of an ONNX file that computes what `student` computes.

    The input `images` is float32 (batch, channels, height, width) in [0, 1], the output `logits` float32
    (batch, classes), without softmax. BatchNorm is folded into the convolutions by the exporter. The same network gives
    the same bytes in every folder and process.

    Args:
        student: In evaluation mode, on the CPU; normalises its input itself.
        image: Channels, height and width.
        opset: ONNX operator set.
        metadata: Text by name, stored at the model's top level; ONNX Runtime gives it back.

    Raises:
        ValueError: the network is in training mode: its BatchNorm would be exported as it is not meant to be used.
        onnx.checker.ValidationError: what came out is not valid ONNX.

    """
    if any(module.training for module in student.modules()):
        raise ValueError("the student is in training mode: call eval() before exporting it")
    return finished(_traced(student, image, opset), metadata)


def finished(model: onnx.ModelProto, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a valid file that says of itself what `metadata` says, and no more.

    Raises:
        onnx.checker.ValidationError: it is not valid ONNX.

    """
    _scrub(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _traced(student: nn.Module, image: tuple[int, int, int], opset: int) -> onnx.ModelProto:
    program = torch.onnx.export(
        student,
        (torch.zeros(TRACED_BATCH, *image),),
        dynamo=True,
        opset_version=opset,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: BATCH},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def _scrub(message: Any) -> None:
    """Delete the tools' notes at every level: they hold stack traces with the paths of this machine."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _scrub(part)
