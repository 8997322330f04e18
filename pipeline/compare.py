"""Runs side by side, class by class, from their evaluation.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.records.attacks import STRONGEST, attack_label
from absld.records.files import read_json
from absld.report.wording import MEASURES, images, number, points

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = ("average", "worst", "overall", "nsd")


def read_evaluation(root: Path, run: str) -> dict[str, Any]:
    """The evaluation of a run; `evaluation_file` says how it may be named."""
    found: dict[str, Any] = read_json(evaluation_file(root, run))
    return found


def evaluation_file(root: Path, run: str) -> Path:
    """The evaluation.json of a run by its key (``absld-s0``), its folder or the file itself.

    Raises:
        InputError: there is none; with the runs that there are.

    """
    for path in (
        root / "runs" / run / "evaluation" / "evaluation.json",
        Path(run),
        Path(run, "evaluation/evaluation.json"),
    ):
        if path.is_file():
            return path
    known = ", ".join(evaluated(root)) or "none yet: `absld repro` makes them"
    raise InputError(f"{run!r} is no evaluated run, and no evaluation.json. Evaluated are: {known}")


def evaluated(root: Path) -> list[str]:
    """The keys of the runs that have been evaluated."""
    return sorted(path.parent.parent.name for path in (root / "runs").glob("*/evaluation/evaluation.json"))


def table(evaluations: Sequence[Mapping[str, Any]], attack: str | None) -> "Table":
    """Accuracy in percent by class, a column a run; between two runs also the difference, the second minus the first.

    A star marks differences whose 95 % intervals do not meet. `attack` None: the strongest that all have.

    Raises:
        InputError: the runs were measured on other classes, at another eps, or not with this attack.

    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    attack = _attack(evaluations, attack)
    first = evaluations[0]
    for other in evaluations[1:]:
        if (other["classes"], other["threat_model"]) != (first["classes"], first["threat_model"]):
            raise InputError(f"{first['run']} and {other['run']} differ in classes or eps: they cannot be compared")
    outcomes = [evaluation["attacks"][attack] for evaluation in evaluations]
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=_caption(first, attack, outcomes), caption_justify="left")
    shown.add_column("class")
    for evaluation in evaluations:
        shown.add_column(evaluation["run"], justify="right")
    if len(evaluations) == 2:
        shown.add_column("difference", justify="right")
    for name in first["classes"]:
        cells = [(of["accuracy"]["per_class"][name], of["interval95"]["per_class"][name]) for of in outcomes]
        shown.add_row(name, *_cells("per_class", cells))
    shown.add_section()
    for measure in SHOWN:
        cells = [(of["accuracy"][measure], of["interval95"].get(measure)) for of in outcomes]
        shown.add_row(MEASURES[measure], *_cells(measure, cells))
    return shown


def _caption(first: Mapping[str, Any], attack: str, outcomes: Sequence[Mapping[str, Any]]) -> str:
    eps = "" if attack == "clean" else f", L∞ eps {first['threat_model']['eps_text']}"
    tested = " and ".join(dict.fromkeys(images(outcome["n"]) for outcome in outcomes))
    label = attack_label(attack, outcomes[0].get("settings", {}))
    return f"{first['dataset']}: {label}{eps}, {tested}, accuracy in percent; * the 95 % intervals do not meet"


def _attack(evaluations: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    common = [key for key in STRONGEST if all(key in evaluation["attacks"] for evaluation in evaluations)]
    if wanted is None:
        return common[0]
    if wanted not in common:
        raise InputError(f"attack {wanted!r} was not measured for all of these runs: choose from {', '.join(common)}")
    return wanted


def _cells(measure: str, cells: Sequence[tuple[float | None, Sequence[float] | None]]) -> list[str]:
    """A value for each run; between two runs the difference too, with a star if the intervals do not meet."""
    row = [number(measure, value) for value, _ in cells]
    if len(cells) == 2:
        (a, of_a), (b, of_b) = cells
        gap = None if a is None or b is None else b - a
        row.append((f"{gap:+.3f}" if gap is not None and measure == "nsd" else points(gap)) + _star(of_a, of_b))
    return row


def _star(first: Sequence[float] | None, second: Sequence[float] | None) -> str:
    if first is None or second is None:
        return " "
    return "*" if first[1] < second[0] or second[1] < first[0] else " "
