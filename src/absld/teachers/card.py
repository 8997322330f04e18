"""What a teacher is and where it came from, as models/teacher/card.json says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absld.networks.zoo import Classifier
from absld.records.files import write_json


@dataclass(frozen=True)
class Origin:
    """Where weights came from."""

    source: str
    """In words; with the address or id, without a path of this machine."""
    sha256: str | None
    """Of the file that they came in; None: trained here."""
    trust: str
    """What the sha256 was compared with before the file was opened."""
    licence: str
    published: Mapping[str, Any] | None = None
    """What its authors or RobustBench report: accuracies as fractions, and the eps they are at."""


def write_card(path: Path, model: Classifier, origin: Origin, accuracy: Mapping[str, Any]) -> None:
    """Write card.json.

    Args:
        path: the file.
        model: the teacher.
        origin: where it came from.
        accuracy: what was measured on the test split, attack to a block as in evaluation.json: `accuracy` (average,
            worst, per_class, ...), `n`, `settings`.

    """
    spec = model.spec
    normalisation = None if spec.normalisation is None else dict(zip(("mean", "std"), spec.normalisation, strict=True))
    write_json(
        path,
        {
            "architecture": spec.architecture,
            "normalisation": normalisation,
            "classes": spec.classes,
            "channels": spec.channels,
            "size": spec.size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "source": origin.source,
            "sha256": origin.sha256,
            "trust": origin.trust,
            "licence": origin.licence,
            "published": origin.published,
            "accuracy": accuracy,
        },
    )
