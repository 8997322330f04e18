"""What a user of the exported file must know, as card.json has it, and the part of it that travels inside the file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from absld.data.card import Card
from absld.errors import InputError
from absld.export.onnx_file import BATCH, INPUT, OUTPUT
from absld.networks.zoo import Spec
from absld.versions import version

Json = dict[str, Any]

TEACHER_FACTS = ("architecture", "parameters", "source", "sha256", "trust", "licence")
"""What is kept of the teacher's card."""
DATA_FACTS = ("name", "source", "licence", "counts", "validation", "sha256", "folder_sha256")
"""What is kept of the data set's card."""


@dataclass(frozen=True)
class Sources:
    """What the stages before this one left behind, and what this one is about to do."""

    run: str
    spec: Spec
    parameters: int
    """Trainable numbers of the student."""
    weights_sha256: str
    """Of the file that the student was read from."""
    evaluation: Mapping[str, Any]
    """evaluation.json"""
    training: Mapping[str, Any]
    """train/state.json"""
    data: Card
    teacher: Mapping[str, Any]
    """The teacher's card.json."""
    opset: int
    params_sha256: str
    """Of the export's own parameters."""
    code_sha256: str
    """Of the export's own code."""


def facts(sources: Sources) -> Json:
    """The card without what is known only of the finished file: its size and hash, and what is measured on it.

    Raises:
        InputError: the evaluation measured other weights than those that are exported.

    """
    evaluation, training, spec = sources.evaluation, sources.training, sources.spec
    if evaluation["provenance"]["weights_sha256"] != sources.weights_sha256:
        raise InputError(
            f"evaluation.json of {sources.run} measured other weights than those that would be exported: "
            "run the stage evaluate again"
        )
    return {
        "run": sources.run,
        "student": {**asdict(spec), "parameters": sources.parameters, "opset": sources.opset},
        "input": {
            "name": INPUT,
            "type": "float32",
            "shape": [BATCH, spec.channels, spec.size, spec.size],
            "axes": "batch, channels, height, width",
            "range": [0, 1],
        },
        "output": {"name": OUTPUT, "type": "float32", "shape": [BATCH, spec.classes], "softmax": False},
        "classes": evaluation["classes"],
        "threat_model": evaluation["threat_model"],
        "attacks": evaluation["attacks"],
        "checks": evaluation["checks"],
        "training": {
            "method": training["method"],
            "seed": training["seed"],
            "epoch": training["best_epoch"],
            "epochs": training["epochs"],
            "select_on": training["select_on"],
            "settings": training["settings"],
            "train": training["train"],
        },
        "teacher": {
            **{name: sources.teacher[name] for name in TEACHER_FACTS},
            "accuracy": _short(sources.teacher["accuracy"]),
        },
        "data": {name: getattr(sources.data, name) for name in DATA_FACTS},
        "provenance": {
            **evaluation["provenance"],
            "export_params_sha256": sources.params_sha256,
            "export_code_sha256": sources.code_sha256,
            "absld": version("absld") or "run from source",
        },
    }


def metadata(card: Mapping[str, Any]) -> dict[str, str]:
    """What ONNX Runtime tells of the file (`get_modelmeta().custom_metadata_map`): text as it is, the rest as JSON."""
    values = {
        **{name: card[name] for name in ("run", "classes", "input", "output", "threat_model")},
        "data": {name: card["data"][name] for name in ("name", "source", "licence")},
        "teacher": {name: card["teacher"][name] for name in ("architecture", "source", "licence")},
        **{name: card["training"][name] for name in ("method", "seed", "epoch", "select_on")},
        "accuracy": _short(card["attacks"]),
        **card["provenance"],
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def _short(attacks: Mapping[str, Any]) -> Json:
    """Average and worst class accuracy by attack, of blocks as evaluation.json has them."""
    return {
        attack: {name: measured["accuracy"][name] for name in ("average", "worst")}
        for attack, measured in attacks.items()
    }
