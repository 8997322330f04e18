"""CFA on TRADES, class-wise calibrated fair adversarial training (Wei, Wang, Guo, Wang: CVPR 2023, arXiv 2303.14460).

    min_θ  (1−m_y)·CE(s(x), y)  +  m_y·KL(s(x) ‖ s(x'))      m_c = β_c / (1 + β_c),  s = softmax of the student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε_y}  KL(s(x) ‖ s(x'))
    ε_c =  (λ_margin + t_c)·ε          β_c = (λ_beta + t_c)·β          t_c: robust accuracy of class c, an epoch ago

t_c is what training saw: on x' in the ball ε_c, in training mode, before the step. CFA's weights are averaged (FAWA):
that is `averaging`, which every method can have.
"""

import torch

from absld.attacks.linf_walk import LinfWalk
from absld.methods.protocol import Batch, Evidence, Networks, State, Step, risks
from absld.methods.tradeoff import tradeoff
from absld.params import adversarial as settings


class Cfa:
    """TRADES with a radius and a weight of its own for each class."""

    def __init__(self, block: settings.Cfa) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """Before the calibration all classes have TRADES' ε and β."""
        return {
            "radius": torch.full((classes,), self.block.attack.eps),
            "beta": torch.full((classes,), self.block.beta),
        }

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean, adv, clean again; and clean once more after the step, as published."""
        x, y = batch
        terms = tradeoff(nets, batch, self.walk, state["radius"][y])
        beta = state["beta"][y]
        loss = (terms.ce + beta * terms.kl) / (1 + beta)
        seen = {
            **risks(y, adv=terms.z_adv, clean=terms.z_clean),
            "robust": (terms.z_adv.detach().argmax(1) == y).float(),
        }
        return Step(loss.mean(), seen, forward_after=x if self.block.extra_clean_forward else None)

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Calibrate radius and weight by the robust accuracy that this epoch's training saw."""
        if evidence.epoch + 1 < self.block.calibrate_from:
            return state
        t = evidence.mean("robust")
        return {
            "radius": (self.block.lambda_margin + t) * self.block.attack.eps,
            "beta": (self.block.lambda_beta + t) * self.block.beta,
        }
