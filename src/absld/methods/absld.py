"""ABSLD, anti-bias soft label distillation (Zhao, Wang, Wei: NeurIPS 2024, arXiv 2312.05508).

    min_θ  α·KL(P_adv ‖ s(x'))  +  (1−α)·KL(P_clean ‖ s(x))        P_b = softmax(T(x) / τ_b[y])     (Eq. 8, 12)
    x'  =  argmax_{‖x'−x‖∞ ≤ ε}  KL(P_adv ‖ s(x'))                                                   (Eq. 13)
    τ_b[k]  ←  clip( τ_b[k] − β·(R_b[k] − mean R_b) / max|R_b − mean R_b|,  τ_min, τ_max )           (Eq. 11)

b is adv or clean; R_b[k] is class k's error risk: the mean cross-entropy over an epoch. A harder class has a larger
risk, so its temperature falls and its soft labels get sharper. Temperatures start at 1; the teacher's own is 1.
"""

import torch

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import kl, soften
from absld.methods.protocol import Batch, Evidence, Networks, State, Step, risks
from absld.methods.soft_labels import ask, distil
from absld.params import distillation as settings
from absld.shapes import PerClass

ROUNDING = 1e-6
"""Of a mean in float32, relative: some ulps."""


class Absld:
    """RSLAD with a temperature per class, one for clean and one for adversarial images."""

    def __init__(self, block: settings.Absld) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """All temperatures are 1."""
        return {"tau_adv": torch.ones(classes), "tau_clean": torch.ones(classes)}

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """One teacher forward serves both temperatures; attack, adv and clean forward of the student."""
        x, y = batch
        z = ask(nets, x)
        tau_adv, tau_clean = self._coupled(state["tau_adv"][y], state["tau_clean"][y])
        p_adv, p_clean = soften(z, tau_adv), soften(z, tau_clean)
        x_adv = end_of(self.walk(nets.frozen, x, lambda _, z: kl(p_adv, z)))
        loss, z_adv, z_clean = distil(nets, x, x_adv, p_adv, p_clean, self.block)
        return Step(loss.mean(), risks(y, adv=z_adv, clean=z_clean))

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Move the temperatures of each branch that is learned (Eq. 11)."""
        rate = self.block.beta * (evidence.decay if self.block.beta_decays else 1)
        learned = {"adv": self.block.learn_tau_adv, "clean": self.block.learn_tau_clean}
        return {
            f"tau_{branch}": update_temperature(
                state[f"tau_{branch}"],
                evidence.mean(f"risk_{branch}"),
                rate if learn else 0,
                self.block.tau_min,
                self.block.tau_max,
            )
            for branch, learn in learned.items()
        }

    def _coupled(self, tau_adv: torch.Tensor, tau_clean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.block.coupling == "separate":
            return tau_adv, tau_clean
        return tau_adv * tau_clean, tau_adv * tau_clean  # what the published code computes: docs/papers.md, D-01


def update_temperature(tau: PerClass, risk: PerClass, rate: float, low: float, high: float) -> PerClass:
    """One epoch of Eq. 11. The class whose risk is furthest from the mean moves by exactly `rate`, but for the bounds.

    Equal risks leave the temperatures alone: there is nothing to correct, and no 0/0. Differences within the rounding
    of the mean count as none, or a tie would move every class.
    """
    gap = risk - risk.mean()
    top = gap.abs().max()
    share = torch.where(top > ROUNDING * risk.abs().max(), gap / top, torch.zeros_like(gap))
    return (tau - rate * share).clamp(low, high)
