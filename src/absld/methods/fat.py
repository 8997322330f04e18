"""FAT, fairly adversarial training (Ma, Wang, Liu: NeurIPS 2022).

    min_θ  CE(s(x'), y)  +  γ · Var_c( mean CE(s(x'), y) of class c )      s = softmax of the student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)

γ is `variance_weight`. The variance is the population's, over the classes that the batch holds.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.distributed import total
from absld.divergences import cross_entropy
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.params import adversarial as settings
from absld.shapes import Labels, PerSample, Scalar


class Fat(Stateless):
    """Adversarial training that pays for differences between the classes."""

    def __init__(self, block: settings.Fat) -> None:
        self.variance_weight = block.variance_weight
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: adv."""
        del state
        x, y = batch
        x_adv = end_of(self.walk(nets.frozen, x, lambda _, z: cross_entropy(z, y)))
        z_adv = nets.student(x_adv)
        loss = cross_entropy(z_adv, y)
        variance = variance_over_classes(loss, y, z_adv.shape[1])
        return Step(loss.mean() + self.variance_weight * variance, risks(y, adv=z_adv))


def variance_over_classes(values: PerSample, y: Labels, classes: int) -> Scalar:
    """Population variance of the class means of `values`, over the classes that occur in `y`."""
    count = total(values.new_zeros(classes).index_add_(0, y, torch.ones_like(values)))
    means = total(torch.zeros_like(count).index_add(0, y, values)) / count.clamp(min=1)
    present = (count > 0).to(values.dtype)
    centre = (present * means).sum() / present.sum()
    return (present * (means - centre) ** 2).sum() / present.sum()
