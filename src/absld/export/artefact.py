"""From a trained student to the files that ship: nothing is written unless the file agrees with the student."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from absld.data.dataset import Split
from absld.evaluation.arrays import Arrays
from absld.evaluation.telling import OnProgress, Telling, silent
from absld.export.attacked import share, transfer
from absld.export.calibration import calibration, passes
from absld.export.card import Json, Sources, facts, metadata
from absld.export.onnx_file import to_onnx
from absld.export.parity import BATCH_SIZES, Array, Network, measure, onnx_network
from absld.export.text import card_text
from absld.export.trial import Score, Trial, told_of, trial_of
from absld.export.variants import FORMS, Made, file_of, made
from absld.networks.zoo import Classifier
from absld.params.export import Export, Variants
from absld.records.files import replacing, write_json, write_text


@dataclass(frozen=True)
class Material:
    """The images."""

    test: Split
    """On which the file is compared, attacked and measured."""
    validation: Split
    """With which int8 is calibrated."""
    adversarial: Arrays
    """The kept adversarial examples: `<attack>_x`, float32 (n, channels, height, width) in [0, 1], their labels
    `<attack>_y` and the rows of the test set that they were made of, `<attack>_index`."""


def export(
    student: Classifier,
    sources: Sources,
    material: Material,
    wanted: Export,
    writes: Mapping[str, Path],
    on_progress: OnProgress = silent,
) -> None:
    """Write `student`, `card`, `card_text` and the folder `variants`.

    Args:
        student: In evaluation mode, on the CPU.
        sources: What the card says.
        material: The images.
        wanted: The section of params.yaml; its gates are not looked at.
        writes: Where to.
        on_progress: Is told what is going on.

    Raises:
        InputError: the evaluation is not this student's.
        ParityError: the file does not compute what the student computes.

    """
    known = facts(sources)
    eps, spec, threads = known["threat_model"]["eps"], student.spec, torch.get_num_threads()
    model = to_onnx(student, (spec.channels, spec.size, spec.size), sources.opset, metadata(known))
    network, file = torch_network(student), onnx_network(model, threads)
    telling = Telling(on_progress)
    trial = trial_of(network, material.test, material.adversarial, eps, spec.classes, wanted.square, telling)
    _plan(telling, trial, material, wanted.variants)
    parity = _parity(network, file, trial, telling)
    survived, by_torch = trial.square(file, "the file"), trial.square(network, "torch")
    square = {
        "n": len(survived),
        "queries": trial.queries,
        "accuracy": share(survived),
        "torch_accuracy": share(by_torch),
    }
    smaller: list[Made] = []
    compared: Json | None = None
    if wanted.variants.fp16 or wanted.variants.int8:
        whole = trial.score(file, "the file", survived)
        batches = calibration(student, material.validation, eps, telling) if wanted.variants.int8 else []
        smaller = list(made(model, metadata(known), wanted.variants, trial, whole, batches, threads))
        compared = _side_by_side(model, whole, smaller, trial)
    card = {
        **known,
        "file": {"name": writes["student"].name, "bytes": len(model), "sha256": hashlib.sha256(model).hexdigest()},
        "parity": parity,
        "onnx": {"square": square, "transfer": transfer(network, file, trial.stored)},
        "variants": compared,
    }
    _write(writes, model, card, smaller)


def _plan(telling: Telling, trial: Trial, material: Material, wanted: Variants) -> None:
    """All passes of all networks, one for each image: what takes the time."""
    files = wanted.fp16 + wanted.int8
    telling.plan(2 * trial.score_passes)  # parity
    telling.plan((2 + files) * trial.square_passes)
    if files:
        telling.plan((1 + files) * trial.score_passes)
    if wanted.int8:
        telling.plan(passes(material.validation))


def _parity(network: Network, file: Network, trial: Trial, telling: Telling) -> Json:
    telling.begin("parity", 2 * trial.score_passes)
    sets = {"clean": trial.clean(), **{attack: _batches(x) for attack, (x, _) in trial.stored.items()}}
    found = measure(told_of(network, telling), told_of(file, telling), sets)
    telling.end(0, 0, told=False)
    return found


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


def _batches(x: Array) -> Iterator[Array]:
    size = max(BATCH_SIZES)
    return (x[start : start + size] for start in range(0, len(x), size))
