"""What every method has: how long it trains, how fast, and which weights go on."""

from typing import ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from absld.params.attacks import Walk
from absld.params.base import Count, NonNegative, Positive, Ratio, Section
from absld.params.networks import Normalisation
from absld.params.train import Padding

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


class Averaging(Section):
    """An exponential average of the weights and BatchNorm statistics, one step after each epoch that is accepted."""

    decay: Ratio
    """Share of the old average; the epoch's weights have the rest."""
    begin: Count
    """The first epoch whose weights may enter."""
    threshold: Ratio
    """An epoch's weights enter if its worst validation accuracy under attack is at least this (FAWA); 0: always."""
    measure: Literal["worst", "worst10"]
    """worst: the lowest class accuracy; worst10: the mean of the lowest tenth of the classes."""


class Method(Section):
    """What every method has."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Networks besides the student: `teacher` is the pipeline's own; any other is a key of the block, which says where
    it is from."""

    epochs: Count
    milestones: Milestones
    """After each of these epochs (counted from 1) the learning rate is multiplied by `decay`."""
    decay: Ratio
    keep: Literal["best", "last"]
    """Which epoch's weights go on: the best on the images that select, or the last."""
    averaging: Averaging | None
    """Report averaged weights instead of each epoch's own; null: do not."""
    optimiser: Optimiser

    @model_validator(mode="after")
    def _milestones_rise(self) -> Self:
        if self.milestones != sorted(set(self.milestones)):
            raise PydanticCustomError("milestones", "milestones must rise")
        return self


class AdversarialMethod(Method):
    """A method that trains against an attack."""

    attack: Walk


class OwnInput(Section):
    """Of a method whose images are treated in its own way."""

    normalisation: Normalisation | None
    """null: as `student.normalisation` says."""
    padding: Padding
    """What is padded around an image before the random crop."""
