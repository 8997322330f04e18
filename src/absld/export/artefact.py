"""From a trained student to the files that ship: nothing is written unless the file agrees with the student."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays
from absld.evaluation.selection import balanced, chunks
from absld.export import attacked
from absld.export.attacked import share, transfer
from absld.export.card import Json, Sources, facts, metadata
from absld.export.onnx_file import to_onnx
from absld.export.parity import BATCH_SIZES, Array, Network, measure, onnx_network
from absld.export.text import card_text
from absld.export.trial import CLEAN_IMAGES, Score, Trial, calibration, stored_examples, trial_of
from absld.export.variants import FORMS, Made, file_of, made
from absld.networks.zoo import Classifier
from absld.params.export import Variants
from absld.records.files import replacing, write_json, write_text


def export(
    student: Classifier,
    sources: Sources,
    test: Split,
    adversarial: Arrays,
    wanted: Variants,
    writes: Mapping[str, Path],
) -> None:
    """Write `student`, `card`, `card_text` and the folder `variants`.

    Args:
        student: In evaluation mode, on the CPU.
        sources: What the card says.
        test: The clean test images.
        adversarial: The kept adversarial examples: `<attack>_x`, float32 (n, channels, height, width) in [0, 1], their
            labels `<attack>_y` and the rows of the test set that they were made of, `<attack>_index`.
        wanted: Which smaller files are tried.
        writes: Where to.

    Raises:
        InputError: the evaluation is not this student's.
        ParityError: the file does not compute what the student computes.

    """
    known = facts(sources)
    spec, threads = student.spec, torch.get_num_threads()
    model = to_onnx(student, (spec.channels, spec.size, spec.size), sources.opset, metadata(known))
    network, file = torch_network(student), onnx_network(model, threads)
    stored = stored_examples(adversarial)
    sets = {"clean": _clean(test), **{attack: _batches(x) for attack, (x, _) in stored.items()}}
    parity = measure(network, file, sets)
    trial = trial_of(network, test, adversarial, known["threat_model"]["eps"], spec.classes)
    survived, by_torch = trial.square(file), trial.square(network)
    square = {
        "n": len(survived),
        "queries": attacked.QUERIES,
        "accuracy": share(survived),
        "torch_accuracy": share(by_torch),
    }
    smaller: list[Made] = []
    compared: Json | None = None
    if wanted.fp16 or wanted.int8:
        whole = trial.score(file, survived)
        smaller = list(made(model, metadata(known), wanted, trial, whole, calibration(test, adversarial), threads))
        compared = _side_by_side(model, whole, smaller, trial)
    card = {
        **known,
        "file": {"name": writes["student"].name, "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()},
        "parity": parity,
        "onnx": {"square": square, "transfer": transfer(network, file, stored)},
        "variants": compared,
    }
    _write(writes, model, card, smaller)


def torch_network(student: nn.Module) -> Network:
    """The student as torch computes it, from arrays to arrays."""

    def network(images: Array) -> Array:
        with torch.inference_mode():
            z: Array = student(torch.from_numpy(images)).numpy()
        return z

    return network


def _side_by_side(model: bytes, whole: Score, smaller: Iterable[Made], trial: Trial) -> Json:
    fp32 = {"file": "student.onnx", "bytes": len(model), "accuracy": whole}
    return {"images": trial.images, "fp32": fp32, **{of.name: of.about for of in smaller}}


def _write(writes: Mapping[str, Path], model: bytes, card: Json, smaller: Iterable[Made]) -> None:
    folder = writes["variants"]
    found = {of.name: of for of in smaller}
    _write_bytes(writes["student"], model)
    for name in FORMS:
        path = folder / file_of(name)
        if name in found and found[name].kept:
            _write_bytes(path, found[name].content)
        else:
            path.unlink(missing_ok=True)
    write_json(folder / "variants.json", {name: found[name].about if name in found else None for name in FORMS})
    write_json(writes["card"], card)
    write_text(writes["card_text"], card_text(card))


def _write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(content)


def _clean(test: Split) -> Iterator[Array]:
    for rows in chunks(balanced(test.y, CLEAN_IMAGES), max(BATCH_SIZES)):
        yield to_images(test.x[rows]).numpy()


def _batches(x: Array) -> Iterator[Array]:
    size = max(BATCH_SIZES)
    return (x[start : start + size] for start in range(0, len(x), size))
