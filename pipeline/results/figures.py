"""The figures of docs/results.md: classes, temperatures, ablation, spread of the risks; on light and on dark paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from absld.records.attacks import attack_label
from absld.report import bars
from absld.report.drawing import WIDTH, finish, footnote, head, house_style
from absld.report.inputs import Run
from absld.report.markdown import table_text
from absld.report.over_seeds import OverSeeds, over_seeds
from absld.report.palette import INKS
from absld.report.paper_captions import measured_caption
from absld.report.paper_figures import METHODS, redraw
from absld.report.state import class_states
from absld.report.summary import summarise
from absld.report.wording import method_label, percent
from pipeline.results.contrasts import BY_CLASS
from pipeline.results.reading import Results, with_attacks

if TYPE_CHECKING:
    from absld.report.drawing import Picture

CLASSES_UNDER = ("pgd", "aa")
COMPARED = ("rslad", "absld")
BESIDE = ("absld_product", "fair_rslad")
"""Drawn with them where it has all the seeds that they share."""
STATE_OF = ("absld", 0)
"""The run whose temperatures are drawn."""
REDRAWN = {
    4: ("ablation", "Figure 4 of the paper: what each set of temperatures adds"),
    5: ("risk_spread", "Figure 5 of the paper: spread of the class risks while training"),
}


@dataclass(frozen=True)
class Drawn:
    """A figure and what stands below it."""

    name: str
    """Its file is <name>.svg."""
    title: str
    caption: str
    svg: str
    numbers: str = ""
    """A table of what is drawn, where no other table has it."""


def draw_all(results: Results) -> list[Drawn]:
    """The figures that the runs have data for."""
    drawn = [*_classes(results), *_temperatures(results), *_redrawn(results)]
    return [Drawn(of.name, of.title, of.caption, on_any_paper(of.svg), of.numbers) for of in drawn]


def on_any_paper(svg: str) -> str:
    """The same figure with its colours on dark paper, for browsers that are set to it; others see the light ones."""
    rules = "".join(
        f'[style*="{what}: {ink.light}"]{{{what}:{ink.dark} !important}}'
        for ink in INKS.values()
        for what in ("fill", "stroke")
    )
    before, end, after = svg.partition("</desc>")
    return f"{before}{end}<style>@media (prefers-color-scheme: dark){{{rules}}}</style>{after}"


def _classes(results: Results) -> Iterator[Drawn]:
    """Accuracy class by class of both compared methods, over the seeds that they share."""
    for attack in CLASSES_UNDER:
        seeds = results.shared_seeds(COMPARED, attack)
        more = [method for method in BESIDE if results.shared_seeds((*COMPARED, method), attack) == seeds]
        by_method = _runs(results, [*COMPARED, *more], [attack])
        if not by_method:
            continue
        label = attack_label(attack, results.attacks[attack]["settings"])
        title = f"{results.name}: accuracy by class under {label}"
        caption = measured_caption(by_method, [attack])
        classes = results.first["classes"]
        rows = {method: _class_accuracies(runs, attack, classes) for method, runs in by_method.items()}
        with house_style():
            figure = Figure(figsize=(WIDTH, 3.5), layout="constrained")
            axes = figure.subplots()
            head(axes, title, "%", above=22)
            tips = bars.grouped_bars(axes, classes, rows)
            bars.name_groups(axes, classes, bars.slant(classes))
            bars.legend(axes, list(rows))
            footnote(figure, caption)
            svg = finish(figure, f"{results.name}_classes_{attack}", title, _in_words(rows, classes), tips)
        yield Drawn(f"classes_{attack}", title, caption, svg)


def _temperatures(results: Results) -> Iterator[Drawn]:
    method, seed = STATE_OF
    runs = [kept.run for kept in results.by_method.get(method, []) if kept.run.key.seed == seed]
    if not runs:
        return
    with house_style():
        pictures: list[Picture] = class_states(summarise(runs, None, results.teacher), {method: runs})
    for picture in pictures:
        title = f"{results.name}: temperatures of {method_label(method)}, class by class, seed {seed}"
        yield Drawn("temperatures", title, picture.caption, picture.svg)


def _redrawn(results: Results) -> Iterator[Drawn]:
    """The paper's figures, where every method of one has a run with the same seed."""
    for number, (name, title) in REDRAWN.items():
        methods = METHODS[number]
        shared = [attack for attack in results.attacks if results.shared_seeds(methods, attack)]
        seeds = results.shared_seeds(methods, BY_CLASS) if BY_CLASS in shared else []
        met = [attack for attack in shared if results.shared_seeds(methods, attack) == seeds]
        by_method = _runs(results, methods, met) if seeds else {}
        if by_method:
            redrawn = redraw(number, [run for runs in by_method.values() for run in runs], "svg")
            numbers = table_text(replace(redrawn.table, caption="")).rstrip()
            yield Drawn(name, f"{results.name}, {title}", redrawn.table.caption, redrawn.content.decode(), numbers)


def _runs(results: Results, methods: Sequence[str], attacks: Sequence[str]) -> dict[str, list[Run]]:
    """The runs of these methods with the seeds with which all of them met all of these attacks; empty without such."""
    seeds = set.intersection(*(set(results.shared_seeds(methods, attack)) for attack in attacks))
    return {
        method: [with_attacks(results.of_seed(method, attacks[0])[seed].run, attacks) for seed in sorted(seeds)]
        for method in methods
        if seeds
    }


def _class_accuracies(runs: Sequence[Run], attack: str, classes: Sequence[str]) -> list[OverSeeds]:
    blocks = [run.evaluation["attacks"][attack] for run in runs]
    return [
        over_seeds(
            [block["accuracy"]["per_class"][name] for block in blocks], blocks[0]["interval95"]["per_class"][name]
        )
        for name in classes
    ]


def _in_words(rows: dict[str, list[OverSeeds]], classes: Sequence[str]) -> str:
    """For those who do not see it: each method's lowest and highest class."""
    told = []
    for method, row in rows.items():
        ends = sorted((of["mean"] or 0.0, name) for of, name in zip(row, classes, strict=True))
        (low, hard), (high, easy) = ends[0], ends[-1]
        told.append(f"{method_label(method)}: from {percent(low)} % ({hard}) to {percent(high)} % ({easy}).")
    return " ".join(told)
