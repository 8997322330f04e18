"""What is measured, in which order: clean images, the gradient attacks, AutoAttack's cascade."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.attacks import autoattack
from absld.attacks.gradient import GradientAttack, cw, fgsm, pgd
from absld.attacks.linf_walk import LinfWalk, Net
from absld.errors import EvaluationRefusedError, InputError
from absld.evaluation.forward import GRADIENT_COST, Forward
from absld.evaluation.selection import Rows, balanced
from absld.params.attacks import AutoAttackPart
from absld.params.evaluate import Evaluate
from absld.records.attacks import AUTOATTACK
from absld.shapes import Images, Labels

Perturb = Callable[[Images, Labels, int], Images]
"""Images, labels and a seed to adversarial examples."""

AUTOATTACK_PASSES = {
    "apgd_ce": 101 * GRADIENT_COST,
    "apgd_t": 101 * GRADIENT_COST,
    "fab_t": 100 * (GRADIENT_COST + 1),
    "square": 5002,
}
"""Passes an image, for each target class of the targeted parts: only for telling how much is left."""


@dataclass(frozen=True)
class Attack:
    """One column of the verdicts."""

    key: str
    rows: Rows
    """The images that are attacked."""
    perturb: Perturb
    settings: dict[str, Any]
    """What evaluation.json says about it."""
    eps: float
    """Radius of the ball that it must stay in."""
    passes: int
    """About how often the network looks at an image; a gradient counts three times."""
    after: str | None = None
    """Only what survived that attack is attacked; None: every image."""
    keep: Rows | None = None
    """The images whose adversarial examples are kept; None: those that fooled the network."""
    stream: str | None = None
    """Attacks of one stream begin at the same random points; None: a stream of its own."""
    measured: bool = True
    """Whether it is in the table; False for the probes of the checks and the points of the curves."""


def clean(rows: Rows) -> Attack:
    """No attack at all."""
    return Attack("clean", rows, lambda x, y, seed: x, {}, eps=0.0, passes=1, keep=rows[:0])


def walked(key: str, attack: GradientAttack, net: Net, rows: Rows, keep: Rows, **more: Any) -> Attack:
    """A gradient attack on `net`."""
    walk = attack.walk
    settings = {"steps": walk.steps, "step": walk.step, "start": walk.start, **more}
    passes = walk.steps * GRADIENT_COST + 1
    return Attack(key, rows, lambda x, y, seed: attack(net, x, y), settings, walk.eps, passes, keep=keep)


def cascade(
    net: Forward, eps: float, classes: int, rows: Rows, wanted: Sequence[AutoAttackPart] = AUTOATTACK
) -> list[Attack]:
    """AutoAttack's parts: the first gets what is classified correctly, each other one what is still left.

    Raises:
        InputError: there are too few classes for all of `wanted`.
        EvaluationRefusedError: there are fewer than two classes.

    """
    if classes < 2:
        raise EvaluationRefusedError(f"{classes} class: AutoAttack needs another class to arrive at")
    parts = autoattack.standard(net, eps, classes, net.device)
    attacks, after = [], "clean"
    for key in autoattack.cascade(wanted, classes):
        targets = autoattack.targets(classes) if key in ("apgd_t", "fab_t") else 1
        passes = AUTOATTACK_PASSES[key] * targets + 1
        attacks.append(Attack(key, rows, partial(autoattack.perturb, parts[key]), {}, eps, passes, after))
        after = key
    return attacks


def planned(net: Forward, settings: Evaluate, y: NDArray[np.int64], classes: Sequence[str]) -> list[Attack]:
    """Everything that a section of params.yaml asks for, in the order in which it is run.

    Raises:
        InputError: a class has no image, an attack has fewer images than there are classes, or there are too few
            classes for every part of AutoAttack that is asked for.
        EvaluationRefusedError: there are fewer classes than an attack needs.

    """
    _every_class_is_there(y, classes)
    wanted, eps = settings.attacks, settings.eps
    rows = {key: balanced(y, attack.n) for key, attack in wanted if attack is not None}
    for key in rows:
        enough(rows[key], classes, f"evaluate.attacks.{key}.n")
    keep = {key: of[balanced(y[of], settings.keep)] for key, of in rows.items()}
    plan = [clean(np.arange(len(y)))]
    if wanted.fgsm:
        plan.append(walked("fgsm", fgsm(eps, wanted.fgsm.start), net, rows["fgsm"], keep["fgsm"]))
    if wanted.pgd:
        walk = LinfWalk(eps, wanted.pgd.step, wanted.pgd.steps, wanted.pgd.start)
        plan.append(walked("pgd", pgd(walk), net, rows["pgd"], keep["pgd"]))
    if wanted.cw:
        walk = LinfWalk(eps, wanted.cw.step, wanted.cw.steps, wanted.cw.start)
        plan.append(walked("cw", cw(walk, wanted.cw.kappa), net, rows["cw"], keep["cw"], kappa=wanted.cw.kappa))
    if wanted.aa:
        plan += cascade(net, eps, len(classes), rows["aa"], wanted.aa.parts)
    return plan


def enough(rows: Rows, classes: Sequence[str], where: str) -> None:
    """InputError where `rows`, whose number `where` in params.yaml gives, cannot have an image of each class."""
    if len(rows) < len(classes):
        raise InputError(
            f"{where}: {len(rows)} images are fewer than the {len(classes)} classes, and each class needs one for its "
            "accuracy: take at least as many"
        )


def _every_class_is_there(y: NDArray[np.int64], classes: Sequence[str]) -> None:
    there = set(y.tolist())
    missing = [name for number, name in enumerate(classes) if number not in there]
    if missing:
        raise InputError(
            f"the images to be measured on have none of class {missing[0]!r}, so it has no accuracy: "
            "add images of it, or take the class out"
        )
