"""Which class the images of a class are taken for: `confusion` of evaluation.json, summed over the seeds."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

Confusion = Mapping[str, Mapping[str, int]]
"""True class to predicted class to images, without zeros."""


class Mistakes(TypedDict):
    """What became of the images of one class; over all seeds."""

    n: int
    """Images of the class, counted once a seed."""
    wrong: dict[str, int]
    """Wrong class to images, the most frequent first."""


def count_mistakes(seeds: Sequence[Confusion], most: int) -> dict[str, Mistakes]:
    """Class to what became of it. `most` wrong classes are kept; equally frequent ones in the order of the classes."""
    return {name: _summed(name, [seed[name] for seed in seeds], list(seeds[0]), most) for name in seeds[0]}


def taken_for(of: Mistakes) -> list[tuple[str, float]]:
    """The wrong classes with their share of the class's images, the most frequent first."""
    return [(name, count / of["n"]) for name, count in of["wrong"].items()]


def _summed(true: str, rows: Sequence[Mapping[str, int]], classes: Sequence[str], most: int) -> Mistakes:
    total = {name: sum(row.get(name, 0) for row in rows) for name in classes}
    wrong = sorted((name for name in classes if name != true and total[name]), key=lambda name: -total[name])
    return {"n": sum(total.values()), "wrong": {name: total[name] for name in wrong[:most]}}
