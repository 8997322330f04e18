"""FRL, fair robust learning: reweight and remargin (Xu, Liu, Li, Jain, Tang: ICML 2021, arXiv 2010.06121).

    min_θ  Σ w⁰_y·CE(s(x), y) / Σ w⁰_y  +  β · Σ w¹_y·KL(s(x) ‖ s(x')) / Σ w¹_y      s = softmax of the student
    x'  =  argmax_{‖x'−x‖∞ ≤ m_y·ε}  KL(s(x) ‖ s(x'))
    λ_j[c]  ←  λ_j[c] + ρ_j·( error_j[c] − mean error_j − threshold )                 j: clean, boundary, margin
    w[c]    =  1/C + λ[c] − mean λ          m_c = clip( exp(2·λ_margin[c]), margin_min, margin_max )

Before every epoch the errors are measured on the validation images: the clean error, and the boundary error (clean
minus robust accuracy), which moves both λ_boundary and λ_margin. Training starts from a robust model.
"""

import torch

from absld.attacks.linf_walk import LinfWalk
from absld.distributed import highest, total
from absld.methods.protocol import Accuracies, Batch, Evidence, Networks, State, Step, risks
from absld.methods.tradeoff import tradeoff
from absld.params import adversarial as settings
from absld.shapes import PerClass


class Frl:
    """TRADES whose classes weigh more, and get a larger ball, while their errors lie above the mean."""

    def __init__(self, block: settings.Frl) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def init(self, classes: int) -> State:
        """All multipliers are 0."""
        return {name: torch.zeros(classes) for name in ("lambda_clean", "lambda_boundary", "lambda_margin")}

    def first_state(self, state: State, validation: Accuracies) -> State:
        """The errors of the model that training starts from."""
        return self._moved(state, validation, epoch=1)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: clean, adv, clean again."""
        y = batch.y
        w_clean, w_boundary = class_weights(state["lambda_clean"])[y], class_weights(state["lambda_boundary"])[y]
        margin = (2 * state["lambda_margin"]).exp().clamp(self.block.margin_min, self.block.margin_max)
        radius = self.block.attack.eps * margin[y]
        terms = tradeoff(
            nets, batch, self.walk, radius, highest(radius.max()) / 4 if self.block.steps_by_radius else None
        )
        loss = _mean(terms.ce, w_clean) + self.block.beta * _mean(terms.kl, w_boundary)
        return Step(loss, risks(y, adv=terms.z_adv, clean=terms.z_clean))

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Move the multipliers for the epoch that follows."""
        return self._moved(state, evidence.validation, evidence.epoch + 1)

    def _moved(self, state: State, accuracy: Accuracies, epoch: int) -> State:
        gap_clean = self._gap(1 - accuracy["clean"])
        gap_boundary = self._gap(accuracy["clean"] - accuracy["pgd"])
        rate = self.block.rate * 0.5 ** (epoch // self.block.rate_halves_every)
        return {
            "lambda_clean": self._limited(state["lambda_clean"] + rate * gap_clean),
            "lambda_boundary": self._limited(state["lambda_boundary"] + 2 * rate * gap_boundary),
            "lambda_margin": state["lambda_margin"] + self.block.margin_rate * gap_boundary,
        }

    def _gap(self, error: PerClass) -> PerClass:
        return (error - error.mean() - self.block.threshold).float()

    def _limited(self, multiplier: PerClass) -> PerClass:
        """From 0, with a sum of at most `limit`."""
        positive = multiplier.clamp(min=0)
        return positive * (self.block.limit / positive.sum()).clamp(max=1)


def class_weights(multiplier: PerClass) -> PerClass:
    """The weights w = 1/C + λ − mean λ: they sum to 1."""
    return 1 / len(multiplier) + multiplier - multiplier.mean()


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return total((weights * values).sum()) / total(weights.sum())
