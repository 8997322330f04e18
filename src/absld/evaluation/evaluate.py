"""The evaluation of a network on the test split: attacks, verdicts, checks, and what evaluation.json says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from absld.attacks import autoattack
from absld.data.dataset import Split, to_images
from absld.evaluation import checks as check
from absld.evaluation import probes
from absld.evaluation.arrays import Arrays
from absld.evaluation.checks import Check
from absld.evaluation.curves import curve_blocks, curve_orders
from absld.evaluation.forward import Forward, float32
from absld.evaluation.record import (
    adversarial_arrays,
    autoattack_as_one,
    autoattack_settings,
    block,
    verdict_arrays,
)
from absld.evaluation.refusals import naming, refuse_training_mode
from absld.evaluation.telling import OnClasses, OnProgress, Telling, no_classes, silent
from absld.evaluation.verdicts import Verdict
from absld.evaluation.workers import Job, examined
from absld.params.evaluate import Evaluate
from absld.records.attacks import APGD, AUTOATTACK

LAST = "the last epoch"
OF_LAST = ("clean", "pgd")
"""What the last epoch's weights are measured with: how far they lie from the best epoch's, no more."""


@dataclass(frozen=True)
class Evaluation:
    """What was found; `attacks`, `last`, `curves` and `checks` are the blocks of evaluation.json."""

    attacks: dict[str, Any]
    last: dict[str, Any]
    """Empty where there is no last epoch."""
    curves: dict[str, Any] | None
    checks: dict[str, Check]
    verdicts: Arrays
    """verdicts.npz: per attack whether each image survived and what it was taken for, `y`, and `<attack>_index`."""
    adversarial: Arrays
    """adversarial.npz: `<attack>_x`, `<attack>_y`, `<attack>_index` of the examples that are kept."""


def evaluate(
    best: nn.Module,
    last: nn.Module | None,
    split: Split,
    classes: Sequence[str],
    settings: Evaluate,
    *,
    teacher: nn.Module | None = None,
    scratch: Path | None = None,
    processes: int = 1,
    on_progress: OnProgress = silent,
    on_classes: OnClasses = no_classes,
) -> Evaluation:
    """Attack `best` with everything that `settings` ask for, and `last` with PGD.

    Args:
        best: Logits from images in [0, 1]; in evaluation mode, on the device that is to be used.
        last: The same of the last epoch; None: there is no other.
        split: The test images.
        classes: Names by class id.
        settings: The section of params.yaml.
        teacher: Whom `best` learnt from, like `best`; None: it had none, or none is known, and nothing is transferred.
        scratch: Folder where finished chunks are kept: started again with the same inputs, the evaluation goes on.
        processes: How many work on it, each with as many threads as this one; needs `scratch`.
        on_progress: Is told what is going on.
        on_classes: Is told what each attack left, when it ends.

    Raises:
        InputError: the attacks do not fit the images, or `scratch` holds work of another network or other settings.
        EvaluationRefusedError: the numbers would not mean what they say (absld.evaluation.refusals).

    """
    refuse_training_mode(best)
    for name, other in ((LAST, last), ("the teacher", teacher)):
        if other is not None:
            with naming(name):
                refuse_training_mode(other)
    with float32():
        job = Job(best, split, classes, settings, scratch and scratch / "best", teacher=teacher)
        found, plan, net = examined(job, processes, Telling(on_progress, on_classes))
        described = {attack.key: attack.settings for attack in plan if attack.measured}
        parts = [key for key in AUTOATTACK if key in found]
        if parts:
            found["aa"] = autoattack_as_one(found, split.y, settings.keep)
            described["aa"] = autoattack_settings(found, len(classes))
        checks = _checks(found, parts, net, job)
        of_last = _measured_last(last, job, scratch, on_progress)
    shown = [key for key in described if key not in parts]
    return Evaluation(
        attacks={key: block(found[key], described[key], classes, settings) for key in shown},
        last=of_last,
        curves=curve_blocks(found, settings, len(classes)),
        checks=checks,
        verdicts=verdict_arrays({key: found[key] for key in described}, split.y),
        adversarial=adversarial_arrays({key: found[key] for key in shown if key != "clean"}, split.y),
    )


def _checks(found: Mapping[str, Verdict], parts: Sequence[str], net: Forward, job: Job) -> dict[str, Check]:
    y = job.split.y
    rows = probes.probed(y)
    images, labels = to_images(job.split.x[rows]).to(net.device), torch.from_numpy(y[rows]).to(net.device)
    strong = autoattack.outdoes_walks(parts, len(job.classes))
    ordered = found if strong else {key: verdict for key, verdict in found.items() if key != "aa"}
    checks = {
        "attack_order": check.attack_order(ordered, curve_orders(job.settings)),
        "deterministic": check.deterministic(net, images),
        "gradient_not_zero": check.gradient_not_zero(net, images, labels),
        "huge_eps": check.huge_eps(found[probes.HUGE]),
        "logit_scale": check.logit_scale(found[probes.WHITE_BOX], found[probes.SCALED]),
    }
    if probes.TRANSFER in found:
        checks["transfer"] = check.transfer(found[probes.WHITE_BOX], found[probes.TRANSFER])
    if "square" in parts and APGD & set(parts):
        checks["square_beats_apgd"] = check.square_beats_apgd(found["square"], found[parts[-2]])
    return checks


def _measured_last(last: nn.Module | None, job: Job, scratch: Path | None, on_progress: OnProgress) -> dict[str, Any]:
    if last is None:
        return {}

    def on_last(text: str, done: int, total: int) -> None:
        on_progress(f"last epoch, {text}", done, total)

    shorter = Job(last, job.split, job.classes, job.settings, scratch and scratch / "last", OF_LAST)
    with naming(LAST):
        found, plan, _ = examined(shorter, 1, Telling(on_last))
    return {attack.key: block(found[attack.key], attack.settings, job.classes, job.settings) for attack in plan}
