"""TRADES (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan: ICML 2019, arXiv 1901.08573).

    min_θ  CE(s(x), y)  +  β · KL(s(x) ‖ s(x'))            s = softmax of the student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(s(x) ‖ s(x'))

The gradient flows through both arguments of the outer KL. The target s(x) of the walk is constant: evaluation mode is
deterministic, so recomputing it at every step, as the published code does, gives the same gradient.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy, kl, kl_of_logits
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.params import methods as settings


class Trades(Stateless):
    """Trade clean accuracy against the distance between clean and adversarial outputs."""

    def __init__(self, block: settings.Trades) -> None:
        self.beta = block.beta
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean, adv, clean again, as published (the third moves only BatchNorm statistics)."""
        del state
        x, y = batch
        with torch.no_grad():
            p = nets.frozen(x).softmax(-1)
        x_adv = end_of(self.walk(nets.frozen, x, lambda _, z: kl(p, z)))
        z = nets.student(x)
        z_adv = nets.student(x_adv)
        loss = cross_entropy(z, y) + self.beta * kl_of_logits(nets.student(x), z_adv)
        return Step(loss.mean(), risks(z_adv, z, y))
