"""Attacks and a radius that are asked for by name, in the place of those in params.yaml; for one evaluation."""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from absld.errors import InputError, did_you_mean
from absld.params.base import PixelDistance
from absld.params.evaluate import Evaluate
from absld.records.attacks import AUTOATTACK

WALKS = ("fgsm", "pgd", "cw")
NAMES = (*WALKS, "aa", *AUTOATTACK)
"""What can be asked for; `aa` is all of AutoAttack."""
BLACK_BOX = ("square",)
"""Of these, what needs no gradient."""


def parse_eps(text: str) -> float:
    """A radius as params.yaml may have it: 0.1 or 4/255.

    Raises:
        InputError: it is no number, or not within [0, 1].

    """
    try:
        eps: float = TypeAdapter(PixelDistance).validate_python(text)
    except ValidationError as error:
        raise InputError(f"--eps {text}: {error.errors()[0]['msg']}") from None
    return eps


def check_attacks(names: Sequence[str], *, white_box: bool) -> None:
    """Whether there are such attacks, and whether a network without gradients can meet them.

    Raises:
        InputError: with those that there are.

    """
    for name in names:
        if name not in NAMES:
            hint = did_you_mean(name, NAMES)
            raise InputError(f"--attack {name}: unknown{f', {hint}' if hint else ''}; there are {', '.join(NAMES)}")
        if not white_box and name not in BLACK_BOX:
            raise InputError(
                f"--attack {name} needs gradients, and ONNX Runtime gives none: of an ONNX file ask for "
                f"{' or '.join(BLACK_BOX)}, and give examples that were made with another network by --adversarial"
            )


def overridden(settings: Evaluate, attacks: Sequence[str], eps: float | None) -> Evaluate:
    """The settings with nothing but `attacks`, at the radius `eps`.

    Steps keep their share of the radius, so that the walks are as long as they were. Where attacks are named there are
    no curves. Parts of AutoAttack that are named together are a cascade. They have the images of `attacks.aa`, or all
    where that is null.

    Args:
        settings: The section of params.yaml.
        attacks: Some of `NAMES`; none: those of `settings`.
        eps: None: that of `settings`.

    Raises:
        InputError: params.yaml does not say how an attack is set that is asked for.

    """
    asked = settings.model_dump()
    if eps is not None:
        share = eps / settings.eps if settings.eps else 1.0
        for attack in (asked["attacks"][name] for name in ("pgd", "cw")):
            if attack is not None:
                attack["step"] = min(1.0, attack["step"] * share)
        asked["eps"] = eps
    if attacks:
        asked["attacks"] = _only(asked["attacks"], attacks)
        asked["curves"] = None
    return Evaluate.model_validate(asked)


def _only(known: dict[str, dict[str, object] | None], attacks: Sequence[str]) -> dict[str, dict[str, object] | None]:
    for name in attacks:
        if name in WALKS and known[name] is None:
            raise InputError(
                f"--attack {name}: evaluate.attacks.{name} is null in params.yaml, so nobody knows how it is set: give "
                "it a block as a profile has it"
            )
    parts = [part for part in AUTOATTACK if part in attacks or "aa" in attacks]
    cascade = {**(known["aa"] or {"n": None}), "parts": parts} if parts else None
    return {**{name: known[name] if name in attacks else None for name in WALKS}, "aa": cascade}
