"""The evaluation of a student on the test split: attacks, verdicts, checks, and what evaluation.json says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from absld.attacks import autoattack
from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays
from absld.evaluation.checks import Check, attack_order, deterministic, square_beats_apgd
from absld.evaluation.forward import float32
from absld.evaluation.refusals import refuse_training_mode
from absld.evaluation.selection import balanced
from absld.evaluation.telling import OnProgress, silent
from absld.evaluation.verdicts import Verdict
from absld.evaluation.workers import Job, examined
from absld.intervals import intervals95
from absld.metrics import ClassTable, accuracies
from absld.params.evaluate import Evaluate

OF_LAST = ("clean", "pgd")
"""What the last epoch's weights are measured with: how far they lie from the best epoch's, no more."""


@dataclass(frozen=True)
class Evaluation:
    """What was found; `attacks` and `last` are the blocks of evaluation.json."""

    attacks: dict[str, Any]
    last: dict[str, Any]
    checks: dict[str, Check]
    verdicts: Arrays
    """verdicts.npz: per attack whether each image survived, `y`, and `<attack>_index` where not all were attacked."""
    adversarial: Arrays
    """adversarial.npz: `<attack>_x`, `<attack>_y`, `<attack>_index` of the examples that are kept."""


def evaluate(
    best: nn.Module,
    last: nn.Module,
    split: Split,
    classes: Sequence[str],
    settings: Evaluate,
    *,
    scratch: Path | None = None,
    processes: int = 1,
    on_progress: OnProgress = silent,
) -> Evaluation:
    """Attack `best` with everything that `settings` ask for, and `last` with PGD.

    Args:
        best: Logits from images in [0, 1]; in evaluation mode, on the device that is to be used.
        last: The same of the last epoch.
        split: The test images.
        classes: Names by class id.
        settings: The section of params.yaml.
        scratch: Folder where finished chunks are kept: started again with the same inputs, the evaluation goes on.
        processes: How many work on it, each with as many threads as this one; needs `scratch`.
        on_progress: Is told what is going on.

    Raises:
        InputError: the attacks do not fit the images.
        EvaluationRefusedError: the numbers would not mean what they say (absld.evaluation.refusals).

    """
    refuse_training_mode(best)
    refuse_training_mode(last)

    def on_last(text: str, done: int, total: int) -> None:
        on_progress(f"last epoch, {text}", done, total)

    with float32():
        job = Job(best, split, classes, settings, scratch and scratch / "best")
        found, plan, net = examined(job, processes, on_progress)
        stable = deterministic(net, to_images(split.x[: settings.chunk]).to(net.device))
        job = Job(last, split, classes, settings, scratch and scratch / "last", OF_LAST)
        before, shorter, _ = examined(job, 1, on_last)
    tables, last_tables = (_tables(verdicts, split.y, len(classes)) for verdicts in (found, before))
    described = {attack.key: attack.settings for attack in plan}
    parts = [key for key in autoattack.PARTS if key in found]
    if parts:
        found["aa"], tables["aa"] = _joined(found, parts), tables[parts[-1]]
        described["aa"] = _autoattack_settings(tables, parts, len(classes))
    shown = [key for key in found if key not in parts]
    checks = {"attack_order": attack_order(tables), "deterministic": stable}
    if parts:
        checks["square_beats_apgd"] = square_beats_apgd(found["square"], found[parts[-2]])
    return Evaluation(
        attacks={key: _block(tables[key], described[key], classes, settings) for key in shown},
        last={attack.key: _block(last_tables[attack.key], attack.settings, classes, settings) for attack in shorter},
        checks=checks,
        verdicts=_verdict_arrays(found, split.y),
        adversarial=_adversarial_arrays({key: found[key] for key in shown if key != "clean"}, split.y, settings.keep),
    )


def _tables(found: Mapping[str, Verdict], y: NDArray[np.int64], classes: int) -> dict[str, ClassTable]:
    return {key: ClassTable.of(verdict.survived, y[verdict.rows], classes) for key, verdict in found.items()}


def _joined(found: Mapping[str, Verdict], parts: Sequence[str]) -> Verdict:
    """AutoAttack as one attack: an image survives if it survives every part."""
    rows = np.concatenate([found[part].kept_rows for part in parts])
    x = np.concatenate([found[part].kept_x for part in parts])
    order = np.argsort(rows)
    end = found[parts[-1]]
    return Verdict(end.rows, end.survived, rows[order], x[order])


def _autoattack_settings(tables: Mapping[str, ClassTable], parts: Sequence[str], classes: int) -> dict[str, Any]:
    standard = autoattack.is_standard(classes)
    return {
        "version": "standard" if standard else "standard without APGD-T",
        "standard": standard,
        "implementation": autoattack.VERSION,
        "targets": autoattack.targets(classes),
        "parts": {part: tables[part].average for part in parts},
    }


def _block(table: ClassTable, own: Mapping[str, Any], classes: Sequence[str], settings: Evaluate) -> dict[str, Any]:
    return {
        "accuracy": accuracies(table, classes),
        "interval95": intervals95(table, classes, settings.seed),
        "n": int(table.total.sum()),
        "settings": {**own, "seed": settings.seed, "chunk": settings.chunk},
    }


def _verdict_arrays(found: Mapping[str, Verdict], y: NDArray[np.int64]) -> Arrays:
    arrays: Arrays = {"y": y}
    for key, verdict in found.items():
        arrays[key] = verdict.survived
        if len(verdict.rows) < len(y):
            arrays[f"{key}_index"] = verdict.rows
    return arrays


def _adversarial_arrays(found: Mapping[str, Verdict], y: NDArray[np.int64], keep: int) -> Arrays:
    arrays: Arrays = {}
    for key, verdict in found.items():
        chosen = balanced(y[verdict.kept_rows], keep)
        index = verdict.kept_rows[chosen]
        arrays |= {f"{key}_x": verdict.kept_x[chosen], f"{key}_y": y[index], f"{key}_index": index}
    return arrays
