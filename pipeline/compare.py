"""Runs side by side, class by class, from their evaluation.json; two of them image by image, from their verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.metrics import tail_of
from absld.records.attacks import STRONGEST, attack_label, attack_name, strongest
from absld.records.files import read_json
from absld.report.wording import MEASURES, images, number, points

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipeline.pairing import Measured


def view(root: Path, runs: Sequence[str], attack: str | None) -> "RenderableType":
    """Two runs image by image, with the significance of what differs; one, or more than two, as a table.

    `attack` None: the strongest that all have.

    Raises:
        InputError: a run is not there; or they were not measured in the same way on the same images.

    """
    evaluations = [read_evaluation(root, run) for run in runs]
    plain = table(evaluations, attack)  # refuses what cannot stand side by side, also where it is not shown
    if len(runs) != 2:
        return plain
    from rich.console import Group
    from rich.text import Text

    from pipeline.pairing import Measured

    called = [evaluation["run"] for evaluation in evaluations]
    names = runs if called[0] == called[1] else called
    files = [evaluation_file(root, run) for run in runs]
    first, second = (Measured(*of) for of in zip(names, files, evaluations, strict=True))
    missing = [run.verdicts for run in (first, second) if not run.verdicts.is_file()]
    if missing:
        return Group(plain, Text(f"Not tested image by image: {missing[0]} is missing; `absld repro` makes it."))
    return _image_by_image(first, second, _attack(evaluations, attack))


def _image_by_image(first: "Measured", second: "Measured", attack: str) -> "RenderableType":
    from absld.paired import compared
    from pipeline.pairing import pair
    from pipeline.significance import Two, shown

    of, pairs = first.evaluation, pair(first, second, attack)
    two = Two(
        runs=(first.name, second.name),
        classes=of["classes"],
        dataset=of["dataset"],
        attack=_label(attack, of["attacks"][attack]),
        within=_within(attack, of),
        tail=tail_of(of["classes"]),
        pairs=pairs,
        found=compared(pairs),
    )
    return shown(two)


def read_evaluation(root: Path, run: str) -> dict[str, Any]:
    """The evaluation of a run; `evaluation_file` says how it may be named."""
    found: dict[str, Any] = read_json(evaluation_file(root, run))
    return found


def evaluation_file(root: Path, run: str) -> Path:
    """The evaluation.json of a run by its key (``absld-s0``) or a method with one seed; of another model by its name.

    Its folder or the file itself will do too.

    Raises:
        InputError: there is none; with the runs that there are. Or a method has several seeds.

    """
    seeds = [key for key in evaluated(root) if key.rpartition("-s")[0] == run]
    if len(seeds) > 1:
        raise InputError(
            f"{run!r} has several seeds, each a student of its own: name one of {', '.join(seeds)}. "
            "What the seeds have in common stands in reports/summary.html"
        )
    run = seeds[0] if seeds else run
    for path in (
        root / "runs" / run / "evaluation" / "evaluation.json",
        root / "evaluations" / run / "evaluation.json",
        Path(run),
        Path(run, "evaluation.json"),
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
        InputError: the runs were measured on other classes, at another eps, not with this attack, or with other parts
            of AutoAttack.

    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    attack = _attack(evaluations, attack)
    first = evaluations[0]
    for other in evaluations[1:]:
        if (other["classes"], other["threat_model"]) != (first["classes"], first["threat_model"]):
            raise InputError(f"{first['run']} and {other['run']} differ in classes or eps: they cannot be compared")
        met = [attack_name(attack, of["attacks"][attack].get("settings", {})) for of in (first, other)]
        if met[0] != met[1]:
            raise InputError(f"{first['run']} met {met[0]}, {other['run']} {met[1]}: they cannot be compared")
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
    for measure in ("average", tail_of(first["classes"]), "overall", "nsd"):
        cells = [(of["accuracy"][measure], of["interval95"].get(measure)) for of in outcomes]
        shown.add_row(MEASURES[measure], *_cells(measure, cells))
    return shown


def _caption(first: Mapping[str, Any], attack: str, outcomes: Sequence[Mapping[str, Any]]) -> str:
    tested = " and ".join(dict.fromkeys(images(outcome["n"]) for outcome in outcomes))
    met = f"{_label(attack, outcomes[0])}{_within(attack, first)}"
    return f"{first['dataset']}: {met}, {tested}, accuracy in percent; * the 95 % intervals do not meet"


def _label(attack: str, outcome: Mapping[str, Any]) -> str:
    return attack_label(attack, outcome.get("settings", {}))


def _within(attack: str, evaluation: Mapping[str, Any]) -> str:
    return "" if attack == "clean" else f", L∞ eps {evaluation['threat_model']['eps_text']}"


def _attack(evaluations: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    common = [key for key in STRONGEST if all(key in evaluation["attacks"] for evaluation in evaluations)]
    if wanted is None:
        return strongest({key: evaluations[0]["attacks"][key] for key in common})
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
