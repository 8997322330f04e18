"""95% intervals: what the finite test set leaves open. Definitions and limits: docs/metrics.md.

Wilson's score interval where images are counted (a class, or all of them); a bootstrap where class accuracies are
combined. The test images are what is random here, not the training: the spread over seeds is another matter.
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from absld.statistics.bootstrap import RESAMPLES, middle95
from absld.statistics.metrics import OVER_CLASSES, ClassTable, Counts, Rates

Z = NormalDist().inv_cdf(0.975)


def wilson(correct: Counts, total: Counts) -> tuple[Rates, Rates]:
    """Lower and upper end of the score interval of a proportion (Wilson 1927); `total` is at least 1."""
    rate = correct / total
    shrink = 1 + Z**2 / total
    centre = (rate + Z**2 / (2 * total)) / shrink
    half = Z / shrink * np.sqrt(rate * (1 - rate) / total + Z**2 / (4 * total**2))
    return np.clip(centre - half, 0, rate), np.clip(centre + half, rate, 1)


def resampled(table: ClassTable, seed: int) -> Rates:
    """Class accuracies of 2,000 test sets drawn from this one with replacement, class by class: (resamples, classes).

    Drawing n images from the n of a class and counting the correct ones is one draw of Binomial(n, accuracy).
    """
    random = np.random.default_rng(seed)
    return np.asarray(random.binomial(table.total, table.accuracy, (RESAMPLES, len(table.total))) / table.total)


def intervals95(table: ClassTable, names: Sequence[str], seed: int) -> dict[str, Any]:
    """[low, high] for all that `metrics.accuracies` gives but nsd. `seed` starts the bootstrap's own random numbers."""
    rates = resampled(table, seed)
    low, high = wilson(table.correct, table.total)
    low_micro, high_micro = wilson(np.asarray(table.correct.sum()), np.asarray(table.total.sum()))
    combined = {name: list(middle95(of(rates))) for name, of in OVER_CLASSES.items()}
    return {
        "average": combined["average"],
        "micro": [float(low_micro), float(high_micro)],
        "worst": combined["worst"],
        "worst10": combined["worst10"],
        "overall": combined["overall"],
        "per_class": {name: [float(a), float(b)] for name, a, b in zip(names, low, high, strict=True)},
    }
