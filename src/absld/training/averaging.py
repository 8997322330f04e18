"""Averaged weights: EMA, and FAWA, which takes only epochs that are fair enough (Wei et al. 2023, Section 4.3).

    θ̄  ←  d·θ̄ + (1−d)·θ        after each epoch whose worst class is robust enough; the first of them is copied

θ are all weights and BatchNorm statistics; nothing is estimated anew.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from absld.params.recipe import Averaging
from absld.shapes import PerClass
from absld.statistics.metrics import worst, worst10

Weights = Mapping[str, Tensor]
"""A network's state dict; empty before the first epoch is accepted."""


class Gate(NamedTuple):
    """Whether an epoch's weights enter, and why."""

    measure: str
    value: float
    """The accuracy that was held against the threshold."""
    accepted: bool


def judged(settings: Averaging, epoch: int, robust: PerClass) -> Gate:
    """Hold an epoch against the threshold; `robust` is each class's validation accuracy under attack, in [0, 1]."""
    value = float({"worst": worst, "worst10": worst10}[settings.measure](robust.cpu().numpy()))
    return Gate(settings.measure, value, epoch >= settings.begin and value >= settings.threshold)


def average(old: Weights, new: Weights, decay: float) -> dict[str, Tensor]:
    """One step of the average; counters are copied, and so is everything the first time."""
    if not old:
        return {name: tensor.clone() for name, tensor in new.items()}
    return {
        name: decay * old[name] + (1 - decay) * tensor if tensor.is_floating_point() else tensor.clone()
        for name, tensor in new.items()
    }
