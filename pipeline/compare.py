"""Runs side by side, class by class, from their evaluation.json; two of them image by image, from their verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.records.attacks import STRONGEST, attack_label, strongest
from absld.report.wording import MEASURES, images, number, points, ratio
from absld.statistics.metrics import shown_measures
from pipeline.evaluations import measured, seeds_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipeline.pairing import Measured


def view(root: Path, runs: Sequence[str], attack: str | None, own: Sequence[str] | None = None) -> "RenderableType":
    """Two runs image by image, with the significance of what differs; one, or more than two, as a table.

    Two methods, one of them with several seeds, are compared over the seeds that both have. `attack` None: the
    strongest that all have. `own`: see `seeds_of`.

    Raises:
        InputError: a run is not there; or they were not measured in the same way on the same images.

    """
    methods = [seeds_of(root, run, own) for run in runs]
    if len(runs) == 2 and all(methods) and any(len(of) > 1 for of in methods):
        seeds = _shared(runs, methods)
        methods = [{seed: of[seed] for seed in seeds} for of in methods]
        if len(seeds) > 1:
            from pipeline import two_methods

            both = measured(root, [run for of in methods for run in of.values()])
            sides, met = (both[: len(seeds)], both[len(seeds) :]), _attack(both, attack)
            names = [Path(run).name for run in runs]
            names = names if names[0] != names[1] else [*runs]
            return two_methods.shown(names, seeds, sides, met, _within(met, both[0].evaluation))
    alone = [next(iter(of.values())) if len(of) == 1 else run for run, of in zip(runs, methods, strict=True)]
    found = measured(root, alone)
    plain = table(found, attack)  # refuses what cannot stand side by side, also where it is not shown
    if len(found) != 2:
        return plain
    from rich.console import Group
    from rich.text import Text

    missing = [run.verdicts for run in found if not run.verdicts.is_file()]
    if missing:
        return Group(plain, Text(f"Not tested image by image: {missing[0]} is missing; `absld repro` makes it."))
    return _image_by_image(found[0], found[1], _attack(found, attack))


def _shared(runs: Sequence[str], methods: Sequence[Mapping[int, str]]) -> list[int]:
    """The seeds that both methods have, one or more."""
    seeds = sorted(set(methods[0]) & set(methods[1]))
    if not seeds:
        told = " and ".join(f"{run} has {', '.join(map(str, of))}" for run, of in zip(runs, methods, strict=True))
        raise InputError(
            f'{" and ".join(runs)} have no seed in common ({told}): `absld repro --set "runs.seeds=[...]"` '
            "makes what is missing"
        )
    return seeds


def _image_by_image(first: "Measured", second: "Measured", attack: str) -> "RenderableType":
    from absld.statistics.paired import compared
    from pipeline.pairing import pair
    from pipeline.significance import Two, shown

    of, pairs = first.evaluation, pair(first, second, attack)
    two = Two(
        runs=(first.name, second.name),
        classes=of["classes"],
        dataset=of["dataset"],
        attack=_label(attack, of["attacks"][attack]),
        within=_within(attack, of),
        pairs=pairs,
        found=compared(pairs),
    )
    return shown(two)


def table(runs: Sequence["Measured"], attack: str | None) -> "Table":
    """Accuracy in percent by class, a column a run; between two runs also the difference, the second minus the first.

    A star marks differences whose 95 % intervals do not meet. `attack` None: the strongest that all have.

    Raises:
        InputError: the runs were measured on other classes or images, at another eps, not with this attack or with
            other settings of it.

    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from pipeline.pairing import refuse_unlike

    attack = _attack(runs, attack)
    for other in runs[1:]:
        refuse_unlike(runs[0], other, attack)
    first, evaluations = runs[0].evaluation, [run.evaluation for run in runs]
    outcomes = [evaluation["attacks"][attack] for evaluation in evaluations]
    caption = escape(_caption(first, attack, outcomes))
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, caption=caption, caption_justify="left")
    shown.add_column("class")
    for run in runs:
        shown.add_column(Text(run.name), justify="right")
    if len(runs) == 2:
        shown.add_column("difference", justify="right")
    for name in first["classes"]:
        cells = [(of["accuracy"]["per_class"][name], of["interval95"]["per_class"][name]) for of in outcomes]
        shown.add_row(Text(name), *_cells("per_class", cells))
    shown.add_section()
    for measure in shown_measures(first["classes"]):
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


def attacks_of(runs: Sequence["Measured"], wanted: str | None = None) -> list[str]:
    """The attacks that all runs met, the strongest first; or the one that is wanted.

    Raises:
        InputError: not all met that one.

    """
    common = [key for key in STRONGEST if all(key in run.evaluation["attacks"] for run in runs)]
    if wanted is not None and wanted not in common:
        raise InputError(f"attack {wanted!r} was not measured for all of these runs: choose from {', '.join(common)}")
    return common if wanted is None else [wanted]


def _attack(runs: Sequence["Measured"], wanted: str | None) -> str:
    """The attack that is wanted, else the strongest."""
    return strongest({key: runs[0].evaluation["attacks"][key] for key in attacks_of(runs, wanted)})


def _cells(measure: str, cells: Sequence[tuple[float | None, Sequence[float] | None]]) -> list[str]:
    """A value for each run; between two runs the difference too, with a star if the intervals do not meet."""
    row = [number(measure, value) for value, _ in cells]
    if len(cells) == 2:
        (a, of_a), (b, of_b) = cells
        gap = None if a is None or b is None else b - a
        row.append((ratio(gap) if measure == "nsd" else points(gap)) + _star(of_a, of_b))
    return row


def _star(first: Sequence[float] | None, second: Sequence[float] | None) -> str:
    if first is None or second is None:
        return " "
    return "*" if first[1] < second[0] or second[1] < first[0] else " "
