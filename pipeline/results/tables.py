"""The tables of docs/results.md: all methods in the paper's form, the paper's own numbers, what differs between two."""

from collections.abc import Callable, Sequence
from statistics import fmean
from string import ascii_lowercase
from typing import NamedTuple

from absld.records.attacks import ATTACKS, attack_label
from absld.report.inputs import settings_of
from absld.report.over_seeds import over_seeds
from absld.report.tables import Cell, Group, Line, Table
from absld.report.wording import (
    DASH,
    MEASURES,
    attack_in_full,
    images,
    method_label,
    number,
    percent,
    points,
    ratio,
    spread,
)
from absld.statistics.bootstrap import Interval
from absld.statistics.metrics import shown_measures, tail_of
from absld.statistics.paired import LEVEL
from absld.statistics.paired_seeds import Difference
from pipeline.paper import tables as paper
from pipeline.results.contrasts import ASKED, BY_CLASS, AfterLast, Compared
from pipeline.results.reading import Kept, Results
from pipeline.significance import starred

SHOWN = ("clean", "fgsm", "pgd", "cw", "aa")
"""The attacks of the paper's tables, in its order."""
SHORT = {"average": "avg.", "worst": "worst", "worst10": "worst tenth", "overall": "overall", "nsd": "NSD"}
INTERVALS = ("95 % over images", "95 % over seeds")
"""Of a difference."""
DECIMALS = 2
"""Of differences, and as the paper has them."""


def methods_table(results: Results) -> Table:
    """A row for each method, three columns for each attack, as in the paper."""
    measures = ("average", tail_of(results.first["classes"]), "nsd")
    columns = [f"{short_label(results, attack)} {SHORT[measure]}" for attack in SHOWN for measure in measures]
    lines = []
    for method, kept in results.by_method.items():
        cells = [_over_seeds(kept, attack, measure) for attack in SHOWN for measure in measures]
        lines.append(Line(method_label(method), [Cell(str(len(kept))), *cells]))
    return Table("methods", _measured(results), "Method", ["Seeds", *columns], [Group("", lines)])


def short_label(results: Results, attack: str) -> str:
    """PGD-20, for the head of a column."""
    if attack == "clean":
        return "Clean"
    return attack_label(attack, results.attacks[attack]["settings"]) if attack in results.attacks else ATTACKS[attack]


def _over_seeds(kept: Sequence[Kept], attack: str, measure: str) -> Cell:
    """Mean ± standard deviation; with how many seeds, where fewer met the attack."""
    met = [each.evaluation["attacks"][attack] for each in kept if attack in each.evaluation["attacks"]]
    of = over_seeds([block["accuracy"][measure] for block in met], None)
    some = f"{len(met)} seed{'s' if len(met) > 1 else ''}" if 0 < len(met) < len(kept) else ""
    return Cell(number(measure, of["mean"]), ", ".join(filter(None, (spread(measure, of), some))))


def _measured(results: Results) -> str:
    """The caption: images, attacks, seeds, how the epoch was chosen."""
    blocks = {attack: results.attacks[attack] for attack in SHOWN if attack in results.attacks}
    told = [f"{attack_in_full(attack, settings_of(of))}, {images(of['n'])}" for attack, of in blocks.items()]
    missing = [ATTACKS[attack] for attack in SHOWN if attack not in blocks]
    splits = sorted({kept.run.state["select_on"] for kept in results.kept})
    last = [method_label(method) for method, kept in results.by_method.items() if _is_last(kept[0])]
    of_last = f", of {' and '.join(last)} it is the last" if last else ""
    several = any(len(kept) > 1 for kept in results.by_method.values())
    return " ".join(
        [
            f"{results.first['dataset']}, student {results.student}: accuracy in percent on the test images, L∞ eps "
            f"{results.first['threat_model']['eps_text']}. The epoch was chosen on the {' or '.join(splits)} images"
            f"{of_last}.",
            f"{'; '.join(told)}.",
            "Mean over the seeds, ± their sample standard deviation where there are several."
            if several
            else "One seed.",
            "NSD is the standard deviation over the classes divided by their mean: lower is fairer.",
            f"{DASH}: not measured" + (f" ({', '.join(missing)}: for no method)." if missing else "."),
        ]
    )


def _is_last(kept: Kept) -> bool:
    return bool(kept.run.state["settings"].get("keep") == "last")


class FromPaper(NamedTuple):
    """What the paper has."""

    number: int
    table: Table


def paper_table(results: Results) -> FromPaper | None:
    """The paper's numbers of the methods above; None: it has no table about this data set."""
    known = paper.read_paper()
    dataset = results.first["dataset"]
    table = known.table_of(dataset, results.student) or next((of for of in known.tables if of.dataset == dataset), None)
    if table is None:
        return None
    marks: dict[paper.Finding, str] = {}
    lines = []
    for method in filter(results.by_method.__contains__, table.rows):
        places = [paper.Place(table.number, method, attack, measure) for attack in SHOWN for measure in paper.MEASURES]
        cells = []
        for place in places:
            finding = known.finding_at(place)
            mark = marks.setdefault(finding, ascii_lowercase[len(marks)]) if finding else ""
            cells.append(Cell(f"{table.rows[method][place.attack][place.measure]:.{DECIMALS}f}", mark))
        lines.append(Line(method_label(method), cells))
    if not lines:
        return None
    columns = [f"{_paper_label(attack)} {SHORT[measure]}" for attack in SHOWN for measure in paper.MEASURES]
    wrong = [f"({mark}) {finding.says}" for finding, mark in marks.items()]
    unlike = "" if table.architecture == results.student else f" Ours is {results.student}, not {table.architecture}."
    caption = (
        f"The paper's Table {table.number} ({known.source.partition(',')[0]}), as printed: {table.subject}. It "
        f"has no NSD and does not say over how many seeds.{unlike} Compare within a table, not across the two."
    )
    shown = Table("paper", " ".join([caption, *wrong]), "Method", columns, [Group("", lines)])
    return FromPaper(table.number, shown)


