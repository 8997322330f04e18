"""Figures 2 to 5 of the paper again, from runs that exist: each with the numbers that it shows.

Every figure stands alone, so its caption is part of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from absld.errors import InputError
from absld.records.attacks import ATTACKS, attack_label
from absld.report import bars, curves
from absld.report.drawing import WIDTH, finish, footnote, head, house_style, png
from absld.report.inputs import ByMethod, Run, first_of, group_by_method, settings_of, several_seeds
from absld.report.over_seeds import OverSeeds, over_seeds
from absld.report.palette import INKS, style_of
from absld.report.paper_captions import measured_caption, risk_caption
from absld.report.risks import RISKS, UNIT, Spreads, spreads
from absld.report.summary import MOST_SIDE_BY_SIDE
from absld.report.tables import Cell, Group, Line, Table, best_of
from absld.report.wording import MEASURES, method_label, percent
from absld.statistics.metrics import tail_of

METHODS = {
    2: ("sat_ssd", "sat_dsd"),
    3: ("rslad", "absld"),
    4: ("rslad", "absld_adv", "absld"),
    5: ("rslad", "absld"),
}
"""What each figure compares."""

Numbers = Mapping[str, Mapping[str, OverSeeds]]
"""Row to method to number."""


@dataclass(frozen=True)
class Redrawn:
    """One figure of the paper, with our numbers."""

    table: Table
    """The numbers, and the figure's caption."""
    content: bytes
    """The whole file."""


@dataclass(frozen=True)
class _Drawing:
    """A figure before it is saved."""

    title: str
    table: Table
    figure: Figure
    tips: Mapping[str, str]


def redraw(number: int, runs: Sequence[Run], kind: Literal["svg", "png"]) -> Redrawn:
    """Draw figure `number`, 2 to 5, from runs of its METHODS, with whatever seeds each has.

    Raises:
        InputError: the runs were not attacked with PGD, or recorded no risks.

    """
    found = group_by_method(runs)
    with house_style():
        drawing = _DRAW[number]({method: found[method] for method in METHODS[number]})
        footnote(drawing.figure, drawing.table.caption)
        drawing.figure.suptitle(f"Figure {number}: {drawing.title}", x=0.01, ha="left", size=10)
        content = png(drawing.figure) if kind == "png" else _svg(drawing, f"paper_figure_{number}")
    return Redrawn(drawing.table, content)


def _svg(drawing: _Drawing, name: str) -> bytes:
    return finish(drawing.figure, name, drawing.title, _in_words(drawing.table), drawing.tips).encode()


def _soft_labels(by_method: ByMethod) -> _Drawing:
    return _class_by_class(by_method, "soft labels of same and of different smoothness", ["average"])


def _rslad_and_absld(by_method: ByMethod) -> _Drawing:
    return _class_by_class(by_method, "robustness class by class", [])


def _class_by_class(by_method: ByMethod, title: str, measures: Sequence[str]) -> _Drawing:
    """PGD robustness of each class, then over all classes. Of very many classes the hardest for the first method."""
    first = first_of(by_method).evaluation
    numbers = {name: _accuracy(by_method, "pgd", name, by_class=True) for name in first["classes"]}
    caption = measured_caption(by_method, ["pgd"])
    if len(numbers) > MOST_SIDE_BY_SIDE:
        baseline = next(iter(by_method))
        hardest = sorted(numbers, key=lambda name: numbers[name][baseline]["mean"] or 0.0)[:MOST_SIDE_BY_SIDE]
        numbers = {name: numbers[name] for name in hardest}
        caption = f"The {len(hardest)} classes that are hardest for {method_label(baseline)}. {caption}"
    numbers |= {MEASURES[measure]: _accuracy(by_method, "pgd", measure) for measure in measures}
    figure = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    axes = figure.subplots()
    settings = first["attacks"]["pgd"]["settings"]
    head(axes, f"{attack_label('pgd', settings)}: accuracy by class", "%", above=22)
    tips = bars.grouped_bars(axes, list(numbers), _rows(numbers))
    bars.name_groups(axes, list(numbers), bars.slant(list(numbers)))
    bars.legend(axes, list(by_method))
    if measures:
        axes.axvline(len(numbers) - len(measures) - 0.5, color=INKS["muted"].light, linewidth=0.6)
    return _Drawing(title, _table("Class", numbers, percent, caption), figure, tips)


def _ablation(by_method: ByMethod) -> _Drawing:
    """Average, worst class and overall under every attack that all runs met."""
    first = first_of(by_method).evaluation
    attacks = [attack for attack in ATTACKS if attack in first["attacks"]]
    labels = {attack: attack_label(attack, settings_of(first["attacks"][attack])) for attack in attacks}
    figure = Figure(figsize=(WIDTH, 6.2), layout="constrained")
    numbers: dict[str, Mapping[str, OverSeeds]] = {}
    tips: dict[str, str] = {}
    measures = ("average", tail_of(first["classes"]), "overall")
    for axes, measure in zip(figure.subplots(3, 1), measures, strict=True):
        rows = {labels[attack]: _accuracy(by_method, attack, measure) for attack in attacks}
        numbers |= {f"{label}, {MEASURES[measure].lower()}": row for label, row in rows.items()}
        tips |= bars.grouped_bars(axes, list(rows), _rows(rows), prefix=measure)
        bars.name_groups(axes, list(rows), 0)
        first_panel = measure == measures[0]
        head(axes, MEASURES[measure], "%", above=22 if first_panel else 8)
        if first_panel:
            bars.legend(axes, list(by_method))
    table = _table("Attack", numbers, percent, measured_caption(by_method, attacks))
    return _Drawing("what each set of temperatures adds", table, figure, tips)


