"""How accuracy falls as PGD's ball grows, and as its walk grows longer: for two figures, never for the table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.evaluation.forward import Forward
from absld.evaluation.plan import Attack, enough, walked
from absld.evaluation.probes import STEPS, STEPS_ACROSS
from absld.evaluation.selection import balanced
from absld.evaluation.verdicts import Verdict
from absld.params.evaluate import Evaluate
from absld.records.numbers import number_text


def curve_attacks(net: Forward, settings: Evaluate, y: NDArray[np.int64], classes: Sequence[str]) -> list[Attack]:
    """PGD once for each point. All begin at the same random points of their balls, so that the curves are smooth.

    Raises:
        InputError: there are fewer images than classes.

    """
    if settings.curves is None:
        return []
    rows = balanced(y, settings.curves.n)
    enough(rows, classes, "evaluate.curves.n")
    walks = {**eps_walks(settings), **steps_walks(settings)}
    attacks = [walked(key, pgd(walk), net, rows, keep=rows[:0]) for key, walk in walks.items()]
    return [replace(attack, stream="curve", measured=False) for attack in attacks]


def eps_walks(settings: Evaluate) -> dict[str, LinfWalk]:
    """By key, one for each radius, the smallest first: as many steps as `attacks.pgd`, each a quarter of the radius.

    Without `attacks.pgd`: 20 steps.
    """
    radii, table = settings.curves.eps if settings.curves else [], settings.attacks.pgd
    steps = table.steps if table else STEPS
    return {eps_key(eps): LinfWalk(eps, eps / STEPS_ACROSS, steps, "uniform") for eps in sorted(set(radii))}


def steps_walks(settings: Evaluate) -> dict[str, LinfWalk]:
    """By key, one for each length, the shortest first: the radius `eps`, and steps as long as those of `attacks.pgd`.

    Without `attacks.pgd`: steps of a quarter of `eps`.
    """
    lengths, table, eps = settings.curves.steps if settings.curves else [], settings.attacks.pgd, settings.eps
    step = table.step if table else eps / STEPS_ACROSS
    return {steps_key(steps): LinfWalk(eps, step, steps, "uniform") for steps in sorted(set(lengths))}


def curve_blocks(found: Mapping[str, Verdict], settings: Evaluate, classes: int) -> dict[str, Any] | None:
    """The block `curves` of evaluation.json."""
    if settings.curves is None:
        return None
    return {
        "eps": [
            {"value": walk.eps, "text": number_text(walk.eps), **_point(found[key], walk, classes)}
            for key, walk in eps_walks(settings).items()
        ],
        "steps": [
            {"value": walk.steps, **_point(found[key], walk, classes)} for key, walk in steps_walks(settings).items()
        ],
    }


def curve_orders(settings: Evaluate) -> list[list[str]]:
    """The attacks of each curve, the weakest first."""
    return [] if settings.curves is None else [[*eps_walks(settings)], [*steps_walks(settings)]]


def eps_key(value: float) -> str:
    """The attack's key, which is part of a file's name."""
    return f"pgd_eps_{number_text(value).replace('/', '_')}"


def steps_key(value: int) -> str:
    """The attack's key."""
    return f"pgd_steps_{value}"


def _point(verdict: Verdict, walk: LinfWalk, classes: int) -> dict[str, Any]:
    table = verdict.table(classes)
    return {"average": table.average, "worst": table.worst, "n": len(verdict.rows), "settings": asdict(walk)}
