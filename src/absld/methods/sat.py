"""SAT, PGD adversarial training (Madry, Makelov, Schmidt, Tsipras, Vladu: ICLR 2018, arXiv 1706.06083).

min_θ  CE(s(x'), y)                                    s = softmax of the student
x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)
"""

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.params import adversarial as settings


class Sat(Stateless):
    """Train on the worst image that the walk finds around each training image."""

    def __init__(self, block: settings.Sat) -> None:
        self.batchnorm = block.batchnorm
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: adv, after those of the attack where it runs in training mode."""
        del state
        x, y = batch
        x_adv = end_of(self.walk(nets.attacked(self.batchnorm), x, lambda _, z: cross_entropy(z, y)))
        z_adv = nets.student(x_adv)
        return Step(cross_entropy(z_adv, y).mean(), risks(y, adv=z_adv))
