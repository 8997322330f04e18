"""Counts of correct answers class by class, and the rates that follow from them. Definitions: docs/metrics.md.

Counts add: the table of two batches is the sum of their tables. Rates are derived at the end, as fractions in [0, 1].
Torch is not needed here, so that the report and the command line compute the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Rates = NDArray[np.float64]
"""Accuracies, the classes along the last axis."""

MANY_CLASSES = 100
"""From this many classes on, `overall` looks at the worst tenth instead of the one worst class, as the papers do."""


def average(rates: Rates) -> Rates:
    """Mean over the classes; on a balanced set the papers' Avg."""
    return np.asarray(rates.mean(axis=-1))


def worst(rates: Rates) -> Rates:
    """The lowest class accuracy."""
    return np.asarray(rates.min(axis=-1))


def worst10(rates: Rates) -> Rates:
    """Mean of the lowest tenth of the classes, of at least one."""
    tenth = max(1, rates.shape[-1] // 10)
    return np.asarray(np.sort(rates, axis=-1)[..., :tenth].mean(axis=-1))


def overall(rates: Rates) -> Rates:
    """Half the average and half the worst class; the worst tenth where there are 100 classes or more."""
    low = worst10(rates) if rates.shape[-1] >= MANY_CLASSES else worst(rates)
    return (average(rates) + low) / 2


def nsd(rates: Rates) -> Rates:
    """Population standard deviation over the classes, divided by their mean; nan where no class is ever right."""
    mean = rates.mean(axis=-1)
    return np.asarray(np.divide(rates.std(axis=-1), mean, out=np.full_like(mean, np.nan), where=mean > 0))


def tail_of(names: Sequence[str]) -> str:
    """What `overall` averages with the average: `worst`, or of very many classes `worst10`. Tables show the same."""
    return "worst10" if len(names) >= MANY_CLASSES else "worst"


def shown_measures(names: Sequence[str]) -> tuple[str, ...]:
    """The measures that a table has below its classes."""
    return "average", tail_of(names), "overall", "nsd"


OVER_CLASSES = {"average": average, "worst": worst, "worst10": worst10, "overall": overall}
"""Every summary of the class accuracies that has a bootstrap interval."""


@dataclass(frozen=True, eq=False)
class ClassTable:
    """How many images of each class there were, and how many of them were classified correctly."""

    correct: Counts
    total: Counts

    @classmethod
    def of(cls, correct: NDArray[np.bool_], y: Counts, classes: int) -> "ClassTable":
        """Count verdicts (one an image) by the images' labels `y`, which lie in [0, classes)."""
        return cls(
            correct=np.bincount(y[correct], minlength=classes).astype(np.int64),
            total=np.bincount(y, minlength=classes).astype(np.int64),
        )

    def __add__(self, other: "ClassTable") -> "ClassTable":
        return ClassTable(self.correct + other.correct, self.total + other.total)

    @property
    def accuracy(self) -> Rates:
        """Accuracy of each class. ValueError for a class without an image: it has none."""
        if not self.total.all():
            raise ValueError(f"class {int(np.argmin(self.total))} has no image, so no accuracy")
        return np.asarray(self.correct / self.total)

    @property
    def micro(self) -> float:
        """Correct images over all images."""
        return int(self.correct.sum()) / int(self.total.sum())

    @property
    def average(self) -> float:
        """Mean over the classes."""
        return float(average(self.accuracy))

    @property
    def worst(self) -> float:
        """The lowest class accuracy."""
        return float(worst(self.accuracy))

    @property
    def worst10(self) -> float:
        """Mean of the lowest tenth of the classes."""
        return float(worst10(self.accuracy))

    @property
    def overall(self) -> float:
        """(average + worst) / 2, with worst10 for worst from 100 classes on."""
        return float(overall(self.accuracy))

    @property
    def nsd(self) -> float | None:
        """Population standard deviation over the classes, divided by their mean; None where the mean is 0."""
        return float(nsd(self.accuracy)) if self.average else None


def accuracies(table: ClassTable, names: Sequence[str]) -> dict[str, Any]:
    """The table as evaluation.json and card.json have it. `names` are the classes' names, by class id."""
    return {
        "average": table.average,
        "micro": table.micro,
        "worst": table.worst,
        "worst10": table.worst10,
        "overall": table.overall,
        "nsd": table.nsd,
        "per_class": dict(zip(names, table.accuracy.tolist(), strict=True)),
    }
