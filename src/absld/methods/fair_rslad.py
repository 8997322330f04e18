"""Fair-RSLAD (Yue, Mou, Wang, Zhao: NeurIPS 2023): RSLAD with class weights.

    min_θ  w_y · [ α·KL(t(x) ‖ s(x'))  +  (1−α)·KL(t(x) ‖ s(x)) ]      t, s = softmax of teacher and student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(t(x) ‖ s(x'))

w_c falls with κ, the number of the attack's points that class c resists (absld.methods.resistance).
"""

from absld.attacks.linf_walk import LinfWalk
from absld.divergences import kl
from absld.methods.protocol import Batch, Networks, State, Step, risks
from absld.methods.resistance import Resistance
from absld.methods.soft_labels import ask, distil
from absld.params import distillation as settings


class FairRslad(Resistance):
    """RSLAD that weighs the classes which fall early more."""

    def __init__(self, block: settings.FairRslad) -> None:
        super().__init__(block.fairness)
        self.settings = block
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """One teacher forward; attack, adv and clean forward of the student."""
        x, y = batch
        p = ask(nets, x).softmax(-1)
        x_adv, kappa = self.count(self.walk(nets.frozen, x, lambda _, z: kl(p, z)), y)
        loss, z_adv, z_clean = distil(nets, x, x_adv, p, p, self.settings)
        return Step((state["weight"][y] * loss).mean(), {**risks(y, adv=z_adv, clean=z_clean), "kappa": kappa})
