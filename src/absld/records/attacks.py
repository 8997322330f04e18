"""How attacks are called, and which of them decides."""

from collections.abc import Mapping
from typing import Any, get_args

from absld.params.attacks import AutoAttackPart

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
AUTOATTACK: tuple[AutoAttackPart, ...] = get_args(AutoAttackPart)
"""AutoAttack's standard version, in the order of its cascade: each part gets what survived the one before."""
APGD = frozenset({"apgd_ce", "apgd_t"})
"""The parts that are at least as strong as PGD and CW; the two others are there for networks that mislead these."""
TARGETED_APGD_CLASSES = 4
"""APGD-T's loss compares with the fourth-highest logit."""
STRONGEST = ("aa", "cw", "pgd", "fgsm", "square", "transfer", "clean")
"""From the attack that says most about robustness to the one that says least."""


def possible_parts(classes: int) -> tuple[AutoAttackPart, ...]:
    """The parts of AutoAttack that can run with so many classes."""
    return tuple(part for part in AUTOATTACK if part != "apgd_t" or classes >= TARGETED_APGD_CLASSES)


def left_out_parts(settings: Mapping[str, Any]) -> list[str]:
    """The parts of the standard version that did not run, by AutoAttack's settings in evaluation.json."""
    return list(settings.get("left_out", ()))


def attack_name(attack: str, settings: Mapping[str, Any]) -> str:
    """As people call it; an AutoAttack that is not the standard version says what it lacks, or all that it had."""
    name, left_out = ATTACKS.get(attack, attack), left_out_parts(settings)
    if not left_out:
        return name
    if len(left_out) == 1:
        return f"{name} (without {ATTACKS[left_out[0]]})"
    return f"{name} ({', '.join(ATTACKS[part] for part in AUTOATTACK if part not in left_out)} only)"


def attack_label(attack: str, settings: Mapping[str, Any]) -> str:
    """An attack's name, with the number of its steps if it has several: PGD-20."""
    name, steps = attack_name(attack, settings), settings.get("steps", 1)
    return f"{name}-{steps}" if steps > 1 else name


def strongest(attacks: Mapping[str, Mapping[str, Any]]) -> str:
    """The one of `attacks` that decides: AutoAttack where it was run. Without APGD it says no more than Square alone.

    Args:
        attacks: Key to a block with `settings`, as in evaluation.json.

    """

    def place(attack: str) -> int:
        weak = set(left_out_parts(attacks[attack].get("settings", {}))) >= APGD
        return STRONGEST.index("square" if weak else attack)

    return min((attack for attack in STRONGEST if attack in attacks), key=place)
