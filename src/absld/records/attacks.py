"""How attacks are called, and which of them decides."""

from collections.abc import Container, Mapping
from typing import Any

ATTACKS = {
    "clean": "Clean images",
    "fgsm": "FGSM",
    "pgd": "PGD",
    "cw": "CW",
    "aa": "AutoAttack",
    "apgd_ce": "APGD-CE",
    "apgd_t": "APGD-T",
    "fab_t": "FAB-T",
    "square": "Square",
    "transfer": "Transfer",
}
"""Keys of evaluation.json and verdicts.npz, and the names that people read."""
STRONGEST = ("aa", "cw", "pgd", "fgsm", "square", "transfer", "clean")
"""From the attack that says most about robustness to the one that says least."""


def attack_label(attack: str, settings: Mapping[str, Any]) -> str:
    """An attack's name, with the number of its steps if it has several: PGD-20."""
    name, steps = ATTACKS.get(attack, attack), settings.get("steps", 1)
    return f"{name}-{steps}" if steps > 1 else name


def strongest(attacks: Container[str]) -> str:
    """The one of `attacks` that decides: AutoAttack where it was run."""
    return next(attack for attack in STRONGEST if attack in attacks)
