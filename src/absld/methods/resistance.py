"""Class weights by how long a class resists the attack (Yue, Mou, Wang, Zhao: NeurIPS 2023).

    κ_i  =  number of the walk's points x_0 … x_{K−1} that are classified correctly
    w_c  ∝  ( 1 / (mean κ of class c + 10⁻⁵) )^power,   Σ_c w_c = C,   then clipped to [weight_min, weight_max]

A class that falls early weighs more in the next epoch; in the first, all weigh 1.
"""

from collections.abc import Iterator

import torch

from absld.attacks.linf_walk import Visit
from absld.methods.protocol import Evidence, State
from absld.params import distillation as settings
from absld.shapes import Images, Labels, PerSample

SMALLEST = 1e-5
"""Added to κ, as published: a class that never resists has no infinite weight."""


class Resistance:
    """The memory of Fair-ARD and Fair-RSLAD: a weight per class."""

    def __init__(self, block: settings.Fairness) -> None:
        self.block = block

    def init(self, classes: int) -> State:
        """All weights are 1."""
        return {"weight": torch.ones(classes)}

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Weigh each class by its κ; clipping comes last, so the weights need not sum to C, as published."""
        del state
        weight = (1 / (evidence.mean("kappa") + SMALLEST)) ** self.block.power
        return {"weight": (weight / weight.mean()).clamp(self.block.weight_min, self.block.weight_max)}

    def count(self, walk: Iterator[Visit], y: Labels) -> tuple[Images, PerSample]:
        """The walk's last point, and κ of each example."""
        kappa = torch.zeros_like(y, dtype=torch.float32)
        standing = torch.ones_like(y, dtype=torch.bool)
        for visit in walk:
            if visit.z is not None:
                right = visit.z.argmax(1) == y
                standing = standing & right
                kappa = kappa + (right if self.block.kappa == "count" else standing)
        return visit.x, kappa
