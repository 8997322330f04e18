"""RSLAD, robust soft label adversarial distillation (Zi, Zhao, Ma, Jiang: ICCV 2021, arXiv 2108.07969).

    min_θ  α·KL(t(x) ‖ s(x'))  +  (1−α)·KL(t(x) ‖ s(x))      t, s = softmax of teacher and student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(t(x) ‖ s(x'))

No label is used. The published mean over batch and 10 classes is `kl_scale` 0.1 times the mean KL.
"""

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import kl
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.methods.soft_labels import ask, distil
from absld.params import distillation as settings


class Rslad(Stateless):
    """Distil the robust teacher's clean predictions into clean and adversarial images."""

    def __init__(self, block: settings.Rslad) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """One teacher forward; attack, adv and clean forward of the student."""
        del state
        x, y = batch
        p = ask(nets, x).softmax(-1)
        x_adv = end_of(self.walk(nets.frozen, x, lambda _, z: kl(p, z)))
        loss, z_adv, z_clean = distil(nets, x, x_adv, p, p, self.block)
        return Step(loss.mean(), risks(y, adv=z_adv, clean=z_clean))
