"""TRADES (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan: ICML 2019, arXiv 1901.08573).

    min_θ  CE(s(x), y)  +  β · KL(s(x) ‖ s(x'))            s = softmax of the student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(s(x) ‖ s(x'))

The gradient flows through both arguments of the outer KL.
"""

from absld.attacks.linf_walk import LinfWalk
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.methods.tradeoff import tradeoff
from absld.params import adversarial as settings


class Trades(Stateless):
    """Trade clean accuracy against the distance between clean and adversarial outputs."""

    def __init__(self, block: settings.Trades) -> None:
        self.beta = block.beta
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean, adv, clean again, as published."""
        del state
        terms = tradeoff(nets, batch, self.walk)
        loss = terms.ce + self.beta * terms.kl
        return Step(loss.mean(), risks(batch.y, adv=terms.z_adv, clean=terms.z_clean))
