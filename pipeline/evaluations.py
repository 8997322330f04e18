"""Where evaluations lie, and how people name them: by a run's key, by a method, by a folder or file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.errors import InputError
from absld.records.files import read_json

if TYPE_CHECKING:
    from pipeline.pairing import Measured

NEEDED = ("run", "dataset", "classes", "threat_model", "attacks")
"""What every evaluation.json says."""


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
    if "/" in method.rstrip("/"):
        folder = path.parent if path.parent.name else path.parent.resolve()  # without a folder it would be our own run
        runs: Sequence[str] = [str(file.parent) for file in folder.glob("*/evaluation.json")]
    else:
        runs = evaluated(root) if own is None else own
    parts = {run: Path(run).name.rpartition("-s") for run in runs}
    found = {int(seed): run for run, (of, _, seed) in parts.items() if of == path.name and seed.isdecimal()}
    return dict(sorted(found.items()))


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
