"""What TRADES and the methods built on it share: the attack on KL(s(x) ‖ s(x')) and its two terms."""

from typing import NamedTuple

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy, kl, kl_of_logits
from absld.methods.protocol import Batch, Networks
from absld.shapes import Logits, PerSample, Scalar


class Terms(NamedTuple):
    """The two sides of the trade-off, and the logits they are made of."""

    ce: PerSample
    """CE(s(x), y)"""
    kl: PerSample
    """KL(s(x) ‖ s(x')); the gradient flows through both arguments."""
    z_clean: Logits
    z_adv: Logits


def tradeoff(
    nets: Networks, batch: Batch, walk: LinfWalk, radius: PerSample | None = None, step: Scalar | None = None
) -> Terms:
    """Attack, then train-mode forwards: clean, adv, clean again (the last moves BatchNorm and is the KL's target).

    The target of the walk is constant: evaluation mode is deterministic, so recomputing it at every step, as the
    published code does, gives the same gradient.
    """
    x, y = batch
    with torch.no_grad():
        p = nets.frozen(x).softmax(-1)
    x_adv = end_of(walk(nets.frozen, x, lambda _, z: kl(p, z), radius, step))
    z_clean = nets.student(x)
    z_adv = nets.student(x_adv)
    return Terms(cross_entropy(z_clean, y), kl_of_logits(nets.student(x), z_adv), z_clean, z_adv)
