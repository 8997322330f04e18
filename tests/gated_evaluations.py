"""Evaluations that gates judge, invented."""

from collections.abc import Mapping
from typing import Any

from absld.params.export import Gates

NONE = Gates(min_clean_average=None, min_aa_average=None, min_aa_worst=None, max_aa_nsd=None, checks=False)


def outcome(**accuracy: float | None) -> dict[str, Any]:
    by_class = {f"c{index}": 0.5 for index in range(10)}
    interval = {name: [value - 0.1, value + 0.1] for name, value in accuracy.items() if value is not None}
    return {"accuracy": {"per_class": by_class, **accuracy}, "interval95": interval, "n": 360}


def evaluation(classes: int = 10, red: Mapping[str, str] | None = None, **aa: float | None) -> dict[str, Any]:
    """What the gates look at: clean 0.9 on average, AutoAttack 0.6, worst 0.4, worst tenth 0.45, nsd 0.2."""
    checks = {"deterministic": {"passed": True, "detail": "0 of 360"}}
    checks |= {name: {"passed": False, "detail": detail} for name, detail in (red or {}).items()}
    robust = {"average": 0.6, "worst": 0.4, "worst10": 0.45, "nsd": 0.2, **aa}
    return {
        "classes": [f"c{index}" for index in range(classes)],
        "threat_model": {"norm": "Linf", "eps": 0.1, "eps_text": "0.1"},
        "attacks": {
            attack: outcome(**measures, overall=0.5)
            for attack, measures in (
                ("clean", {"average": 0.9, "worst": 0.8, "worst10": 0.8, "nsd": 0.1}),
                ("aa", robust),
            )
        },
        "last": {},
        "checks": checks,
    }
