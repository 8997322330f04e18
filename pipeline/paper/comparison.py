"""Our runs put beside a table of the paper: which table, and every number of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from absld.errors import InputError
from absld.records.files import read_json
from absld.records.layout import RunKey
from absld.statistics.metrics import tail_of
from pipeline.evaluations import evaluation_file
from pipeline.paper.settings import Run
from pipeline.paper.tables import MEASURES, Finding, Paper, Place, Table


@dataclass(frozen=True)
class Cell:
    """One number, ours and the paper's, as fractions in [0, 1]; None: there is none."""

    ours: float | None
    theirs: float | None
    finding: Finding | None
    """What is wrong with the paper's."""

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's, as printed."""
        return None if self.ours is None or self.theirs is None else self.ours - self.theirs


@dataclass(frozen=True)
class Row:
    """One method under one attack."""

    method: str
    seeds: int
    """Over how many seeds ours is the mean."""
    cells: Mapping[str, Cell]
    """By measure: average, worst, overall."""


def read_runs(root: Path, names: Sequence[str]) -> list[Run]:
    """Runs by their keys, folders or files, of one data set and one network.

    Raises:
        InputError: one is not there, or there twice; or they are about different things.

    """
    files = dict.fromkeys(evaluation_file(root, name).resolve() for name in names)
    found = [_read(file) for file in files]
    seen: set[RunKey] = set()
    for run in found:
        if run.key in seen:
            raise InputError(f"{run.key} was given twice, from two folders: a mean over seeds needs each once")
        seen.add(run.key)
    subjects: dict[str, list[str]] = {}
    for run in found:
        subjects.setdefault(" with ".join(subject(run)), []).append(str(run.key))
    if len(subjects) > 1:
        told = "; ".join(f"{of}: {', '.join(keys)}" for of, keys in subjects.items())
        raise InputError(f"these runs are about different things, and a table is about one. Name those of one: {told}")
    return found


def subject(run: Run) -> tuple[str, str]:
    """The data set and the student's architecture."""
    return run.evaluation["dataset"], run.card["student"]["architecture"]


def choose_table(paper: Paper, runs: Sequence[Run], number: int | None) -> Table:
    """The table with this number; None: the one about the same data set and network as the runs.

    Raises:
        InputError: there is none; with those that there are.

    """
    if number is not None:
        return paper.table(number)
    table = paper.table_of(*subject(runs[0]))
    if table is None:
        raise InputError(
            f"these runs are {' with '.join(subject(runs[0]))}, and {paper.what_there_is()}. To put one beside them "
            "anyway: `absld compare --to paper --table 1`"
        )
    return table


def attacks_shown(table: Table, runs: Sequence[Run], wanted: str | None) -> list[str]:
    """The attacks of the table that at least one run was measured with, or the one that is wanted.

    Raises:
        InputError: none was measured with that one.

    """
    measured = [
        attack for attack in next(iter(table.rows.values())) if any(attack in run.evaluation["attacks"] for run in runs)
    ]
    if wanted is not None and wanted not in measured:
        raise InputError(
            f"attack {wanted!r} was not measured, or is not the paper's: choose from {', '.join(measured)}"
        )
    return measured if wanted is None else [wanted]


def by_method(table: Table, runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs of each method: first the paper's, in its order, then the others."""
    names = dict.fromkeys([*table.rows, *(run.key.method for run in runs)])
    grouped = {name: [run for run in runs if run.key.method == name] for name in names}
    return {name: of for name, of in grouped.items() if of}


def row(paper: Paper, table: Table, attack: str, runs: Sequence[Run]) -> Row:
    """The runs of one method under one attack, the mean over their seeds."""
    method = runs[0].key.method
    found = [run.evaluation["attacks"][attack]["accuracy"] for run in runs if attack in run.evaluation["attacks"]]
    names = {"average": "average", "worst": tail_of(runs[0].evaluation["classes"]), "overall": "overall"}
    cells = {}
    for measure in MEASURES:
        percent = table.rows[method][attack][measure] if method in table.rows else None
        cells[measure] = Cell(
            ours=fmean(accuracy[names[measure]] for accuracy in found) if found else None,
            theirs=None if percent is None else percent / 100,
            finding=paper.finding_at(Place(table.number, method, attack, measure)),
        )
    return Row(method, len(found), cells)


def _read(file: Path) -> Run:
    folder = file.parent.parent
    evaluation, state, card = file, folder / "train" / "state.json", folder / "export" / "card.json"
    if file.with_name("state.json").is_file():  # `absld keep` puts all of a run's files into one folder
        state, card = (file.with_name(name) for name in ("state.json", "card.json"))
    for path in (state, card):
        if not path.is_file():
            raise InputError(f"{path} is missing, which says how it was trained: `absld repro` makes it")
    read = read_json(evaluation)
    return Run(RunKey(read["method"], read["seed"]), read, read_json(state), read_json(card))
