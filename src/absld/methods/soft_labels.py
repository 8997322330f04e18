"""What the distillation methods share: asking the teacher, two forwards, two weighted losses."""

from typing import NamedTuple

import torch

from absld.divergences import cross_entropy, kl
from absld.methods.protocol import Batch, Networks
from absld.params import distillation as settings
from absld.shapes import Images, Logits, PerSample, Probs


def ask(nets: Networks, x: Images) -> Logits:
    """The teacher's logits, without a gradient."""
    assert nets.teacher is not None, "the method needs a teacher"
    with torch.no_grad():
        return nets.teacher(x)


class Distilled(NamedTuple):
    """The outcome of a distillation step."""

    loss: PerSample
    z_adv: Logits
    z_clean: Logits


def distil(nets: Networks, x: Images, x_adv: Images, p_adv: Probs, p_clean: Probs, block: settings.Rslad) -> Distilled:
    """kl_scale · [ α·KL(p_adv ‖ s(x')) + (1−α)·KL(p_clean ‖ s(x)) ] of each example.

    The soft labels `p_adv` and `p_clean` carry no gradient. Train-mode forwards: adv, clean, as published.
    """
    z_adv = nets.student(x_adv)
    z_clean = nets.student(x)
    loss = block.kl_scale * (block.alpha * kl(p_adv, z_adv) + (1 - block.alpha) * kl(p_clean, z_clean))
    return Distilled(loss, z_adv, z_clean)


def distil_hot(nets: Networks, batch: Batch, x_adv: Images, p: Probs, block: settings.Ard) -> Distilled:
    """α·kl_scale·KL(p ‖ s(x'; T)) + (1−α)·CE(s(x), y) of each example; `p` has the temperature T already.

    Train-mode forwards: adv, clean, as published, even where the clean term has no weight.
    """
    z_adv = nets.student(x_adv)
    z_clean = nets.student(batch.x)
    soft = block.kl_scale * kl(p, z_adv / block.temperature)
    return Distilled(block.alpha * soft + (1 - block.alpha) * cross_entropy(z_clean, batch.y), z_adv, z_clean)
