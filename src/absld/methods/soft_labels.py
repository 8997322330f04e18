"""What the distillation methods with a clean teacher share: attack, two forwards, two weighted divergences."""

from typing import NamedTuple

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import kl
from absld.methods.protocol import Networks
from absld.shapes import Images, Logits, PerSample, Probs


class Distilled(NamedTuple):
    """The outcome of a distillation step."""

    loss: PerSample
    z_adv: Logits
    z_clean: Logits


def distil(
    nets: Networks, x: Images, p_adv: Probs, p_clean: Probs, *, walk: LinfWalk, alpha: float, kl_scale: float
) -> Distilled:
    """kl_scale · [ α·KL(p_adv ‖ s(x')) + (1−α)·KL(p_clean ‖ s(x)) ], x' ↑ KL(p_adv ‖ s(x')).

    The soft labels `p_adv` and `p_clean` carry no gradient. Train-mode forwards: adv, clean, as published.
    """
    x_adv = end_of(walk(nets.frozen, x, lambda _, z: kl(p_adv, z)))
    z_adv = nets.student(x_adv)
    z_clean = nets.student(x)
    loss = kl_scale * (alpha * kl(p_adv, z_adv) + (1 - alpha) * kl(p_clean, z_clean))
    return Distilled(loss, z_adv, z_clean)
