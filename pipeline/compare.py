"""Runs side by side, class by class, from their evaluation.json; two of them image by image, from their verdicts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.records.attacks import STRONGEST, attack_label, strongest
from absld.records.files import read_json
from absld.report.wording import MEASURES, images, number, points, ratio
from absld.statistics.metrics import shown_measures

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipeline.pairing import Measured

NEEDED = ("run", "dataset", "classes", "threat_model", "attacks")
"""What every evaluation.json says."""


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
            sides, names = (both[: len(seeds)], both[len(seeds) :]), [Path(run).name for run in runs]
            met, names = _attack(both, attack), names if names[0] != names[1] else [*runs]
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


def read_evaluation(root: Path, run: str) -> dict[str, Any]:
    """The evaluation of a run; `evaluation_file` says how it may be named.

    Raises:
        InputError: there is none, or the file that was named is none.

    """
    file = evaluation_file(root, run)
    try:
        found: dict[str, Any] = read_json(file)
        missing = [key for key in NEEDED if key not in found]
    except (ValueError, TypeError):
        missing = ["JSON"]
    if missing:
        raise InputError(f"{file} is no evaluation, it has no {missing[0]}: name a run or its evaluation.json")
    return found


def measured(root: Path, runs: Sequence[str]) -> list["Measured"]:
    """The runs with where they lie, called by their keys, or as they were named where two have the same."""
    from pipeline.pairing import Measured

    evaluations = [read_evaluation(root, run) for run in runs]
    keys = [evaluation["run"] for evaluation in evaluations]
    names = runs if len(set(keys)) < len(keys) else keys
    files = [evaluation_file(root, run) for run in runs]
    return [Measured(*of) for of in zip(names, files, evaluations, strict=True)]


def seeds_of(root: Path, method: str, own: Sequence[str] | None = None) -> dict[int, str]:
    """The evaluated runs of a method, by their seeds; ``FOLDER/absld``: those that `absld keep` put into a folder.

    `own`: the runs of the project that count; None: all that have been evaluated.
    """
    path = Path(method)
    kept = sorted(str(file.parent) for file in path.parent.glob("*/evaluation.json"))
    for runs in (evaluated(root) if own is None else own, kept):
        parts = {run: run.rpartition("-s") for run in runs}
        found = {int(seed): run for run, (of, _, seed) in parts.items() if of == str(path) and seed.isdecimal()}
        if found:
            return dict(sorted(found.items()))
    return {}


def expanded(root: Path, runs: Sequence[str], own: Sequence[str]) -> list[str]:
    """The same with the runs of all its seeds in the place of each method; `own`: see `seeds_of`."""
    return [each for run in runs for each in seeds_of(root, run, own).values() or [run]]


def evaluation_file(root: Path, run: str) -> Path:
    """The evaluation.json of a run by its key (``absld-s0``) or a method with one seed; of another model by its name.

    Its folder or the file itself will do too.

    Raises:
        InputError: there is none; with the runs that there are. Or a method has several seeds.

    """
    seeds = list(seeds_of(root, run).values())
    if len(seeds) > 1:
        raise InputError(
            f"{run!r} has several seeds, each a student of its own: name one of {', '.join(seeds)}, or two methods and "
            "nothing else: two can be compared over their seeds. All methods stand in reports/summary.html"
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
