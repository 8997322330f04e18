"""Two attacks on the same images, and whether one left clearly more than the other."""

import math
from dataclasses import dataclass

import numpy as np

from absld.evaluation.verdicts import Verdict

STANDARD_ERRORS = 2


@dataclass(frozen=True)
class Contest:
    """Only the images that one of the attacks left and the other did not say which is stronger (McNemar 1947)."""

    images: int
    """Images that met both."""
    only_strong: int
    """Of these, how many survive the attack that should be the stronger one, but not the other."""
    only_weak: int

    @classmethod
    def of(cls, strong: Verdict, weak: Verdict) -> "Contest":
        """Compare on the images that both attacked."""
        both, in_strong, in_weak = np.intersect1d(strong.rows, weak.rows, assume_unique=True, return_indices=True)
        left, lost = strong.survived[in_strong], weak.survived[in_weak]
        return cls(len(both), int((left & ~lost).sum()), int((lost & ~left).sum()))

    @property
    def reversed(self) -> bool:
        """Whether the attack that should be stronger is weaker, beyond noise.

        Were they equally strong, each of the k images in question would be either's with chance 1/2, so the difference
        would have standard error √k. Two of them are noise: five images of five are the first to count.
        """
        undecided = self.only_strong + self.only_weak
        return self.only_strong - self.only_weak > STANDARD_ERRORS * math.sqrt(undecided)

    def __str__(self) -> str:
        return f"{self.only_strong} of {self.images} images survive only the former, {self.only_weak} only the latter"
