"""MTARD, multi-teacher adversarial robustness distillation (Zhao, Yu, Sun, Zhang, Wei: ECCV 2022).

    min_θ  (1−w)·L_adv + w·L_clean      L_adv = KL(t_adv(x') ‖ s(x')),  L_clean = KL(t_clean(x) ‖ s(x))
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)
    w  ←  w − ρ·( w − l_clean / (l_adv + l_clean) )      l = L divided by what it was at the first step of all

t_adv is the robust teacher, t_clean a second one. Every step moves w towards the loss that has fallen less.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.distributed import mean
from absld.divergences import cross_entropy, kl
from absld.methods.protocol import Batch, Evidence, Networks, State, Step, risks
from absld.methods.soft_labels import ask
from absld.params import distillation as settings
from absld.shapes import Scalar


class Mtard:
    """A robust teacher for adversarial images, an accurate one for clean images, kept in step."""

    def __init__(self, block: settings.Mtard) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """Equal weights; the first losses are not known yet."""
        del classes
        return {
            "weight_clean": torch.tensor(0.5),
            "rate": torch.tensor(self.block.rate),
            "first_adv": torch.zeros(()),
            "first_clean": torch.zeros(()),
        }

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: adv, clean. The weights move first: a step is weighed with what it has moved."""
        assert nets.clean_teacher is not None
        x, y = batch
        x_adv = end_of(self.walk(nets.frozen, x, lambda _, z: cross_entropy(z, y)))
        p_adv = ask(nets, x_adv).softmax(-1)
        with torch.no_grad():
            p_clean = nets.clean_teacher(x).softmax(-1)
        z_adv = nets.student(x_adv)
        z_clean = nets.student(x)
        loss_adv = self.block.kl_scale * mean(kl(p_adv, z_adv))
        loss_clean = self.block.kl_scale * mean(kl(p_clean, z_clean))
        moved = _moved(state, loss_adv, loss_clean)
        w = moved["weight_clean"]
        return Step((1 - w) * loss_adv + w * loss_clean, risks(y, adv=z_adv, clean=z_clean), state=moved)

    def next_state(self, state: State, evidence: Evidence) -> State:
        """The rate falls with the learning rate."""
        return {**state, "rate": torch.full_like(state["rate"], self.block.rate * evidence.decay)}


def _moved(state: State, loss_adv: Scalar, loss_clean: Scalar) -> State:
    first_adv = torch.where(state["first_adv"] > 0, state["first_adv"], loss_adv.detach())
    first_clean = torch.where(state["first_clean"] > 0, state["first_clean"], loss_clean.detach())
    adv, clean = loss_adv.detach() / first_adv, loss_clean.detach() / first_clean
    w = state["weight_clean"]
    w = w - state["rate"] * (w - clean / (adv + clean))
    return {"weight_clean": w, "rate": state["rate"], "first_adv": first_adv, "first_clean": first_clean}
