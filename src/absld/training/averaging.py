"""Averaged weights: EMA, and FAWA, which takes only epochs that are fair enough (Wei et al. 2023, Section 4.3).

    θ̄  ←  d·θ̄ + (1−d)·θ        after each epoch whose worst class is robust enough; the first of them is copied

θ are all weights and BatchNorm statistics; nothing is estimated anew.
"""

from collections.abc import Mapping

from torch import Tensor

from absld.metrics import worst, worst10
from absld.params.recipe import Averaging
from absld.shapes import PerClass

Weights = Mapping[str, Tensor]
"""A network's state dict; empty before the first epoch is accepted."""


def accepted(settings: Averaging, epoch: int, robust: PerClass) -> bool:
    """Whether the epoch's weights enter; `robust` is each class's validation accuracy under attack, in [0, 1]."""
    return epoch >= settings.begin and measured(settings, robust) >= settings.threshold


def measured(settings: Averaging, robust: PerClass) -> float:
    """The accuracy that is held against the threshold."""
    lowest = {"worst": worst, "worst10": worst10}[settings.measure]
    return float(lowest(robust.cpu().numpy()))


def average(old: Weights, new: Weights, decay: float) -> dict[str, Tensor]:
    """One step of the average; counters are copied, and so is everything the first time."""
    if not old:
        return {name: tensor.clone() for name, tensor in new.items()}
    return {
        name: decay * old[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor.clone()
        for name, tensor in new.items()
    }
