"""SAT with soft labels of the same (SSD) or of different smoothness (DSD) for each class: ABSLD's Figure 2.

    min_θ  KL(q_y ‖ s(x'))        q_y[y] = 1 − g_y,  q_y[j] = g_y / (C − 1) for j ≠ y
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)

g_y is `smoothness`, or `hard_smoothness` for the hard classes. The paper gives neither form nor values: docs/papers.md.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy, kl
from absld.methods.protocol import Batch, Evidence, Networks, State, Step, risks
from absld.params import adversarial as settings
from absld.shapes import Labels, PerClass, Probs


class SatSoft:
    """Adversarial training whose labels leave each class as much doubt as its smoothness says."""

    def __init__(self, block: settings.SatSoft) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """The smoothness g of each class."""
        smoothness = torch.full((classes,), self.block.smoothness)
        smoothness[self.block.hard_classes] = self.block.hard_smoothness
        return {"smoothness": smoothness}

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: adv, after those of the attack where it runs in training mode."""
        x, y = batch
        x_adv = end_of(self.walk(nets.attacked(self.block.batchnorm), x, lambda _, z: cross_entropy(z, y)))
        z_adv = nets.student(x_adv)
        return Step(kl(smoothed(y, state["smoothness"]), z_adv).mean(), risks(y, adv=z_adv))

    def next_state(self, state: State, evidence: Evidence) -> State:
        """The smoothness is prior knowledge: it stays."""
        del evidence
        return state


def smoothed(y: Labels, smoothness: PerClass) -> Probs:
    """1 − g for the label, g shared equally by the other classes; g is that of the label."""
    classes = len(smoothness)
    g = smoothness[y][:, None]
    return (g / (classes - 1)).expand(-1, classes).scatter(1, y[:, None], 1 - g)
