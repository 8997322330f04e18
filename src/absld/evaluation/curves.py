"""How accuracy falls as PGD's ball grows, and as its walk grows longer: for two figures, never for the table."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

    Against eps: as many steps as `attacks.pgd` has, each a quarter of the radius. Against steps: the radius `eps`, and
    steps as long as those of `attacks.pgd`. Without `attacks.pgd`: 20 steps, a quarter of `eps`.

    Raises:
        InputError: there are fewer images than classes.

    """
    curves, table, eps = settings.curves, settings.attacks.pgd, settings.eps
    if curves is None:
        return []
    rows = balanced(y, curves.n)
    enough(rows, classes, "evaluate.curves.n")
    steps, step = (table.steps, table.step) if table else (STEPS, eps / STEPS_ACROSS)
    walks = {eps_key(value): LinfWalk(value, value / STEPS_ACROSS, steps, "uniform") for value in curves.eps}
    walks |= {steps_key(value): LinfWalk(eps, step, value, "uniform") for value in curves.steps}
    attacks = [walked(key, pgd(walk), net, rows, keep=rows[:0]) for key, walk in walks.items()]
    return [replace(attack, stream="curve", measured=False) for attack in attacks]


def curve_blocks(found: Mapping[str, Verdict], settings: Evaluate, classes: int) -> dict[str, Any] | None:
    """The block `curves` of evaluation.json."""
    if settings.curves is None:
        return None
    return {
        "eps": [
            {"value": value, "text": number_text(value), **_point(found[eps_key(value)], classes)}
            for value in sorted(set(settings.curves.eps))
        ],
        "steps": [
            {"value": value, **_point(found[steps_key(value)], classes)} for value in sorted(set(settings.curves.steps))
        ],
    }


def curve_orders(settings: Evaluate) -> list[list[str]]:
    """The attacks of each curve, the weakest first."""
    if settings.curves is None:
        return []
    return [
        [eps_key(value) for value in sorted(set(settings.curves.eps))],
        [steps_key(value) for value in sorted(set(settings.curves.steps))],
    ]


def eps_key(value: float) -> str:
    """The attack's key, which is part of a file's name."""
    return f"pgd_eps_{number_text(value).replace('/', '_')}"


def steps_key(value: int) -> str:
    """The attack's key."""
    return f"pgd_steps_{value}"


def _point(verdict: Verdict, classes: int) -> dict[str, Any]:
    table = verdict.table(classes)
    return {"average": table.average, "worst": table.worst, "n": len(verdict.rows)}
