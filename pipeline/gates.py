"""What a run must reach before it is promoted: `export.gates` of params.yaml against the run's evaluation.json.

A gate looks at the value that was measured, not at its interval: docs/promote.md says what that means for few images.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from absld.params.export import Gates
from absld.records.attacks import ATTACKS, attack_name, left_out_parts, possible_parts
from absld.statistics.metrics import tail_of

ROUNDING = 1e-9
"""A mean of class accuracies may miss by so much the limit that it equals."""


@dataclass(frozen=True)
class Judged:
    """A gate, what was measured for it, and whether that is enough."""

    gate: str
    """Its key in `export.gates`."""
    what: str
    """In words."""
    value: float | None
    """An accuracy in [0, 1], a ratio for nsd, the number of red ones for checks; None: there is no such number."""
    interval: tuple[float, float] | None
    """95 %, where the value has one."""
    limit: float
    """What it must at least be; for `max_` and checks what it may at most be."""
    passed: bool
    problem: str
    """Why it failed; empty if it passed."""


def judge(gates: Gates, evaluation: Mapping[str, Any]) -> list[Judged]:
    """Every gate that is set, in the order of params.yaml.

    Args:
        gates: `export.gates`.
        evaluation: What evaluation.json holds. An attack or a check that it lacks fails its gate.

    """
    tail = tail_of(evaluation["classes"])
    measured = {
        "min_clean_average": ("clean", "average"),
        "min_aa_average": ("aa", "average"),
        "min_aa_worst": ("aa", tail),
        "max_aa_nsd": ("aa", "nsd"),
    }
    limits = {gate: getattr(gates, gate) for gate in measured}
    judged = [_bounded(gate, *measured[gate], limit, evaluation) for gate, limit in limits.items() if limit is not None]
    return [*judged, _checks(evaluation)] if gates.checks else judged


def _bounded(gate: str, attack: str, measure: str, limit: float, evaluation: Mapping[str, Any]) -> Judged:
    what = f"{ATTACKS[attack]}, {measure}"
    outcome = evaluation["attacks"].get(attack)
    if outcome is None:
        problem = f"{ATTACKS[attack]} was not run: set evaluate.attacks.{attack} in params.yaml, then `absld repro`"
        return Judged(gate, what, None, None, limit, False, problem)
    left_out = left_out_parts(outcome.get("settings", {}))
    if left_out:
        what = f"{attack_name(attack, outcome['settings'])}, {measure}"
    value = outcome["accuracy"][measure]
    interval = outcome["interval95"].get(measure)
    avoidable = [ATTACKS[part] for part in left_out if part in possible_parts(len(evaluation["classes"]))]
    if avoidable:
        problem = (
            f"this is not the standard version of {ATTACKS[attack]}, which has {' and '.join(avoidable)} too: set "
            f"evaluate.attacks.{attack}.parts in params.yaml to all of it, then `absld repro`"
        )
        return Judged(gate, what, value, interval and (interval[0], interval[1]), limit, False, problem)
    passed, problem = _within(value, limit, least=gate.startswith("min_"), unit=1 if measure == "nsd" else 100)
    return Judged(gate, what, value, interval and (interval[0], interval[1]), limit, passed, problem)


def _within(value: float | None, limit: float, *, least: bool, unit: int) -> tuple[bool, str]:
    if value is None:
        return False, "has no value: the attack left no image correct"
    if (value >= limit - ROUNDING) if least else (value <= limit + ROUNDING):
        return True, ""
    return False, f"{unit * value:.6g} is {'below' if least else 'above'} {unit * limit:.6g}"


def _checks(evaluation: Mapping[str, Any]) -> Judged:
    checks = evaluation["checks"]
    if not checks:
        return Judged("checks", "red checks", None, None, 0, False, "the evaluation made no check")
    red = {name: check["detail"] for name, check in checks.items() if not check["passed"]}
    problem = "; ".join(f"{name} is red: {detail}" for name, detail in red.items())
    return Judged("checks", f"red checks, of {len(checks)}", len(red), None, 0, not red, problem)
