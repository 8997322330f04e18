"""From a trained student to the three files that ship: nothing is written unless the file agrees with the student."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays
from absld.evaluation.selection import balanced, chunks
from absld.export.card import Sources, facts, metadata
from absld.export.onnx_file import to_onnx
from absld.export.parity import BATCH_SIZES, Array, Network, measure, onnx_network
from absld.export.text import card_text
from absld.networks.zoo import Classifier
from absld.records.files import replacing, write_json, write_text

CLEAN_IMAGES = 2000
"""Most clean images that are compared, balanced by class. On two cores a ResNet-18 takes a minute or two for them."""


def export(student: Classifier, sources: Sources, test: Split, adversarial: Arrays, writes: Mapping[str, Path]) -> None:
    """Write `student`, `card` and `card_text`.

    Args:
        student: In evaluation mode, on the CPU.
        sources: What the card says.
        test: The clean test images.
        adversarial: The kept adversarial examples: `<attack>_x`, float32 (n, channels, height, width) in [0, 1].
        writes: Where to.

    Raises:
        InputError: the evaluation is not this student's.
        ParityError: the file does not compute what the student computes.

    """
    known = facts(sources)
    spec = student.spec
    model = to_onnx(student, (spec.channels, spec.size, spec.size), sources.opset, metadata(known))
    file = onnx_network(model, threads=torch.get_num_threads())
    parity = measure(torch_network(student), file, {"clean": _clean(test), **_attacked(adversarial)})
    path = writes["student"]
    about_file = {"name": path.name, "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()}
    card = {**known, "file": about_file, "parity": parity}
    with replacing(path) as part:
        part.write_bytes(model)
    write_json(writes["card"], card)
    write_text(writes["card_text"], card_text(card))


def torch_network(student: nn.Module) -> Network:
    """The student as torch computes it, from arrays to arrays."""

    def network(images: Array) -> Array:
        with torch.inference_mode():
            z: Array = student(torch.from_numpy(images)).numpy()
        return z

    return network


def _clean(test: Split) -> Iterator[Array]:
    for rows in chunks(balanced(test.y, CLEAN_IMAGES), max(BATCH_SIZES)):
        yield to_images(test.x[rows]).numpy()


def _attacked(adversarial: Arrays) -> dict[str, Iterator[Array]]:
    return {name.removesuffix("_x"): _batches(x) for name, x in adversarial.items() if name.endswith("_x")}


def _batches(x: Array) -> Iterator[Array]:
    size = max(BATCH_SIZES)
    return (x[start : start + size] for start in range(0, len(x), size))
