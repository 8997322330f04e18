"""Settings of the methods that distil a teacher: one class each, with its bounds. The values stand in params.yaml.

Plain data: the code that reads a setting is hashed with its value, this file is not (docs/adr/0003).
"""

from typing import ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from absld.params.adversarial import Origin
from absld.params.attacks import BatchNorm
from absld.params.base import Count, NonNegative, Positive, Ratio, Section
from absld.params.networks import Architecture, Normalisation
from absld.params.recipe import AdversarialMethod


class Rslad(AdversarialMethod):
    """RSLAD (Zi et al. 2021)."""

    needs: ClassVar[tuple[str, ...]] = ("teacher",)

    alpha: Ratio
    """Weight of the adversarial term; the clean term has the rest."""
    kl_scale: Positive
    """Factor on the mean KL: 0.1 is the published mean over 10 classes."""


class Adaad(Rslad):
    """AdaAD (Huang et al. 2023)."""


class Absld(Rslad):
    """ABSLD (Zhao et al. 2024): RSLAD with a teacher temperature per class."""

    beta: NonNegative
    """Rate of the temperatures: the class with the most extreme risk moves by this much an epoch (Eq. 11)."""
    beta_decays: bool
    """true: beta is multiplied by `decay` at the milestones too, as published; false: as the paper's text."""
    tau_min: Positive
    """Lowest temperature: the sharpest soft labels."""
    tau_max: Positive
    """Highest temperature: the smoothest soft labels."""
    coupling: Literal["separate", "product"]
    """separate: each loss has its own (paper); product: all use tau_adv times tau_clean (published code)."""
    learn_tau_adv: bool
    """false: tau_adv stays 1."""
    learn_tau_clean: bool
    """false: tau_clean stays 1 (the paper's ablation Baseline+ABSLD_adv)."""

    @model_validator(mode="after")
    def _one_lies_between_the_bounds(self) -> Self:
        if not self.tau_min <= 1 <= self.tau_max:
            raise PydanticCustomError("bounds", "tau_min <= 1 <= tau_max must hold: temperatures start at 1")
        return self


class Fairness(Section):
    """Class weights by how long a class resists the attack (Yue et al. 2023)."""

    kappa: Literal["count", "first"]
    """Of a walk's points before the last, how many are classified correctly: all (published code), or those before
    the first mistake (paper)."""
    power: NonNegative
    """A class's weight is (1 / mean kappa) to this power, then scaled to mean 1."""
    weight_min: Positive
    weight_max: Positive
    """Bounds of the scaled weights."""

    @model_validator(mode="after")
    def _one_lies_between_the_bounds(self) -> Self:
        if not self.weight_min <= 1 <= self.weight_max:
            raise PydanticCustomError("bounds", "weight_min <= 1 <= weight_max must hold: weights start at 1")
        return self


class FairRslad(Rslad):
    """Fair-RSLAD (Yue et al. 2023): RSLAD with class weights."""

    fairness: Fairness


class Ard(AdversarialMethod):
    """ARD (Goldblum et al. 2020)."""

    needs: ClassVar[tuple[str, ...]] = ("teacher",)

    alpha: Ratio
    """Weight of the soft labels; the cross-entropy on clean images has the rest."""
    temperature: Positive
    """Of teacher and student in the soft-label term."""
    kl_scale: Positive
    """Factor on the mean KL: published is the temperature squared over the number of classes."""
    batchnorm: BatchNorm
    """Mode of BatchNorm while attacking."""


class FairArd(Ard):
    """Fair-ARD (Yue et al. 2023): ARD with class weights."""

    fairness: Fairness


class Iad(AdversarialMethod):
    """IAD (Zhu et al. 2022): a student that trusts itself where its teacher fails."""

    needs: ClassVar[tuple[str, ...]] = ("teacher",)

    temperature: Positive
    kl_scale: Positive
    """Factor on the mean KL: published is the temperature squared."""
    introspect_from: Count
    """The first epoch with the introspective term."""
    trust_power: NonNegative
    """The trust in the teacher is its probability of the label at x', to this power."""
    batchnorm: BatchNorm
    """Mode of BatchNorm while attacking."""


class CleanTeacher(Section):
    """A second teacher, for clean images."""

    architecture: Architecture
    normalisation: Normalisation | None
    origin: Origin


class Mtard(AdversarialMethod):
    """MTARD (Zhao et al. 2022): a robust teacher for adversarial images, another one for clean images."""

    needs: ClassVar[tuple[str, ...]] = ("teacher", "clean_teacher")

    clean_teacher: CleanTeacher
    rate: Ratio
    """How fast the weights of the two teachers move with every step; decays with the learning rate."""
    kl_scale: Positive
    """Factor on the mean KL."""
