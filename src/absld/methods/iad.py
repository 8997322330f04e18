"""IAD, introspective adversarial distillation (Zhu et al.: ICLR 2022, arXiv 2106.04928).

    min_θ  T²·KL(t(x; T) ‖ s(x'; T))  +  (1 − a)·KL(s(x) ‖ s(x'))      a = t(x')[y]^trust_power
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)

a is the trust in the teacher. The second term, the student's introspection, joins late. As in the published code its
target carries a gradient, and the first term is not weighted by a. T² is `kl_scale`.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy, kl, kl_of_logits
from absld.methods.protocol import Batch, Evidence, Networks, State, Step, risks
from absld.methods.soft_labels import ask
from absld.params import distillation as settings


class Iad:
    """Trust the teacher where it resists x', oneself where it does not."""

    def __init__(self, block: settings.Iad) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """Without introspection, unless it begins at once."""
        del classes
        return self._at(1)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: those of the attack, adv, adv, clean, and clean again for the introspection.

        The second adv forward and the first clean one only move BatchNorm: so does the published code.
        """
        x, y = batch
        temperature = self.block.temperature
        x_adv = end_of(self.walk(nets.attacked(self.block.batchnorm), x, lambda _, z: cross_entropy(z, y)))
        p = (ask(nets, x) / temperature).softmax(-1)
        trust = ask(nets, x_adv).softmax(-1).gather(1, y[:, None])[:, 0] ** self.block.trust_power
        z_adv, _, z_clean = nets.student(x_adv), nets.student(x_adv), nets.student(x)
        loss = self.block.kl_scale * kl(p, z_adv / temperature)
        if "introspection" in state:
            loss = loss + (1 - trust) * kl_of_logits(nets.student(x), z_adv)
        return Step(loss.mean(), {**risks(y, adv=z_adv, clean=z_clean), "trust": trust})

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Introspection begins with its epoch."""
        del state
        return self._at(evidence.epoch + 1)

    def _at(self, epoch: int) -> State:
        return {"introspection": torch.ones(())} if epoch >= self.block.introspect_from else {}
