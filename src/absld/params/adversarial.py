"""Settings of the methods that need no teacher: one class each, with its bounds. The values stand in params.yaml.

Plain data: the code that reads a setting is hashed with its value, this file is not (docs/adr/0003).
"""

from pathlib import PurePath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from absld.params.attacks import BatchNorm
from absld.params.base import Count, NonNegative, Number, Positive, Ratio, Section, Sha256
from absld.params.recipe import AdversarialMethod, Method, OwnInput


class Natural(Method):
    """Plain training on clean images."""


class Sat(AdversarialMethod):
    """SAT, PGD adversarial training (Madry et al. 2018)."""

    batchnorm: BatchNorm
    """Mode of BatchNorm while attacking."""


class SatSoft(Sat):
    """SAT with smoothed labels: the same smoothness for all classes (SSD), or another one for the hard ones (DSD)."""

    smoothness: Ratio
    """Probability that the label takes from the true class and shares among the others."""
    hard_smoothness: Ratio
    """The same for the hard classes."""
    hard_classes: list[Annotated[int, Field(ge=0)]]
    """Which classes are hard, counted from 0 in the order of the data set."""


class Trades(AdversarialMethod):
    """TRADES (Zhang et al. 2019)."""

    beta: NonNegative
    """Weight of the robust term, KL(s(x) ‖ s(x')), beside the cross-entropy on clean images."""


class Bat(Trades):
    """BAT, balance adversarial training (Sun et al. 2023)."""

    tolerance: Annotated[int, Field(ge=0)]
    """How many more points after the first mistake the adversarial example goes: 1 published code, 0 paper."""
    uniform: NonNegative
    """Weight of the two terms that pull predictions towards uniform ones."""
    uniform_over: Literal["all", "others"]
    """all: uniform over all classes (published code); others: over the wrong ones (paper)."""


class Cfa(Trades, OwnInput):
    """CFA on TRADES (Wei et al. 2023)."""

    lambda_margin: Ratio
    """A class's radius is (this + its robust accuracy) times eps."""
    lambda_beta: Ratio
    """A class's weight of the robust term is (this + its robust accuracy) times beta."""
    calibrate_from: Annotated[int, Field(ge=2)]
    """The first epoch with a radius and a weight for each class, from the accuracies of the epoch before."""
    extra_clean_forward: bool
    """true: clean images are forwarded once more after each step, which moves BatchNorm (published code)."""


class Fat(AdversarialMethod):
    """FAT (Ma et al. 2022): adversarial training that keeps the class losses together."""

    variance_weight: NonNegative
    """Weight of the variance over the classes of their mean losses in a batch."""


class Alone(Section):
    """The block of one method that needs nothing else, under its name."""

    natural: Natural | None = None
    sat: Sat | None = None
    trades: Trades | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(block is not None for _, block in self) != 1:
            raise PydanticCustomError("one_method", "give the block of exactly one of natural, sat, trades")
        return self


class TrainedHere(Section):
    """Trained first, in the same stage and with the same seed."""

    source: Literal["train"]
    method: Alone


class FromFile(Section):
    """Weights in a file: safetensors, or what torch.save wrote (opened with weights_only)."""

    source: Literal["file"]
    path: str
    """Relative to params.yaml."""
    sha256: Sha256

    @field_serializer("path")
    def _last_name(self, path: str) -> str:
        """Results are published with their settings: where the file lies is this machine's own, its hash says which."""
        return PurePath(path).name


Origin = Annotated[TrainedHere | FromFile, Field(discriminator="source")]
"""Where a network is from that a method brings."""


class Frl(AdversarialMethod):
    """FRL, reweight and remargin (Xu et al. 2021)."""

    needs: ClassVar[tuple[str, ...]] = ("start",)

    start: Origin
    """A robust model of the student's architecture, from which training starts."""
    beta: NonNegative
    """Weight of the boundary term."""
    threshold: Ratio
    """How far a class's clean or boundary error may lie above the mean before its multiplier grows."""
    rate: NonNegative
    """Of the clean multipliers; the boundary ones move at twice this."""
    rate_halves_every: Count
    """Epochs after which `rate` is halved."""
    margin_rate: NonNegative
    """Of the multipliers that set each class's radius; 0: reweight alone."""
    limit: Annotated[Number, Field(gt=0, lt=1)]
    """Largest sum over the classes of either kind of multiplier; below 1 no class can get a negative weight."""
    margin_min: Positive
    margin_max: Positive
    """Bounds of a class's radius, in units of eps."""
    steps_by_radius: bool
    """true: each step is a quarter of the batch's largest radius (published code); false: attack.step."""

    @model_validator(mode="after")
    def _margins_rise(self) -> Self:
        if self.margin_min > self.margin_max:
            raise PydanticCustomError("bounds", "margin_min <= margin_max must hold")
        return self
