"""An ONNX file as ONNX Runtime runs it on the CPU. Nothing here imports torch: `absld predict` uses it too."""

from typing import Any


def open_session(model: bytes, threads: int) -> Any:
    """An onnxruntime.InferenceSession; with `threads` 0 it takes as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
