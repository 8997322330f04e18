"""Losses per example, in nats: one value per example, reduced by whoever calls."""

import torch.nn.functional as F

from absld.shapes import Labels, Logits, PerSample, Probs


def cross_entropy(z: Logits, y: Labels) -> PerSample:
    """−log softmax(z)[y], per example."""
    return F.cross_entropy(z, y, reduction="none")


def kl(p: Probs, z: Logits) -> PerSample:
    """KL(p ‖ softmax(z)), summed over the classes, per example. The first argument is the target.

    A target probability of exactly 0 contributes 0. `p` is to be constant: `kl_of_logits` is for one that is learned.
    """
    return F.kl_div(z.log_softmax(-1), p, reduction="none").sum(-1)


def kl_of_logits(z_target: Logits, z: Logits) -> PerSample:
    """KL(softmax(z_target) ‖ softmax(z)), per example; for a target that carries a gradient.

    A target probability may underflow to 0: its logarithm is never taken, so the gradient stays finite.
    """
    log_p = z_target.log_softmax(-1)
    return (log_p.exp() * (log_p - z.log_softmax(-1))).sum(-1)


def soften(z: Logits, tau: PerSample) -> Probs:
    """softmax(z / τ), with a temperature per example: below 1 sharpens, above 1 smooths."""
    return (z / tau[:, None]).softmax(-1)
