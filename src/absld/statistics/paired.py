"""Two students on the same images: is one better, class by class and over all? Definitions: docs/metrics.md.

Both met the same images, so only those count that one of them gets right and the other wrong. If neither were better,
each such image would fall to either with probability 1/2 (McNemar 1947; here the exact binomial test).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from absld.statistics.bootstrap import Interval, middle95, redrawn
from absld.statistics.metrics import OVER_CLASSES, ClassTable, Counts, Rates

LEVEL = 0.05
"""Differences with a p-value below it are called significant."""
POWER = 0.8
"""Chance to find a difference significant that is there, for `images_needed`."""

Verdicts = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What became of the same images with two students."""

    first: Verdicts
    """(images,): classified correctly, under the attack, by the first student."""
    second: Verdicts
    y: Counts
    """(images,): labels in [0, classes), each there at least once."""
    classes: int

    @property
    def tables(self) -> tuple[ClassTable, ClassTable]:
        """The counts of either student."""
        return ClassTable.of(self.first, self.y, self.classes), ClassTable.of(self.second, self.y, self.classes)

    @property
    def total(self) -> Counts:
        """(classes,): images."""
        return np.bincount(self.y, minlength=self.classes).astype(np.int64)

    @property
    def only_first(self) -> Counts:
        """(classes,): images that the first alone gets right."""
        return np.bincount(self.y[self.first & ~self.second], minlength=self.classes).astype(np.int64)

    @property
    def only_second(self) -> Counts:
        """(classes,): images that the second alone gets right."""
        return np.bincount(self.y[self.second & ~self.first], minlength=self.classes).astype(np.int64)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test: twice the smaller tail of Binomial(sum of both, 1/2), 1 at most."""
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected for their number (Holm 1979).

    Where nothing differs, the chance that any of them is below 5 % stays below 5 %, whatever their dependence.
    """
    adjusted, floor = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = floor
    return adjusted


def images_needed(difference: float, discordant: float, tests: int = 1) -> int | None:
    """Images with which such a difference is found in four of five attempts; None where there is no difference.

    Connor (1987) for McNemar's test: n = (z_a √q + z_b √(q - d²))² / d². The exact test also needs so many images that
    only one of the two gets right that it could come out at all if all of them fell to one side.

    Args:
        difference: d, second minus first, as a fraction of the images.
        discordant: q, the share of the images that exactly one of the two gets right.
        tests: How many tests the 5 % are shared among: the number of classes for one of them.

    """
    if not difference:
        return None
    level, normal = LEVEL / tests, NormalDist()
    root = normal.inv_cdf(1 - level / 2) * sqrt(discordant)
    root += normal.inv_cdf(POWER) * sqrt(max(0.0, discordant - difference**2))
    return ceil(max((root / difference) ** 2, ceil(log2(2 / level)) / discordant))


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the images say about two students; differences are second minus first, as fractions."""

    only_first: Counts
    """(classes,): images that the first alone gets right."""
    only_second: Counts
    differences: Rates
    """(classes,)"""
    p: Sequence[float]
    """(classes,), Holm-corrected."""
    difference_all: float
    """Over all images, whatever their class."""
    p_all: float
    """A test of its own, not corrected."""
    differences95: dict[str, Interval]
    """95 % intervals of average, worst, worst10 and overall: what other test images would have given."""

    @property
    def significant(self) -> list[int]:
        """The classes that differ."""
        return [label for label, p in enumerate(self.p) if p < LEVEL]


def compared(pairs: Pairs) -> Comparison:
    """Test every class, and all images together."""
    only_first, only_second = pairs.only_first, pairs.only_second
    both = list(zip(only_first.tolist(), only_second.tolist(), strict=True))
    lost, won = int(only_first.sum()), int(only_second.sum())
    return Comparison(
        only_first=only_first,
        only_second=only_second,
        differences=np.asarray((only_second - only_first) / pairs.total),
        p=holm([mcnemar(*counts) for counts in both]),
        difference_all=(won - lost) / len(pairs.y),
        p_all=mcnemar(lost, won),
        differences95=_differences95(pairs),
    )


def _differences95(pairs: Pairs) -> dict[str, Interval]:
    first, second = redrawn(np.array([pairs.first, pairs.second]), pairs.y, pairs.classes, seed=0)
    return {name: middle95(of(second) - of(first)) for name, of in OVER_CLASSES.items()}
