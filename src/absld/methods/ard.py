"""ARD, adversarially robust distillation (Goldblum, Fowl, Feizi, Goldstein: AAAI 2020, arXiv 1905.09747).

    min_θ  α·T²/C·KL(t(x; T) ‖ s(x'; T))  +  (1−α)·CE(s(x), y)      t, s = softmax of the logits divided by T
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)

T²/C is `kl_scale`. The published attack runs in training mode: BatchNorm uses the batch's statistics.
"""

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.methods.soft_labels import ask, distil_hot
from absld.params import distillation as settings


class Ard(Stateless):
    """Match the teacher's hot clean predictions on adversarial images."""

    def __init__(self, block: settings.Ard) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: those of the attack (if so set), adv, clean."""
        del state
        x, y = batch
        p = (ask(nets, x) / self.block.temperature).softmax(-1)
        x_adv = end_of(self.walk(nets.attacked(self.block.batchnorm), x, lambda _, z: cross_entropy(z, y)))
        loss, z_adv, z_clean = distil_hot(nets, batch, x_adv, p, self.block)
        return Step(loss.mean(), risks(y, adv=z_adv, clean=z_clean))
