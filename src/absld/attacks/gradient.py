"""FGSM, PGD and CW∞: the same walk with another length, another start, another loss. The last point counts.

FGSM   one step of length ε on the cross-entropy                            (Goodfellow et al. 2015)
PGD    `steps` steps on the cross-entropy                                   (Madry et al. 2018)
CW∞    `steps` steps on −max(z_y − max_{j≠y} z_j + κ, 0)                    (Carlini and Wagner 2017, as IAD runs it)
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from absld.attacks.linf_walk import LinfWalk, Net, end_of
from absld.divergences import cross_entropy
from absld.params.attacks import Start
from absld.shapes import Images, Labels, Logits, PerSample

Loss = Callable[[Logits, Labels], PerSample]


def margin(z: Logits, y: Labels) -> PerSample:
    """z_y − max_{j≠y} z_j: positive where the answer is right."""
    true = y[:, None]
    return z.gather(1, true).squeeze(1) - z.scatter(1, true, -torch.inf).amax(1)


@dataclass(frozen=True)
class GradientAttack:
    """A walk and what it increases. The network must be in evaluation mode; nothing here changes its mode."""

    walk: LinfWalk
    loss: Loss

    def __call__(self, net: Net, x: Images, y: Labels) -> Images:
        """The adversarial example of each image, inside the ball and [0, 1]."""
        return end_of(self.walk(net, x, lambda _, z: self.loss(z, y)))


def fgsm(eps: float, start: Start) -> GradientAttack:
    """One step as long as the ball is wide."""
    return GradientAttack(LinfWalk(eps=eps, step=eps, steps=1, start=start), cross_entropy)


def pgd(walk: LinfWalk) -> GradientAttack:
    """The walk on the cross-entropy."""
    return GradientAttack(walk, cross_entropy)


def cw(walk: LinfWalk, kappa: float) -> GradientAttack:
    """The walk on the margin, which goes on for as long as a wrong answer leads by less than `kappa`."""
    return GradientAttack(walk, lambda z, y: -(margin(z, y) + kappa).clamp(min=0))
