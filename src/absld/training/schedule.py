"""When the learning rate falls, and with it the rate of ABSLD's temperatures.

A milestone e is an epoch, counted from 1, after which the factor applies: epochs 1..e train at the old rate. The
temperatures are updated at the end of an epoch and see the factor of that same epoch's milestone already, as published.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Multiply by `decay` after each of `milestones`."""

    milestones: tuple[int, ...]
    decay: float

    def before(self, epoch: int) -> float:
        """The product of factors that hold while `epoch` trains: times the first learning rate."""
        return self.decay ** sum(milestone < epoch for milestone in self.milestones)

    def after(self, epoch: int) -> float:
        """The product of factors that hold when `epoch` has ended: times ABSLD's first β."""
        return self.before(epoch + 1)