def _paper_label(attack: str) -> str:
    return "Clean" if attack == "clean" else ATTACKS[attack]


def measures_table(of: Compared) -> Table:
    """Average, worst class, overall and NSD under each attack: what differs, by seed and on average."""
    groups = []
    for under in of.under.values():
        measures = under.found.measures
        lines = [
            Line(MEASURES[name], difference_cells(measures[name], by_seed=True, told=_told(name)))
            for name in shown_measures(of.names)
            if name in measures
        ]
        groups.append(Group(f"{under.label}, {images(under.n)}, {seeds_text(under.seeds)}", lines))
    if of.after_last is not None:
        groups.append(_after_last(of, of.after_last))
    columns = ["By seed", "Mean", *INTERVALS]
    return Table("measures", _explained(of), "Of", columns, groups)


def _after_last(of: Compared, after: AfterLast) -> Group:
    """The same after the last epoch, whichever was chosen."""
    lines = []
    for measure in filter(after.by_seed.__contains__, shown_measures(of.names)):
        text, by_seed = _told(measure), after.by_seed[measure]
        interval = interval_text(after.over_seeds(measure), text)
        cells = [", ".join(map(text, by_seed)), text(fmean(by_seed)), DASH, interval]
        lines.append(Line(MEASURES[measure], list(map(Cell, cells))))
    return Group(f"{of.under[BY_CLASS].label} after the last epoch, {images(after.n)}", lines)


def classes_table(of: Compared, attack: str = BY_CLASS, *, by_seed: bool = True) -> Table:
    """Class by class; `by_seed`: also what each seed says by itself."""
    under = of.under[attack]
    lines = []
    for label, name in enumerate(of.names):
        shares = [Cell(percent(side[label])) for side in under.classes]
        gap = under.found.classes[label]
        tests = [Cell(_points(by), starred(p[label])) for by, p in zip(gap.by_seed, under.found.p, strict=True)]
        lines.append(Line(name, [*shares, *difference_cells(gap, by_seed=False), *(tests if by_seed else [])]))
    columns = [
        *(method_label(method) for method in (of.first, of.second)),
        "Difference",
        *INTERVALS,
        *(f"Seed {seed} (p)" for seed in under.seeds if by_seed),
    ]
    over = f"mean of {seeds_text(under.seeds)}" if len(under.seeds) > 1 else seeds_text(under.seeds)
    caption = f"{under.label} class by class, {images(under.n)}, {over}: accuracy in percent, difference in points."
    if by_seed:
        caption += (
            f" p: McNemar's exact test, with Holm's correction over the classes of a seed; * below {LEVEL}: these two "
            "students differ, which says nothing of the methods where the seeds' signs differ."
        )
    return Table("classes", caption, "Class", columns, [Group("", lines)])


def interval_text(interval: Interval | None, told: Callable[[float], str] | None = None) -> str:
    """−0.40 to +1.20, in points, or as `told` says it."""
    return DASH if interval is None else " to ".join(map(told or _points, interval))


def difference_cells(of: Difference, *, by_seed: bool, told: Callable[[float], str] | None = None) -> list[Cell]:
    """By seed if that is wanted; the mean; the two intervals."""
    told = told or _points
    seeds = [Cell(", ".join(map(told, of.by_seed)))] if by_seed else []
    intervals = (interval_text(interval, told) for interval in (of.over_images, of.over_seeds))
    return [*seeds, Cell(told(of.mean)), *map(Cell, intervals)]


def _points(difference: float) -> str:
    return points(difference, DECIMALS)


def _told(measure: str) -> Callable[[float], str]:
    return ratio if measure == "nsd" else _points


def _explained(of: Compared) -> str:
    """What the intervals are, which epochs were chosen, and how far the worst class is to be trusted."""
    first, second = method_label(of.first), method_label(of.second)
    by_method = zip((first, second), of.epochs, strict=True) if of.epochs else ()
    epochs = "; ".join(f"{name} {', '.join(map(str, chosen))}" for name, chosen in by_method)
    asked = [attack for attack in of.under if attack in ASKED] or of.under
    biases = [
        f"{under.where} by {percent(abs(under.bias[0]))} ({first}) and {percent(abs(under.bias[1]))} ({second}) points"
        for under in (of.under[attack] for attack in asked)
    ]
    return (
        f"{second} minus {first}, in percentage points (NSD: a ratio, lower is fairer), on the same test images and "
        "with the same seeds. Over images: a paired bootstrap of the mean over the seeds. Over seeds: Student's t on "
        f"the differences of the seeds. {f'Epochs chosen: {epochs}. ' if epochs else ''}The lowest of {len(of.names)} "
        f"measured accuracies is too low on average, probably {', '.join(biases)}; Overall by half of that."
    )


def seeds_text(seeds: Sequence[int]) -> str:
    """As in: seeds 0, 1, 2."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
