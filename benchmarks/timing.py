"""Timing in pairs: a noisy machine is noisy for all contestants, if they take turns."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """What repetitions gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Median, smallest and largest of at least one value."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])


Seconds = Mapping[str, Sequence[float]]
"""By contestant: what each round took it."""


def in_turns(
    contestants: Mapping[str, Callable[[], float]], rounds: int, each: Callable[[], None] = lambda: None
) -> Seconds:
    """A B C A B C ...: what each contestant says it took, `rounds` times; `each` is called after every turn."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            seconds[name].append(contestant())
            each()
    return seconds


def times_faster(seconds: Seconds, fast: str, slow: str) -> Spread:
    """How many times as fast `fast` was as `slow`: the two are compared round by round."""
    return Spread.of(slower / faster for faster, slower in zip(seconds[fast], seconds[slow], strict=True))
