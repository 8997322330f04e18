"""Which images are attacked, and which of them together."""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
"""Row numbers of the test set, rising."""


def balanced(y: NDArray[np.int64], n: int | None) -> Rows:
    """The first image of each class, then the second of each, until there are `n`; None: all."""
    if n is None or n >= len(y):
        return np.arange(len(y))
    by_class = np.argsort(y, kind="stable")
    starts = np.searchsorted(y[by_class], y[by_class])
    turn = np.empty_like(by_class)
    turn[by_class] = np.arange(len(y)) - starts
    return np.sort(np.lexsort((y, turn))[:n])


def chunks(rows: Rows, size: int) -> list[Rows]:
    """The rows in order, `size` at a time; the last chunk may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
