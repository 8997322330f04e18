"""Which methods are compared, and what their verdicts say: computed once for tables and sentences."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from absld.errors import InputError
from absld.records.attacks import ATTACKS as ATTACK_LABELS
from absld.records.attacks import attack_label
from absld.statistics.bias import tail_bias
from absld.statistics.metrics import tail_of
from absld.statistics.paired_seeds import COMPARED, Contrast, Difference, contrast, seeds95
from pipeline.pairing import Measured, pair
from pipeline.results.reading import Kept, Results

PAIRS = (
    ("rslad", "absld"),
    ("absld", "absld_product"),
    ("rslad", "absld_product"),
    ("rslad", "absld_adv"),
    ("rslad", "fair_rslad"),
    ("fair_rslad", "absld"),
)
"""The first is what the second is held against."""
ATTACKS = ("pgd", "cw", "aa")
BY_CLASS = "pgd"
"""Under this attack the classes are compared one by one."""
ASKED = ("pgd", "aa")
"""Under these attacks the question of the worst class is answered."""


@dataclass(frozen=True, eq=False)
class Under:
    """Two methods under one attack, on the same images and with the same seeds."""

    label: str
    """The attack, as people call it."""
    n: int
    """Images."""
    seeds: Sequence[int]
    found: Contrast
    classes: tuple[Sequence[float], Sequence[float]]
    """The mean accuracy of either on each class."""
    bias: tuple[float, float]
    """How far the worst class of either probably lies below the true one, 0 or less, the mean of the seeds."""

    @property
    def where(self) -> str:
        """As in a sentence: under PGD-20."""
        return "on clean images" if self.label == ATTACK_LABELS["clean"] else f"under {self.label}"


@dataclass(frozen=True)
class AfterLast:
    """What differs after the last epoch under BY_CLASS, of which the verdicts of single images are not kept."""

    n: int
    """Images."""
    by_seed: Mapping[str, Sequence[float]]
    """By measure; nsd unless some student is never right."""

    def over_seeds(self, measure: str) -> tuple[float, float] | None:
        """95 % interval of the mean; None of a single seed."""
        return seeds95(self.by_seed[measure])


@dataclass(frozen=True, eq=False)
class Compared:
    """Two methods."""

    first: str
    second: str
    names: Sequence[str]
    """Of the classes."""
    under: Mapping[str, Under]
    """By attack."""
    epochs: tuple[Sequence[int], Sequence[int]] | None = None
    """Those that were chosen, seed by seed, of either; None: nobody asks."""
    after_last: AfterLast | None = None
    """None: some student was not measured after its last epoch, or nobody asks."""

    @property
    def tail(self) -> str:
        """`worst`, or `worst10` of very many classes."""
        return tail_of(self.names)

    @property
    def title(self) -> str:
        """By the methods' names in params.yaml: `absld` against `rslad`."""
        return f"`{self.second}` against `{self.first}`"

    def worst(self, attack: str) -> Difference:
        """How much the worst class differs."""
        return self.under[attack].found.measures[self.tail]


def compared(results: Results) -> list[Compared]:
    """Every pair of PAIRS that met an attack with the same seed.

    Raises:
        InputError: verdicts are missing, or not of the same images.

    """
    found = []
    for first, second in PAIRS:
        under = dict(_under(results, first, second))
        if not under:
            continue
        seeds = next(iter(under.values())).seeds
        sides = [[results.run(method, seed) for seed in seeds] for method in (first, second)]
        chosen = [[int(kept.run.state["best_epoch"]) for kept in side] for side in sides]
        last = _after_last(sides)
        found.append(Compared(first, second, results.first["classes"], under, (chosen[0], chosen[1]), last))
    return found


def _after_last(sides: Sequence[Sequence[Kept]]) -> AfterLast | None:
    blocks = [[kept.after_last.get(BY_CLASS) for kept in side] for side in sides]
    first, second = ([block for block in of if block is not None] for of in blocks)
    if len(first) < len(blocks[0]) or len(second) < len(blocks[1]):
        return None
    pairs = [(a["accuracy"], b["accuracy"]) for a, b in zip(first, second, strict=True)]
    known = [measure for measure in COMPARED if all(of[measure] is not None for pair in pairs for of in pair)]
    by_seed = {measure: [float(b[measure] - a[measure]) for a, b in pairs] for measure in known}
    return AfterLast(first[0]["n"], by_seed)


def _under(results: Results, first: str, second: str) -> Iterator[tuple[str, Under]]:
    for attack in ATTACKS:
        if seeds := results.shared_seeds((first, second), attack):
            of_first, of_second = (
                [of[seed].measured for seed in seeds]
                for of in (results.of_seed(method, attack) for method in (first, second))
            )
            yield attack, under(attack, seeds, of_first, of_second)


def under(attack: str, seeds: Sequence[int], first: Sequence[Measured], second: Sequence[Measured]) -> Under:
    """Two methods under one attack, from the runs of either, seed by seed.

    Raises:
        InputError: what `pair` raises; or the seeds were measured on other images.

    """
    pairs = [pair(*runs, attack) for runs in zip(first, second, strict=True)]
    try:
        found = contrast(pairs)
    except ValueError as error:
        raise InputError(f"{', '.join(run.name for run in (*first, *second))} under {attack}: {error}") from None
    tables = [[each.tables[side] for each in pairs] for side in (0, 1)]
    accuracies = [np.mean([table.accuracy for table in of], axis=0).tolist() for of in tables]
    biases = [fmean(map(tail_bias, of)) for of in tables]
    return Under(
        label=attack_label(attack, first[0].evaluation["attacks"][attack].get("settings", {})),
        n=len(pairs[0].y),
        seeds=seeds,
        found=found,
        classes=(accuracies[0], accuracies[1]),
        bias=(biases[0], biases[1]),
    )
