"""Test sets that might as well have been drawn: the images of each class again, with replacement, class by class."""

import numpy as np
from numpy.typing import NDArray

from absld.statistics.metrics import Counts, Rates

RESAMPLES = 2000
"""Test sets that are drawn."""
Interval = tuple[float, float]


def redrawn(verdicts: NDArray[np.bool_], y: Counts, classes: int, seed: int) -> Rates:
    """Class accuracies on the drawn test sets: (..., resamples, classes) of verdicts (..., images).

    All are judged on the same draws, which do not look at the verdicts: to swap two students swaps their accuracies.
    `seed` starts the draws' own random numbers.
    """
    random, judged = np.random.default_rng(seed), verdicts.astype(np.float32)
    rates = np.empty((*judged.shape[:-1], RESAMPLES, classes))
    for label in range(classes):
        rows = np.flatnonzero(y == label)
        places = random.integers(len(rows), size=(RESAMPLES, len(rows)))
        correct = judged[..., rows] @ _times(places).T  # whole numbers, exact in float32
        rates[..., label] = correct.astype(np.float64) / len(rows)
    return rates


def middle95(drawn: Rates) -> Interval:
    """What 95 % of the drawn values lie within, as many below as above."""
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def side(interval: Interval) -> int:
    """1: it lies above 0; -1: below; 0: it holds 0."""
    return (interval[0] > 0) - (interval[1] < 0)


def _times(places: NDArray[np.int64]) -> NDArray[np.float32]:
    """How often each of n images was drawn, from the places drawn: both (resamples, n)."""
    resamples, n = places.shape
    counted = np.bincount((places + n * np.arange(resamples)[:, None]).ravel(), minlength=places.size)
    return counted.reshape(resamples, n).astype(np.float32)
