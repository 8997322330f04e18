"""How accuracy falls as an attack grows: `curves` of evaluation.json over the seeds, and what is said of them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from absld.records.numbers import number_text
from absld.report.inputs import Run
from absld.report.over_seeds import OverSeeds, over_seeds

MEASURED = {"average": "average", "worst": "worst class"}
"""What each point of a curve has."""


class Sweep(TypedDict):
    """Accuracy under PGD against its radius, or against the number of its steps, on a few of the test images."""

    points: list[dict[str, Any]]
    """Each radius or number of steps: `value`, its `text` as papers print it, `n` (test images), PGD's `settings`."""
    methods: dict[str, dict[str, list[OverSeeds]]]
    """Method to `average` and `worst`, one for each point."""


def sweep_of(kind: str, by_method: Mapping[str, Sequence[Run]]) -> Sweep | None:
    """One of SWEEPS of all runs, which were measured alike; None where it was not measured."""
    curves = {name: [(run.evaluation["curves"] or {}).get(kind, []) for run in of] for name, of in by_method.items()}
    points = next(iter(curves.values()))[0]
    if not points:
        return None
    return {
        "points": [
            {"value": of["value"], "text": number_text(of["value"]), "n": of["n"], "settings": of["settings"]}
            for of in points
        ],
        "methods": {
            name: {
                measure: [over_seeds([of[measure] for of in seeds], None) for seeds in zip(*of_seeds, strict=True)]
                for measure in MEASURED
            }
            for name, of_seeds in curves.items()
        },
    }
