"""One number over the seeds: its mean and its spread."""

from collections.abc import Sequence
from math import fsum, isfinite
from statistics import stdev
from typing import TypedDict


class OverSeeds(TypedDict):
    """One number, measured once a seed."""

    mean: float | None
    """Over the seeds; None where no seed has a value (nsd of a model that is always wrong)."""
    std: float | None
    """Sample standard deviation over the seeds (divisor n - 1); None for fewer than two."""
    low: float | None
    high: float | None
    """Several seeds: the lowest and the highest; one seed: its 95 % interval over the test images."""
    n: int
    """Seeds with a value."""
    values: list[float | None]
    """One per seed, in the order of the summary's `seeds`."""


def over_seeds(values: Sequence[float | None], interval95: Sequence[float] | None) -> OverSeeds:
    """Mean and spread of one number; `interval95` (low, high) is that of a single seed, where there is one."""
    values = [value if value is not None and isfinite(value) else None for value in values]
    known = [value for value in values if value is not None]
    low, high = interval95 or (None, None)
    if len(values) > 1:
        low, high = (min(known), max(known)) if known else (None, None)
    return {
        "mean": fsum(known) / len(known) if known else None,
        "std": stdev(known) if len(known) > 1 else None,
        "low": low,
        "high": high,
        "n": len(known),
        "values": values,
    }
