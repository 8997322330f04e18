"""Runs side by side: the verdicts of two on the same images, or why runs cannot be put there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.errors import InputError
from absld.evaluation.arrays import read_npz
from absld.records.attacks import attack_label, attack_name
from absld.statistics.paired import Pairs

UNLIKE = ("seed", "chunk", "parts", "implementation")
"""Settings that may differ between two runs: they are no other attack, or what it found."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A run's evaluation.json and where it lies."""

    name: str
    """As it is shown."""
    file: Path
    evaluation: Mapping[str, Any]

    @property
    def verdicts(self) -> Path:
        """The verdicts that were written with it."""
        return self.file.with_name("verdicts.npz")


def pair(first: Measured, second: Measured, attack: str) -> Pairs:
    """The verdicts of both on the images that both were attacked on.

    Raises:
        InputError: they are unlike, have no image in common, or files do not belong together.

    """
    refuse_unlike(first, second, attack)
    of_first, of_second = (verdicts_of(measured, attack) for measured in (first, second))
    if not np.array_equal(of_first["y"], of_second["y"]):
        raise InputError(f"{first.name} and {second.name} have other labels: they were measured on other images")
    rows, at_first, at_second = np.intersect1d(of_first["rows"], of_second["rows"], True, return_indices=True)
    y, names = of_first["y"][rows], first.evaluation["classes"]
    without = [name for label, name in enumerate(names) if label not in y]
    if without:
        raise InputError(
            f"{first.name} and {second.name} were attacked on other images: of {', '.join(without)} they have none in "
            "common. Give both the same `n` in params.yaml and `absld repro`"
        )
    return Pairs(of_first["survived"][at_first], of_second["survived"][at_second], y, len(names))


def refuse_unlike(first: Measured, second: Measured, attack: str) -> None:
    """Raise InputError unless both met the same attack on the same test images, with the same classes and eps."""
    one, other = (measured.evaluation for measured in (first, second))
    if (one["classes"], one["threat_model"]) != (other["classes"], other["threat_model"]):
        raise InputError(f"{first.name} and {second.name} differ in classes or eps: they cannot be compared")
    _refuse_other_images(first, second)
    _refuse_another_attack(first, second, attack)


def verdicts_of(measured: Measured, attack: str) -> dict[str, NDArray[Any]]:
    """`rows` of the test split, whether each `survived`, and `y` of the whole split.

    Raises:
        InputError: there are none, or they are not those of evaluation.json.

    """
    again = f"evaluate {measured.name} again"
    try:
        stored = read_npz(measured.verdicts)
        y, survived = stored["y"], stored[attack]
        rows = stored.get(f"{attack}_index", np.arange(len(y)))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{measured.verdicts} has no verdicts under {attack} ({error}): {again}") from None
    told = measured.evaluation["attacks"][attack]["accuracy"]["per_class"]
    found = [survived[y[rows] == label].mean() for label in range(len(told))]
    if not np.allclose(found, list(told.values())):
        raise InputError(f"{measured.verdicts} and the evaluation.json beside it are of two evaluations: {again}")
    return {"y": y, "survived": survived, "rows": rows}


def _refuse_other_images(first: Measured, second: Measured) -> None:
    of_first, of_second = (of.evaluation.get("provenance", {}).get("data_sha256") for of in (first, second))
    if of_first != of_second:
        raise InputError(
            f"{first.name} and {second.name} were measured on other test images (sha256 {str(of_first)[:12]} and "
            f"{str(of_second)[:12]}): they cannot be compared. Evaluate both on the same data"
        )


def _refuse_another_attack(first: Measured, second: Measured, attack: str) -> None:
    settings: Sequence[Mapping[str, Any]] = [
        of.evaluation["attacks"][attack].get("settings", {}) for of in (first, second)
    ]
    met = [attack_name(attack, of) for of in settings]
    if met[0] != met[1]:
        raise InputError(f"{first.name} met {met[0]}, {second.name} {met[1]}: they cannot be compared")
    for key in sorted((settings[0].keys() | settings[1].keys()) - set(UNLIKE)):
        one, other = (of.get(key) for of in settings)
        if one != other:
            raise InputError(
                f"{first.name} met {attack_label(attack, settings[0])} with {key} {one}, {second.name} with {key} "
                f"{other}: they cannot be compared. Evaluate both with the same settings"
            )
