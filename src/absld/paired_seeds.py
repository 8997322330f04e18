"""Two methods, each trained with several seeds, on the same images: by how much do they differ? See docs/metrics.md.

Two things are drawn at random, and each difference has an interval for either: the test images (a paired bootstrap that
judges the students of all seeds on the same draws) and the training (Student's t over the seeds' differences).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import atan, cos, pi, sin, sqrt
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from absld.intervals import RESAMPLES
from absld.metrics import OVER_CLASSES, Rates
from absld.paired import Pairs, holm, mcnemar

Interval = tuple[float, float]


def nsd(rates: Rates) -> Rates:
    """Standard deviation over the classes divided by their mean; nan where no class is ever right."""
    mean = rates.mean(axis=-1)
    return np.asarray(np.divide(rates.std(axis=-1), mean, out=np.full_like(mean, np.nan), where=mean > 0))


COMPARED = {**OVER_CLASSES, "nsd": nsd}
"""What differs between two methods, beside their classes."""
NO_WIDTH = 1e-9
"""Less than any width that is not rounding."""
LARGEST_T = 1e4
"""More than any 97.5 % quantile of Student's t; that of one degree of freedom is 12.7."""


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
        signs = {_side(self.over_images), _side(self.over_seeds)}
        return signs.pop() if len(signs) == 1 else 0

    @property
    def may_be_lower(self) -> bool:
        """Whether either interval lies wholly below 0."""
        return -1 in (_side(self.over_images), 0 if self.over_seeds is None else _side(self.over_seeds))

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
    drawn = _drawn(seeds, start)
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
    mean, half = fmean(values), t975(n - 1) * stdev(values) / sqrt(n)
    return mean - half, mean + half


def t975(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, found by bisection; `degrees` of freedom from 1."""
    low, high = 0.0, LARGEST_T
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _within(middle, degrees) < 0.95 else (low, middle)
    return high


def _within(t: float, degrees: int) -> float:
    """P(-t < T < t), as a finite sum (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(degrees))
    odd = degrees % 2
    term, total = (cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cos(angle) ** 2 * k / (k + 1)
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total


def _drawn(seeds: Sequence[Pairs], start: int) -> Rates:
    """Class accuracies of all students on 2,000 drawn test sets: (seeds, first and second, resamples, classes)."""
    random, y = np.random.default_rng(start), seeds[0].y
    verdicts = np.array([[pairs.first, pairs.second] for pairs in seeds], np.float32)
    rates = np.empty((*verdicts.shape[:2], RESAMPLES, seeds[0].classes))
    for label in range(seeds[0].classes):
        rows = np.flatnonzero(y == label)
        places = random.integers(len(rows), size=(RESAMPLES, len(rows)))
        correct = verdicts[..., rows] @ _times(places).T  # whole numbers, exact in float32
        rates[..., label] = correct.astype(np.float64) / len(rows)
    return rates


def _times(places: NDArray[np.int64]) -> NDArray[np.float32]:
    """How often each of n images was drawn, from the places drawn: both (resamples, n)."""
    resamples, n = places.shape
    counted = np.bincount((places + n * np.arange(resamples)[:, None]).ravel(), minlength=places.size)
    return counted.reshape(resamples, n).astype(np.float32)


def _difference(measured: Rates, drawn: Rates) -> Difference:
    """From one accuracy of both students, the seeds first: (seeds, 2), and (seeds, 2, resamples)."""
    by_seed = (measured[:, 1] - measured[:, 0]).tolist()
    low, high = np.quantile((drawn[:, 1] - drawn[:, 0]).mean(axis=0), (0.025, 0.975))
    return Difference(tuple(by_seed), (float(low), float(high)), seeds95(by_seed))


def _side(interval: Interval) -> int:
    """1: above 0; -1: below; 0: it holds 0."""
    return (interval[0] > 0) - (interval[1] < 0)
