"""The attacks that a trained student is measured with (docs/evaluation.md)."""

from typing import Annotated

from pydantic import Field

from absld.params.attacks import AutoAttackPart, Start
from absld.params.base import Count, PixelDistance, Positive, Section, Seed


class _Attack(Section):
    n: Count | None
    """Attack only this many test images, the first of each class in turn; null: all."""


class Fgsm(_Attack):
    """One step of length eps (Goodfellow et al. 2015)."""

    start: Start


class Pgd(_Attack):
    """The L∞ walk on the cross-entropy; its last point counts (Madry et al. 2018)."""

    steps: Count
    step: PixelDistance
    start: Start


class Cw(Pgd):
    """The L∞ walk on the margin loss of Carlini and Wagner (2017)."""

    kappa: Positive
    """Confidence beyond which a margin no longer counts."""


class AutoAttack(_Attack):
    """AutoAttack (Croce and Hein 2020)."""

    parts: Annotated[list[AutoAttackPart], Field(min_length=1)]
    """All four are the standard version; fewer run in its order and are marked as not standard."""


class Attacks(Section):
    """null leaves an attack out. Clean images are always measured."""

    fgsm: Fgsm | None
    pgd: Pgd | None
    cw: Cw | None
    aa: AutoAttack | None


class Curves(Section):
    """How accuracy falls with the radius of the ball and with the length of the attack, by PGD; never in the table."""

    n: Count
    """Test images, the first of each class in turn."""
    eps: list[PixelDistance]
    """Radii; the steps are those of `attacks.pgd`, each a quarter of the radius."""
    steps: list[Count]
    """Numbers of steps at the radius `evaluate.eps`."""


class Evaluate(Section):
    """The evaluation on the test split."""

    eps: PixelDistance
    """Radius of the L∞ ball for all attacks, on pixels in [0, 1]."""
    seed: Seed
    chunk: Count
    """Images attacked together. It decides which random numbers an image meets, so it is part of the result."""
    keep: Count
    """Adversarial examples of each attack that are kept to test the exported file."""
    attacks: Attacks
    curves: Curves | None
    """null: none."""
