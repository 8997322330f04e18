"""How far the lowest of noisy class accuracies lies below the true one. Derivation and size: docs/metrics.md.

Where each class has few test images, some class has bad luck: the lowest measured accuracy is on average lower than the
lowest true one, in every test set and for every student. What is estimated here is that average gap.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import bdtr

from absld.statistics.intervals import Z
from absld.statistics.metrics import MANY_CLASSES, ClassTable, Counts, Rates

CELLS = 2000
"""Cells that the integral over [0, 1] is summed over: it is off by 0.025 points at most."""


def tail_bias(table: ClassTable) -> float:
    """Expected minus true accuracy of the worst class (from 100 classes on: the worst tenth): a fraction, 0 or less.

    The true accuracies are not known. In their place stand the measured ones, drawn together until their spread is the
    one that is left when binomial noise is taken off: as they are, they are spread too far and the gap comes out small.
    """
    rates = without_noise(table)
    lowest = len(rates) // 10 if len(rates) >= MANY_CLASSES else 1
    return min(0.0, expected_lowest(rates, table.total, lowest) - float(np.sort(rates)[:lowest].mean()))


def without_noise(table: ClassTable) -> Rates:
    """The class accuracies about their mean, with the variance that exceeds binomial noise (Louis 1984)."""
    rates = table.accuracy
    spread = float(rates.var(ddof=1)) if len(rates) > 1 else 0.0
    noise = float((rates * (1 - rates) / table.total).mean())
    kept = max(0.0, 1 - noise / spread) if spread else 0.0
    return np.asarray(rates.mean() + np.sqrt(kept) * (rates - rates.mean()))


def expected_lowest(rates: Rates, total: Counts, lowest: int = 1) -> float:
    """Expected mean of the `lowest` among independent Binomial(total, rates) / total.

    The lowest k values add up to the integral over t in [0, 1] of max(0, k - N(t)), where N(t) counts the values that
    are t or less. N(t) is a sum of independent yes and no, whose first k probabilities are built up class by class.
    """
    t = (np.arange(CELLS) + 0.5) / CELLS
    counted = np.zeros((lowest, CELLS))
    counted[0] = 1
    for rate, n in zip(rates, total, strict=True):
        below = bdtr(np.floor(t * n), n, rate)
        counted[1:] = counted[1:] * (1 - below) + counted[:-1] * below
        counted[0] *= 1 - below
    missing = lowest - np.arange(lowest)[:, None]
    return float((missing * counted).sum() / CELLS / lowest)


def counts_of(block: Mapping[str, Any]) -> ClassTable:
    """The counts behind an attack's block of evaluation.json, which holds accuracies and their Wilson intervals.

    With h half an interval's width and p the accuracy, u = z²/n solves (1/4 - h²) u² + (p(1-p) - 2h²) u - h² = 0.
    """
    names = list(block["accuracy"]["per_class"])
    rates = np.array([block["accuracy"]["per_class"][name] for name in names], dtype=np.float64)
    half = np.array([np.ptp(block["interval95"]["per_class"][name]) / 2 for name in names])
    a, b, c = 0.25 - half**2, rates * (1 - rates) - 2 * half**2, -(half**2)
    total = np.rint(Z**2 * 2 * a / (np.sqrt(b**2 - 4 * a * c) - b)).astype(np.int64)
    return ClassTable(correct=np.rint(rates * total).astype(np.int64), total=total)
