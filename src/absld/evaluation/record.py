"""What was found, as evaluation.json, verdicts.npz and adversarial.npz have it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.attacks import autoattack
from absld.evaluation.arrays import Arrays
from absld.evaluation.verdicts import Verdict, fewest
from absld.params.evaluate import Evaluate
from absld.records.attacks import ATTACKS, AUTOATTACK
from absld.statistics.intervals import intervals95
from absld.statistics.metrics import accuracies


def autoattack_as_one(found: Mapping[str, Verdict], y: NDArray[np.int64], keep: int) -> Verdict:
    """AutoAttack's parts as one attack: an image survives if it survives every part."""
    parts = [found[key] for key in AUTOATTACK if key in found]
    end = parts[-1]
    return Verdict(end.rows, end.y, end.label, fewest([part.kept for part in parts], y, keep))


def autoattack_settings(found: Mapping[str, Verdict], classes: int) -> dict[str, Any]:
    """What evaluation.json says about AutoAttack; `parts`: the average accuracy after each."""
    left_out = [key for key in AUTOATTACK if key not in found]
    without = f" without {', '.join(ATTACKS[key] for key in left_out)}" if left_out else ""
    return {
        "version": f"standard{without}",
        "standard": not left_out,
        "left_out": left_out,
        "implementation": autoattack.VERSION,
        "targets": autoattack.targets(classes),
        "parts": {key: found[key].table(classes).average for key in AUTOATTACK if key in found},
    }


def block(verdict: Verdict, own: Mapping[str, Any], classes: Sequence[str], settings: Evaluate) -> dict[str, Any]:
    """One attack's entry in evaluation.json; `own` are the attack's settings."""
    table = verdict.table(len(classes))
    return {
        "accuracy": accuracies(table, classes),
        "interval95": intervals95(table, classes, settings.seed),
        "confusion": confusion(verdict, classes),
        "n": int(table.total.sum()),
        "settings": {**own, "seed": settings.seed, "chunk": settings.chunk},
    }


def confusion(verdict: Verdict, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """True class to predicted class to images, without the zeros."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (verdict.y, verdict.label), 1)
    return {
        true: {classes[label]: int(row[label]) for label in np.flatnonzero(row).tolist()}
        for true, row in zip(classes, counts, strict=True)
    }


def verdict_arrays(found: Mapping[str, Verdict], y: NDArray[np.int64]) -> Arrays:
    """verdicts.npz."""
    arrays: Arrays = {"y": y}
    for key, verdict in found.items():
        arrays |= {key: verdict.survived, f"{key}_label": verdict.label}
        if len(verdict.rows) < len(y):
            arrays[f"{key}_index"] = verdict.rows
    return arrays


def adversarial_arrays(found: Mapping[str, Verdict], y: NDArray[np.int64]) -> Arrays:
    """adversarial.npz."""
    arrays: Arrays = {}
    for key, verdict in found.items():
        arrays |= {f"{key}_x": verdict.kept.x, f"{key}_y": y[verdict.kept.rows], f"{key}_index": verdict.kept.rows}
    return arrays
