"""Smaller files beside student.onnx: each is measured like it, and kept only if it loses next to nothing."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from absld.export.parity import Array, onnx_network
from absld.export.smaller import fp16, int8
from absld.export.trial import Score, Trial
from absld.params.export import Variants

FORMS = ("fp16", "int8")
NAMES = {
    "clean_average": "clean average",
    "clean_worst": "clean worst class",
    "stored": "accuracy on stored adversarial examples",
    "square": "accuracy under Square",
}
"""What the accuracies of a score are called."""
SLACK = 1e-9
"""Of the tolerance: 0.77 - 0.76 is a little more than 0.01 in binary."""


def file_of(form: str) -> str:
    """The name of the file of one of `FORMS`."""
    return f"student_{form}.onnx"


@dataclass(frozen=True)
class Made:
    """A smaller file and what was found about it."""

    name: str
    """One of `FORMS`."""
    content: bytes
    about: dict[str, Any]
    """Its entry in variants.json."""

    @property
    def kept(self) -> bool:
        """Whether it is good enough."""
        return bool(self.about["kept"])


def made(
    model: bytes,
    metadata: Mapping[str, str],
    wanted: Variants,
    trial: Trial,
    whole: Score,
    calibration: Iterable[Array],
    threads: int,
) -> Iterator[Made]:
    """The smaller files that are asked for, good enough or not.

    Args:
        model: student.onnx.
        metadata: What it says of itself.
        wanted: The section of params.yaml.
        trial: What every file is put through.
        whole: What student.onnx reached in it.
        calibration: Batches of images for `int8`; none of them is in the trial.
        threads: Of ONNX Runtime.

    """
    # the accuracies in there were measured on the network that these are not
    said = {name: value for name, value in metadata.items() if name != "accuracy"}
    if wanted.fp16:
        content = fp16(model, {**said, "variant": "fp16"})
        yield _judged("fp16", content, trial, whole, wanted.tolerance, threads)
    if wanted.int8:
        content = int8(model, {**said, "variant": "int8"}, calibration)
        yield _judged("int8", content, trial, whole, wanted.tolerance, threads)


def _judged(name: str, content: bytes, trial: Trial, whole: Score, tolerance: float, threads: int) -> Made:
    network = onnx_network(content, threads)
    score = trial.score(network, name, trial.square(network, name))
    lost = losses(whole, score)
    too_much = refusal(lost, tolerance)
    about = {
        "file": file_of(name) if too_much is None else None,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "accuracy": score,
        "lost": lost,
        "kept": too_much is None,
        "reason": too_much or f"no accuracy is more than {tolerance:g} below that of student.onnx",
    }
    return Made(name, content, about)


def losses(whole: Score, score: Score) -> Score:
    """How much lower each accuracy is than that of student.onnx; below 0 where it is higher."""
    lost: Score = {}
    for name, of_whole in whole.items():
        found = score[name]
        lost[name] = None if of_whole is None or found is None else of_whole - found
    return lost


def refusal(lost: Score, tolerance: float) -> str | None:
    """Why such losses are too much; None: they are not."""
    too_much = {name: by for name, by in lost.items() if by is not None and by > tolerance + SLACK}
    if not too_much:
        return None
    told = ", ".join(f"{NAMES[name]} by {by:.3f}" for name, by in too_much.items())
    return f"lower than student.onnx: {told}; at most {tolerance:g} is allowed"
