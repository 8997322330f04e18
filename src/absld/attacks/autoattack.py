"""AutoAttack, standard version, part by part (Croce and Hein 2020, arXiv 2003.01690).

The parts are pyautoattack's own, set up by its own standard version. They are called one at a time, so that the caller
decides on batches and seeds, and can stop and go on. Two things are adapted: there are no more target classes than
wrong classes, and APGD-T, whose loss needs four classes, is left out below that.
"""

from collections.abc import Collection, Iterable
from importlib.metadata import version
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import nn

from absld.errors import InputError
from absld.params.attacks import AutoAttackPart
from absld.records.attacks import APGD, TARGETED_APGD_CLASSES, possible_parts
from absld.shapes import Images, Labels

VERSION = f"pyautoattack {version('pyautoattack')}"
TARGETS = 9
"""Target classes of the targeted parts, for 100 classes too."""


def cascade(wanted: Iterable[AutoAttackPart], classes: int) -> list[AutoAttackPart]:
    """The parts that run, in the order of the standard version: those of `wanted` that can.

    Raises:
        InputError: none of them can.

    """
    asked = set(wanted)
    parts = [part for part in possible_parts(classes) if part in asked]
    if not parts:
        raise InputError(
            f"evaluate.attacks.aa.parts: APGD-T needs {TARGETED_APGD_CLASSES} classes, and there are {classes}: ask "
            "for another part"
        )
    return parts


def outdoes_walks(parts: Collection[str], classes: int) -> bool:
    """Whether parts that ran must leave no more images than PGD and CW: every APGD that can run is among them."""
    return all(part in parts for part in possible_parts(classes) if part in APGD)


def targets(classes: int) -> int:
    """How many wrong classes the targeted parts aim at: all of them, up to nine."""
    return min(TARGETS, classes - 1)


def standard(net: nn.Module, eps: float, classes: int, device: torch.device) -> dict[str, Any]:
    """The parts by name, bound to `net`, which is in evaluation mode and has no parameter gradients.

    Raises:
        ValueError: there are fewer than two classes.

    """
    if classes < 2:
        raise ValueError(f"{classes} class: an attack needs another class to arrive at")
    ensemble = AutoAttack(net, norm="Linf", eps=eps, seed=0, version="standard", device=device)
    ensemble.fab.targeted = True
    ensemble.fab.n_target_classes = ensemble.apgd_targeted.n_target_classes = targets(classes)
    parts = {
        "apgd_ce": ensemble.apgd,
        "apgd_t": ensemble.apgd_targeted,
        "fab_t": ensemble.fab,
        "square": ensemble.square,
    }
    return {name: parts[name] for name in possible_parts(classes)}


def perturb(part: Any, x: Images, y: Labels, seed: int) -> Images:
    """What a part makes of the images; where it fails, the image itself. It seeds torch's global generators."""
    part.seed = seed
    with torch.no_grad():
        adversarial: Images = part.perturb(x, y)
    return adversarial
