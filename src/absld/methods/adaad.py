"""AdaAD, adaptive adversarial distillation (Huang, Chen, Wang, Lu, Cheng, Wang: CVPR 2023).

    min_θ  α·KL(t(x') ‖ s(x'))  +  (1−α)·KL(t(x) ‖ s(x))      t, s = softmax of teacher and student
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(t(x') ‖ s(x'))

The attack climbs through both networks: the teacher's answer moves with x' too.
"""

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import kl, kl_of_logits
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.methods.soft_labels import ask
from absld.params import distillation as settings
from absld.shapes import Images, Logits, PerSample


class Adaad(Stateless):
    """Look for the images on which student and teacher differ most, and ask the teacher there."""

    def __init__(self, block: settings.Adaad) -> None:
        self.alpha, self.kl_scale = block.alpha, block.kl_scale
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean, adv, as published, even where the clean term has no weight."""
        del state
        teacher = nets.teacher
        assert teacher is not None
        x, y = batch

        def disagreement(point: Images, z: Logits) -> PerSample:
            return kl_of_logits(teacher(point), z)

        x_adv = end_of(self.walk(nets.frozen, x, disagreement))
        z_clean = nets.student(x)
        z_adv = nets.student(x_adv)
        p_adv, p_clean = ask(nets, x_adv).softmax(-1), ask(nets, x).softmax(-1)
        loss = self.kl_scale * (self.alpha * kl(p_adv, z_adv) + (1 - self.alpha) * kl(p_clean, z_clean))
        return Step(loss.mean(), risks(y, adv=z_adv, clean=z_clean))
