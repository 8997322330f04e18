"""A network that can only be asked: no gradient, so no white-box attack. What is left: Square, and others' examples."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from absld.attacks import autoattack
from absld.data.dataset import Split, to_images
from absld.evaluation.checks import deterministic
from absld.evaluation.evaluate import Evaluation
from absld.evaluation.examples import Examples
from absld.evaluation.fingerprint import VERSIONS, claim, fingerprint
from absld.evaluation.forward import Forward, float32
from absld.evaluation.plan import Attack, planned
from absld.evaluation.record import adversarial_arrays, block, verdict_arrays
from absld.evaluation.refusals import refuse_training_mode
from absld.evaluation.telling import OnClasses, OnProgress, Telling, no_classes, silent
from absld.evaluation.verdicts import Bench
from absld.params.evaluate import Attacks, Evaluate

QUERIES = 5000
"""Of the standard version's Square."""
SQUARE = {"queries": QUERIES, "restarts": 1, "implementation": autoattack.VERSION}


def evaluate_black_box(
    network: nn.Module,
    split: Split,
    classes: Sequence[str],
    settings: Evaluate,
    examples: Examples | None = None,
    *,
    examples_about: dict[str, Any] | None = None,
    scratch: Path | None = None,
    on_progress: OnProgress = silent,
    on_classes: OnClasses = no_classes,
) -> Evaluation:
    """Clean images, Square on what is classified correctly, and `examples`: attacks `clean`, `square`, `transfer`.

    Args:
        network: Logits from images in [0, 1]; in evaluation mode, on the device that is to be used.
        split: The test images.
        classes: Names by class id.
        settings: The section of params.yaml. Square has the images of `attacks.aa`; where that is null, or Square is
            none of its parts, it is not run.
        examples: Made of these test images, with any other network.
        examples_about: What evaluation.json says of where they are from.
        scratch: Folder where finished chunks are kept: started again with the same inputs, the evaluation goes on.
        on_progress: Is told what is going on.
        on_classes: Is told what each attack left, when it ends.

    Raises:
        InputError: the attacks do not fit the images, or `scratch` holds work of another network or other settings.
        EvaluationRefusedError: the numbers would not mean what they say (absld.evaluation.refusals).

    """
    refuse_training_mode(network)
    telling = Telling(on_progress, on_classes)
    net, n = Forward(network, telling.work), len(classes)
    plan = _plan(net, settings, split, classes)
    if scratch is not None:
        claim(scratch, fingerprint(network, None, split, settings, plan, (*VERSIONS, "onnxruntime")))
    bench = Bench(net, split, n, settings.seed, settings.chunk, settings.keep, telling, scratch)
    with float32():
        found = bench.verdicts(plan)
        described = {attack.key: attack.settings for attack in plan}
        if examples is not None:
            found["transfer"] = examples.verdict(net, split, n, settings.chunk)
            by_attack = examples.left(net, split, n, settings.chunk)
            described["transfer"] = {**(examples_about or {}), "parts": by_attack}
        stable = deterministic(net, to_images(split.x[: settings.chunk]).to(net.device))
    return Evaluation(
        attacks={key: block(found[key], described[key], classes, settings) for key in described},
        last={},
        curves=None,
        checks={"deterministic": stable},
        verdicts=verdict_arrays(found, split.y),
        adversarial=adversarial_arrays({key: found[key] for key in found if key == "square"}, split.y),
    )


def _plan(net: Forward, settings: Evaluate, split: Split, classes: Sequence[str]) -> list[Attack]:
    """Clean images, and Square by itself where it is among the parts of AutoAttack that are asked for."""
    aa = settings.attacks.aa
    alone = None if aa is None or "square" not in aa.parts else aa.model_copy(update={"parts": ["square"]})
    wanted = Attacks(fgsm=None, pgd=None, cw=None, aa=alone)
    clean, *square = planned(net, settings.model_copy(update={"attacks": wanted}), split.y, classes)
    return [clean, *(replace(attack, settings=dict(SQUARE)) for attack in square)]
