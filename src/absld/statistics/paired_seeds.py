"""Two methods, each trained with several seeds, on the same images: by how much do they differ? See docs/metrics.md.

Two things are drawn at random, and each difference has an interval for either: the test images (a paired bootstrap that
judges the students of all seeds on the same draws) and the training (Student's t over the seeds' differences).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.special import stdtrit

from absld.statistics.bootstrap import Interval, middle95, redrawn, side
from absld.statistics.metrics import OVER_CLASSES, Rates, nsd
from absld.statistics.paired import Pairs, holm, mcnemar

COMPARED = {**OVER_CLASSES, "nsd": nsd}
"""What differs between two methods, beside their classes."""
NO_WIDTH = 1e-9
"""Less than any width that is not rounding."""


@dataclass(frozen=True)
class Difference:
    """One number: that of the second method minus that of the first. Accuracies are fractions, NSD is a ratio."""

    by_seed: tuple[float, ...]
    over_images: Interval
    """95 % interval of the mean over these seeds: what other test images would have given."""
    over_seeds: Interval | None
    """95 % interval of the mean: what other seeds would have given; None of a single seed."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.by_seed)

    @property
    def shown(self) -> int:
        """1: both intervals lie above 0; -1: both below; 0: one of them holds 0, is not there or has no width.

        Seeds that give the same difference to the last digit only show that accuracies move in coarse steps.
        """
        if self.over_seeds is None or self.over_seeds[1] - self.over_seeds[0] < NO_WIDTH:
            return 0
        signs = {side(self.over_images), side(self.over_seeds)}
        return signs.pop() if len(signs) == 1 else 0

    @property
    def may_be_lower(self) -> bool:
        """Whether either interval lies wholly below 0."""
        return -1 in (side(self.over_images), 0 if self.over_seeds is None else side(self.over_seeds))

    def within(self, bound: float) -> bool:
        """Whether both intervals lie within `bound` of 0."""
        intervals = (self.over_images, self.over_seeds)
        return all(of is not None and max(map(abs, of)) <= bound for of in intervals)


@dataclass(frozen=True, eq=False)
class Contrast:
    """What the verdicts of all seeds say about two methods."""

    measures: dict[str, Difference]
    """average, worst, worst10, overall; and nsd, unless some student is never right, or would not be on a drawn set."""
    classes: list[Difference]
    p: list[list[float]]
    """Seed by seed, class by class: McNemar's exact test, with Holm's correction over the classes of a seed."""


def contrast(seeds: Sequence[Pairs], start: int = 0) -> Contrast:
    """Compare two methods.

    Args:
        seeds: For each seed the verdicts of both on the same images, which are the same for all seeds.
        start: Of the bootstrap's own random numbers.

    Raises:
        ValueError: the seeds were judged on other images.

    """
    if any(not np.array_equal(pairs.y, seeds[0].y) for pairs in seeds):
        raise ValueError("the seeds were judged on other images")
    measured = np.array([[table.accuracy for table in pairs.tables] for pairs in seeds])
    verdicts = np.array([[pairs.first, pairs.second] for pairs in seeds])
    drawn = redrawn(verdicts, seeds[0].y, seeds[0].classes, start)
    found = {name: (of(measured), of(drawn)) for name, of in COMPARED.items()}
    return Contrast(
        measures={
            name: _difference(*of) for name, of in found.items() if all(np.isfinite(rates).all() for rates in of)
        },
        classes=[_difference(measured[..., label], drawn[..., label]) for label in range(seeds[0].classes)],
        p=[holm([*map(mcnemar, pairs.only_first.tolist(), pairs.only_second.tolist())]) for pairs in seeds],
    )


def seeds95(values: Sequence[float]) -> Interval | None:
    """95 % interval of the mean of what varies with the seed: mean ± t · s / √n, t with n - 1 degrees of freedom."""
    n = len(values)
    if n < 2:
        return None
    mean, half = fmean(values), float(stdtrit(n - 1, 0.975)) * stdev(values) / sqrt(n)
    return mean - half, mean + half


def _difference(measured: Rates, drawn: Rates) -> Difference:
    """From one accuracy of both students, the seeds first: (seeds, 2), and (seeds, 2, resamples)."""
    by_seed = (measured[:, 1] - measured[:, 0]).tolist()
    return Difference(tuple(by_seed), middle95((drawn[:, 1] - drawn[:, 0]).mean(axis=0)), seeds95(by_seed))
