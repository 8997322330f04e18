"""Fair-ARD (Yue, Mou, Wang, Zhao: NeurIPS 2023): ARD with class weights.

    min_θ  w_y · [ α·T²/C·KL(t(x; T) ‖ s(x'; T))  +  (1−α)·CE(s(x), y) ]      t, s = softmax of the logits over T
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  CE(s(x'), y)

w_c falls with κ, the number of the attack's points that class c resists (absld.methods.resistance). T²/C is `kl_scale`.
"""

from absld.attacks.linf_walk import LinfWalk
from absld.divergences import cross_entropy
from absld.methods.protocol import Batch, Networks, State, Step, risks
from absld.methods.resistance import Resistance
from absld.methods.soft_labels import ask, distil_hot
from absld.params import distillation as settings


class FairArd(Resistance):
    """ARD that weighs the classes which fall early more."""

    def __init__(self, block: settings.FairArd) -> None:
        super().__init__(block.fairness)
        self.settings = block
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: those of the attack (if so set), adv, clean."""
        x, y = batch
        p = (ask(nets, x) / self.settings.temperature).softmax(-1)
        attacked = nets.attacked(self.settings.batchnorm)
        x_adv, kappa = self.count(self.walk(attacked, x, lambda _, z: cross_entropy(z, y)), y)
        loss, z_adv, z_clean = distil_hot(nets, batch, x_adv, p, self.settings)
        return Step((state["weight"][y] * loss).mean(), {**risks(y, adv=z_adv, clean=z_clean), "kappa": kappa})
