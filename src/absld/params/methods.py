"""One class per method, side by side: what can be set, within which bounds. The values stand in params.yaml.

Plain data: the code that reads a setting is hashed with its value, this file is not (docs/adr/0003).
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, create_model, model_validator
from pydantic_core import PydanticCustomError

from absld.params.attacks import Walk
from absld.params.base import Count, NonNegative, Positive, Ratio, Section

Milestones = list[Count]


class Optimiser(Section):
    """Stochastic gradient descent with momentum."""

    lr: Positive
    """Learning rate of the first epoch."""
    momentum: Ratio
    nesterov: bool
    weight_decay: NonNegative
    batch_size: Count
    """Images a step; the last, smaller batch of an epoch is kept."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and not self.momentum:
            raise PydanticCustomError("nesterov", "nesterov needs a momentum above 0")
        return self


class Method(Section):
    """What every method has: how long, how fast, against which attack."""

    epochs: Count
    milestones: Milestones
    """After each of these epochs (counted from 1) the learning rate is multiplied by `decay`."""
    decay: Ratio
    optimiser: Optimiser
    attack: Walk

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if self.milestones != sorted(set(self.milestones)):
            raise PydanticCustomError("milestones", "milestones must rise")
        return self


class Trades(Method):
    """TRADES (Zhang et al. 2019)."""

    beta: NonNegative
    """Weight of the robust term, KL(s(x) ‖ s(x')), beside the cross-entropy on clean images."""


class Rslad(Method):
    """RSLAD (Zi et al. 2021)."""

    alpha: Ratio
    """Weight of the adversarial term; the clean term has the rest."""
    kl_scale: Positive
    """Factor on the mean KL: 0.1 is the published mean over 10 classes."""


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


class Methods(Section):
    """A block for every method; those in `runs.methods` are trained."""

    trades: Trades
    rslad: Rslad
    absld: Absld


def _known_method(name: str) -> str:
    if name not in Methods.model_fields:
        near = get_close_matches(name, Methods.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(Methods.model_fields)}"
        raise PydanticCustomError("method", "unknown method: {hint}", {"hint": hint})
    return name


MethodName = Annotated[str, AfterValidator(_known_method)]
"""The name of a block of `methods`."""


def _exactly_one(self: Any) -> Any:
    if sum(value is not None for _, value in self) != 1:
        raise PydanticCustomError("one_method", "give the block of exactly one method")
    return self


OneMethod: Any = create_model(
    "OneMethod",
    __base__=Section,
    __doc__="The block of one method, under its name.",
    __validators__={"_exactly_one": model_validator(mode="after")(_exactly_one)},
    **{name: (field.annotation | None, None) for name, field in Methods.model_fields.items()},  # type: ignore
)
