"""A small student, exported with all that stands beside it: invented, but for the file itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from absld.data.dataset import Card, Split
from absld.export.artefact import Material, export
from absld.export.card import Sources
from absld.networks.zoo import Classifier, Spec, build
from absld.params.export import Export, Square, Variants
from absld.records.files import read_json
from absld.statistics.intervals import intervals95
from absld.statistics.metrics import ClassTable, accuracies
from stages.contracts import EXPORT

CLASSES = [*"012345678", "nine|9"]
WANTED = Export.model_construct(
    opset=18, square=Square(n=100, queries=20), variants=Variants(fp16=False, int8=False, tolerance=0.01)
)
"""How strong Square is, is no matter here."""
SPEC = Spec("tiny_resnet16", classes=10, channels=1, size=8, normalisation=((0.3,), (0.25,)))
COUNTS = {"train": dict.fromkeys(CLASSES, 126), "test": dict.fromkeys(CLASSES, 36) | {"8": 35}}
SHA256 = {"test_x.npy": "e" * 64}
ATTACKS = {
    "clean": {},
    "fgsm": {"start": "none"},
    "pgd": {"steps": 20, "step": 0.025, "start": "uniform"},
    "cw": {"steps": 30, "step": 0.025, "start": "uniform"},
    "aa": {"version": "standard"},
}


class Exported(NamedTuple):
    student: Classifier
    sources: Sources
    test: Split
    validation: Split
    adversarial: dict[str, Any]
    folder: Path

    @property
    def model(self) -> bytes:
        return (self.folder / "student.onnx").read_bytes()

    @property
    def card(self) -> dict[str, Any]:
        return read_json(self.folder / "card.json")


def trained(spec: Spec) -> Classifier:
    """A network whose BatchNorms have seen something, as after training."""
    torch.manual_seed(7)
    student = build(spec)
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return student.eval()


def images(n: int, spec: Spec = SPEC) -> np.ndarray:
    return np.random.default_rng(n).random((n, spec.channels, spec.size, spec.size), np.float32)


def evaluation(classes: list[str] = CLASSES) -> dict[str, Any]:
    """Class k is right on 30 − k of 36 clean images; each further attack takes two more."""
    attacks = {}
    for position, (attack, settings) in enumerate(ATTACKS.items()):
        correct = np.maximum(30 - np.arange(len(classes)) - 2 * position, 0)
        table = ClassTable(correct, np.full(len(classes), 36))
        attacks[attack] = {
            "accuracy": accuracies(table, classes),
            "interval95": intervals95(table, classes, seed=0),
            "n": 36 * len(classes),
            "settings": settings,
        }
    return {
        "classes": classes,
        "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
        "attacks": attacks,
        "checks": {"square_not_below_apgd": {"passed": True, "detail": "Square found 0 more"}},
        "provenance": {"weights_sha256": "w" * 64, "data_sha256": "d" * 64, "params_sha256": "p", "code_sha256": "c"},
    }


def sources(student: Classifier) -> Sources:
    return Sources(
        run="absld-s0",
        spec=student.spec,
        parameters=1234,
        weights_sha256="w" * 64,
        evaluation=evaluation(),
        training={
            "method": "absld",
            "seed": 0,
            "epochs": 30,
            "best_epoch": 27,
            "select_on": "validation",
            "settings": {"alpha": 5 / 6, "attack": {"eps": 0.1, "start": "gaussian"}, "milestones": [17, 21]},
            "train": {"device": "auto", "augmentation": {"crop_padding": 1}, "validation": {"steps": 7}},
        },
        data=Card("digits", CLASSES, "digits", 1, 8, COUNTS, SHA256, "scikit-learn", "CC BY 4.0", "stratified", None),
        teacher={
            "architecture": "tiny_resnet32",
            "parameters": 5678,
            "source": "trained here with trades",
            "sha256": None,
            "trust": "trained here",
            "licence": "your own",
            "accuracy": {"pgd": {"accuracy": {"average": 0.7125, "worst": 0.5}}},
        },
        opset=18,
        params_sha256="ep",
        code_sha256="ec",
    )


def run_export(student: Classifier, folder: Path, *, wanted: Export = WANTED, **changes: Any) -> Exported:
    """`changes` are of the sources."""
    pixels = np.random.default_rng(0).integers(0, 256, (370, 8, 8, 1), np.uint8)
    test, validation = (Split(part, np.arange(len(part)) % 10) for part in (pixels[:300], pixels[300:] // 2))
    adversarial = {
        "pgd_x": images(40),
        "pgd_y": np.arange(40) % 10,
        "pgd_index": np.arange(40),
        "aa_x": images(9),
        "aa_y": np.arange(9),
        "aa_index": np.arange(9),
    }
    made = Exported(student, replace(sources(student), **changes), test, validation, adversarial, folder)
    writes = {name: folder / Path(path).name for name, path in EXPORT.writes.items()}
    export(student, made.sources, Material(test, validation, adversarial), wanted, writes)
    return made
