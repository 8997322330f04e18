"""Signs that the numbers cannot be trusted. They are written down, and stop a promotion; they stop no evaluation."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TypedDict

from absld.evaluation.forward import Forward
from absld.evaluation.verdicts import Verdict
from absld.metrics import ClassTable
from absld.shapes import Images

WEAK_TO_STRONG = ("clean", "fgsm", "pgd", "aa")
SQUARE_SHARE = 0.002
"""Share of the images by which AutoAttack's authors let Square lower the accuracy without a warning."""
SQUARE_IMAGES = 2
"""As many images are chance, where they are more than that share."""


class Check(TypedDict):
    """One entry of `checks`."""

    passed: bool
    detail: str


def attack_order(tables: Mapping[str, ClassTable]) -> Check:
    """A stronger attack leaves no higher average accuracy: clean ≥ FGSM ≥ PGD ≥ AutoAttack within two standard errors.

    FGSM below PGD, or anything below AutoAttack, is a sign of gradients that mislead.
    """
    there = [key for key in WEAK_TO_STRONG if key in tables]
    wrong = [f"{strong} above {weak}" for weak, strong in pairwise(there) if _clearly(tables[strong], tables[weak])]
    found = ", ".join(f"{key} {tables[key].average:.4f}" for key in there)
    return Check(passed=not wrong, detail=f"{'; '.join(wrong)}: {found}" if wrong else found)


def _clearly(high: ClassTable, low: ClassTable) -> bool:
    error = math.sqrt(_variance(high) + _variance(low))
    return high.average - low.average > 2 * error


def _variance(table: ClassTable) -> float:
    """Of the average: the classes are independent, each a proportion."""
    rate = table.accuracy
    return float((rate * (1 - rate) / table.total).sum() / len(rate) ** 2)


def square_beats_apgd(square: Verdict, before: Verdict) -> Check:
    """Square, which needs no gradient, breaks next to nothing that the gradient attacks before it left."""
    broken = int((before.survived & ~square.survived).sum())
    images = len(square.rows)
    limit = max(SQUARE_IMAGES, math.floor(SQUARE_SHARE * images))
    detail = (
        f"Square broke {broken} of {images} images after the gradient attacks; up to {limit} are no sign of masking"
    )
    return Check(passed=broken <= limit, detail=detail)


def deterministic(net: Forward, x: Images) -> Check:
    """The network has no randomness, which gradient attacks would not see through: two passes, the same logits."""
    first, second = net.judge(x), net.judge(x)
    differ = int((first != second).any(1).sum())
    return Check(passed=not differ, detail=f"{differ} of {len(x)} images had other logits in a second pass")
