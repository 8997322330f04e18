"""AutoAttack, standard version, part by part (Croce and Hein 2020, arXiv 2003.01690).

The parts are pyautoattack's own, set up by its own standard version. They are called one at a time, so that the caller
decides on batches and seeds, and can stop and go on. Two things are adapted: there are no more target classes than
wrong classes, and APGD-T, whose loss needs four classes, is left out below that.
"""

from importlib.metadata import version
from typing import Any

import torch
from pyautoattack import AutoAttack
from torch import nn

from absld.shapes import Images, Labels

PARTS = ("apgd_ce", "apgd_t", "fab_t", "square")
"""In the order of the cascade: each gets what survived the one before."""
VERSION = f"pyautoattack {version('pyautoattack')}"
TARGETS = 9
"""Target classes of the targeted parts, for 100 classes too."""
DLR_CLASSES = 4
"""The targeted DLR loss compares with the fourth-highest logit."""


def is_standard(classes: int) -> bool:
    """Whether all parts of the standard version run: with 2 or 3 classes APGD-T cannot."""
    return classes >= DLR_CLASSES


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
    return parts if is_standard(classes) else {name: part for name, part in parts.items() if name != "apgd_t"}


def perturb(part: Any, x: Images, y: Labels, seed: int) -> Images:
    """What a part makes of the images; where it fails, the image itself. It seeds torch's global generators."""
    part.seed = seed
    with torch.no_grad():
        adversarial: Images = part.perturb(x, y)
    return adversarial