def _risks(by_method: ByMethod) -> _Drawing:
    """Spread of the class risks by epoch, the labels beside the lines once both panels have their limits."""
    found = {method: spreads(runs) for method, runs in by_method.items()}
    missing = [method for method, of in found.items() if set(of) != set(RISKS)]
    if missing:
        raise InputError(f"the history of {missing[0]} has no {' and '.join(RISKS)} in every seed: train it again")
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    panels = dict(zip(RISKS, figure.subplots(1, 2, sharey=True), strict=True))
    ends = {quantity: _risk_panel(axes, quantity, found) for quantity, axes in panels.items()}
    panels["risk_adv"].set_ylim(bottom=0)
    for quantity, axes in panels.items():
        curves.label(axes, ends[quantity])
    table = _table("Risk", _risk_numbers(found), _ratio, risk_caption(by_method), highest=False)
    return _Drawing("spread of the class risks while training", table, figure, {})


def _risk_panel(axes: Axes, quantity: str, found: Mapping[str, Spreads]) -> list[curves.End]:
    head(axes, f"{RISKS[quantity]} images", UNIT)
    curves.epochs_axis(axes)
    return [
        curves.draw(axes, of[quantity], style_of(method))._replace(text=curves.signed_label(method))
        for method, of in found.items()
    ]


def _risk_numbers(found: Mapping[str, Spreads]) -> Numbers:
    """The first, a middle and the last epoch that all runs share."""
    numbers = {}
    for quantity, images in RISKS.items():
        lines = {method: of[quantity] for method, of in found.items()}
        shared = sorted(set.intersection(*(set(line.epochs) for line in lines.values())))
        for epoch in dict.fromkeys((shared[0], shared[len(shared) // 2], shared[-1])):
            numbers[f"{images}, epoch {epoch}"] = {method: _at(line, epoch) for method, line in lines.items()}
    return numbers


_DRAW: Mapping[int, Callable[[ByMethod], _Drawing]] = {2: _soft_labels, 3: _rslad_and_absld, 4: _ablation, 5: _risks}


def _accuracy(by_method: ByMethod, attack: str, name: str, *, by_class: bool = False) -> dict[str, OverSeeds]:
    """One accuracy of every method. Intervals over the images are given where no method has a second seed."""
    several = several_seeds(by_method)
    found = {}
    for method, runs in by_method.items():
        blocks = [run.evaluation["attacks"].get(attack) for run in runs]
        if not all(blocks):
            raise InputError(
                f"{runs[0].key} was not attacked with {attack}: set evaluate.attacks.{attack} and evaluate it"
            )
        accuracies, intervals = (
            [block[part]["per_class"] if by_class else block[part] for block in blocks]
            for part in ("accuracy", "interval95")
        )
        found[method] = over_seeds([of[name] for of in accuracies], None if several else intervals[0][name])
    return found


def _at(line: curves.Curve, epoch: int) -> OverSeeds:
    place = line.epochs.index(epoch)
    mean, low, high = (part[place] for part in (line.mean, line.low, line.high))
    alone = low == high
    return {
        "mean": mean,
        "std": None,
        "low": None if alone else low,
        "high": None if alone else high,
        "n": 1,
        "values": [mean],
    }


def _rows(numbers: Numbers) -> dict[str, list[OverSeeds]]:
    """Method to its numbers, in the order of the rows."""
    return {method: [row[method] for row in numbers.values()] for method in next(iter(numbers.values()))}


def _table(
    corner: str, numbers: Numbers, text: Callable[[float | None], str], caption: str, *, highest: bool = True
) -> Table:
    """The numbers with their ranges; the best of each row is bold."""
    lines = []
    for name, row in numbers.items():
        shown = {method: text(of["mean"]) for method, of in row.items()}
        best = best_of(shown, highest=highest)
        cells = [Cell(shown[method], _range(of, text), method in best) for method, of in row.items()]
        lines.append(Line(name, cells))
    methods = [method_label(method) for method in next(iter(numbers.values()))]
    return Table("paper-figure", caption, corner, methods, [Group("", lines)])


def _range(of: OverSeeds, text: Callable[[float | None], str]) -> str:
    return "" if of["low"] is None else f"{text(of['low'])}–{text(of['high'])}"


def _ratio(value: float | None) -> str:
    return f"{value:.3f}"


def _in_words(table: Table) -> str:
    """The table for those who cannot see the figure."""
    return " ".join(
        f"{line.head}: "
        + ", ".join(f"{method} {cell.text}" for method, cell in zip(table.columns, line.cells, strict=True))
        + "."
        for line in table.groups[0].lines
    )
