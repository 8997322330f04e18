"""What `absld compare --to paper` prints."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from absld.records.attacks import attack_label
from absld.report.wording import DASH, MINUS, method_label, percent, points
from absld.statistics.metrics import tail_of
from pipeline.paper import comparison
from pipeline.paper.settings import Run, common, differences
from pipeline.paper.tables import MEASURES, Finding, Paper, Table, read_paper

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table as Grid
    from rich.text import Text

    from absld.params.root import Params

DECIMALS = 2
"""As the paper has them."""
NAME = 11
"""Characters of the column of methods; longer names take several lines."""
NUMBER = 7
"""Characters of a column of numbers: 80 hold the table."""
TAILS = {"worst": "the worst class", "worst10": "the mean of the worst tenth of the classes"}


def page(root: Path, names: Sequence[str], attack: str | None, number: int | None) -> "Group":
    """The runs `names` beside the paper's table with this number; None: the one that is about the same.

    Raises:
        InputError: there is no such run, attack or table.

    """
    from rich.console import Group

    from absld.params.load import load
    from pipeline.profiles import FOLDER

    paper = read_paper()
    runs = comparison.read_runs(root, names)
    table = comparison.choose_table(paper, runs, number)
    attacks = comparison.attacks_shown(table, runs, attack)
    methods = comparison.by_method(table, runs)
    profile = load(FOLDER / f"{table.profile}.yaml")
    return Group(
        *_heading(paper, table, runs),
        *_numbers(paper, table, attacks, methods),
        *_settings(paper, table, methods, profile),
    )


def _heading(paper: Paper, table: Table, runs: Sequence[Run]) -> Iterator["Text"]:
    from rich.text import Text

    yield Text(f"Table {table.number} of {paper.source.partition(',')[0]}: {table.subject}", "bold")
    ours, tail = comparison.subject(runs[0]), tail_of(runs[0].evaluation["classes"])
    if ours != (table.dataset, table.architecture):
        yield Text(
            f"Ours is {' with '.join(ours)}: other data or another network, so a difference says nothing of a method.",
            "yellow",
        )
    worst = TAILS[table.tail] if tail == table.tail else f"{TAILS[table.tail]}, in ours {TAILS[tail]}"
    yield Text(
        "Accuracy in percent; ours is the mean over the seeds, and the paper does not say how many it has. Worst is "
        f"{worst}; overall is the mean of average and worst.\n"
    )


def _numbers(
    paper: Paper, table: Table, attacks: Sequence[str], methods: Mapping[str, Sequence[Run]]
) -> Iterator["RenderableType"]:
    """One header, the rows of each attack under its name, and what is wrong in the cells that bear a letter."""
    from rich.text import Text

    marks: dict[Finding, str] = {}
    yield _grid(header=True)
    for attack in attacks:
        yield Text(_title(attack, [run for of in methods.values() for run in of]), "bold")
        grid = _grid(header=False)
        for of in methods.values():
            row = comparison.row(paper, table, attack, of)
            cells = [text for cell in row.cells.values() for text in _cells(cell, marks)]
            grid.add_row(method_label(row.method), str(row.seeds or DASH), *cells)
        yield grid
        yield Text()
    for finding, mark in marks.items():
        yield _hanging(f"{mark}  ", finding.says)
    others = [method_label(name) for name in methods if name not in table.rows]
    missing = [method_label(name) for name in table.rows if name not in methods]
    if others:
        yield Text(f"Not in the paper's table: {'; '.join(others)}")
    if missing:
        yield Text(f"In the paper's table, but without a run here: {'; '.join(missing)}")


def _title(attack: str, runs: Sequence[Run]) -> str:
    """The attack, and how many test images it met if not all."""
    measured = [run.evaluation for run in runs if attack in run.evaluation["attacks"]]
    title = attack_label(attack, measured[0]["attacks"][attack]["settings"])
    of = dict.fromkeys((evaluation["attacks"][attack]["n"], evaluation["n"]) for evaluation in measured)
    if all(n == whole for n, whole in of):
        return title
    return f"{title}, n = " + " or ".join(f"{n:,} of {whole:,}" for n, whole in of) + " test images"


def _cells(cell: comparison.Cell, marks: dict[Finding, str]) -> Iterator["str | Text"]:
    """Ours, the paper's with the letter of what is wrong with it, the difference. A new finding gets a new letter."""
    from rich.text import Text

    mark = marks.setdefault(cell.finding, ascii_lowercase[len(marks)]) if cell.finding else " "
    gap = points(cell.difference, DECIMALS)
    yield percent(cell.ours, DECIMALS)
    yield percent(cell.theirs, DECIMALS) + mark
    yield Text(gap, {"+": "green", MINUS: "red"}.get(gap[0], ""))


def _grid(*, header: bool) -> "Grid":
    """Columns that are as wide under every attack."""
    from rich.table import Table

    grid = Table(box=None, show_header=header, pad_edge=False, padding=0)
    grid.add_column("", width=NAME)
    grid.add_column("\nseeds", justify="right", no_wrap=True, width=6)
    for measure in MEASURES:
        for name in (f"{measure.capitalize()}\nours", "\npaper ", "\ndiff."):
            grid.add_column(name, justify="right", no_wrap=True, width=NUMBER)
    return grid


def _settings(
    paper: Paper, table: Table, methods: Mapping[str, Sequence[Run]], profile: "Params"
) -> Iterator["RenderableType"]:
    """What differs in the settings: what differs for every method, then method by method."""
    from rich.text import Text

    found = {name: differences(of, profile, paper.select_on) for name, of in methods.items() if name in table.rows}
    compared = {name: of for name, of in found.items() if of is not None}
    shared = common(compared)
    own = {name: [each for each in of if each not in shared] for name, of in compared.items()}
    yield Text("\nSettings that differ from the paper's", "bold")
    yield Text(f"The paper's are those of the profile {table.profile}; docs/papers.md says where each is from.")
    for title, of in ({"every method": shared} | {method_label(name): of for name, of in own.items()}).items():
        if of:
            yield Text(f"  {title}")
            yield from (_hanging("    ", str(difference)) for difference in of)
    alike = [method_label(name) for name, of in own.items() if not of]
    unknown = [method_label(name) for name, of in found.items() if of is None]
    if alike:
        yield _hanging("  ", f"{'nothing else' if shared else 'nothing'}: {'; '.join(alike)}")
    if unknown:
        yield _hanging("  ", f"not in that profile, so not compared: {'; '.join(unknown)}")


def _hanging(mark: str, text: str) -> "RenderableType":
    """A paragraph whose further lines begin where the first one does, behind `mark`."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid()
    grid.add_row(Text(mark), Text(text))
    return grid
