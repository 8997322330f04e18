"""The report's tables, still without markup: the Markdown file and the page write the same cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from absld.records.attacks import strongest
from absld.report.over_seeds import OverSeeds
from absld.report.summary import MOST_SIDE_BY_SIDE, MOST_TOGETHER, Accuracy, Summary, measured
from absld.report.wording import (
    DASH,
    MEASURES,
    attack_in,
    bias_explained,
    images,
    method_label,
    number,
    percent,
    points,
    spread,
    spread_explained,
)


@dataclass(frozen=True)
class Cell:
    """One entry."""

    text: str
    note: str = ""
    """Smaller, behind the text: a spread, an interval."""
    best: bool = False
    """Written bold."""
    words: bool = False
    """Set to the left, as words are; numbers are set to the right."""
    failed: bool = False
    """Something that must not be overlooked."""
    detail: str = ""
    """Shown on demand where that is possible, else left out."""


@dataclass(frozen=True)
class Line:
    """One row."""

    head: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Group:
    """Rows under a heading of their own; without a title just rows."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Table:
    """A table with its caption."""

    name: str
    caption: str
    corner: str
    """Over the rows' heads."""
    columns: Sequence[str]
    groups: Sequence[Group]


def results_table(summary: Summary) -> Table:
    """Average, worst, overall and nsd of every method under every attack, as in the paper's tables."""
    measures = shown_measures(summary)
    baseline = summary["baseline"]
    compared = baseline is not None and len(summary["methods"]) > 1
    columns = [MEASURES[measure] for measure in measures]
    if compared:
        columns.append(f"{MEASURES[summary['tail']]} against {method_label(str(baseline))}")
    groups = []
    for attack, of in summary["attacks"].items():
        rows = {name: by_attack[attack] for name, by_attack in summary["methods"].items()}
        best = {measure: best_methods(rows, measure) for measure in measures}
        lines = []
        for name, accuracy in rows.items():
            cells = [accuracy_cell(measure, measured(accuracy, measure), name in best[measure]) for measure in measures]
            if compared:
                cells.append(_difference(summary, name, attack))
            lines.append(Line(method_label(name) + (" (baseline)" if name == baseline else ""), cells))
        groups.append(Group(f"{attack_in(summary, attack)}, {images(of['n'])}", lines))
    tail, eps = MEASURES[summary["tail"]].lower(), summary["threat_model"]["eps_text"]
    caption = (
        f"Accuracy in percent on the test images of {summary['dataset']}, L∞ eps {eps}, best epoch; "
        f"{spread_explained(summary)}. Overall is (average + {tail}) / 2; "
        "NSD is the standard deviation over the classes divided by their mean: lower is fairer. "
    )
    bold = "Bold: the best of each column, attack by attack. " if len(summary["methods"]) > 1 else ""
    return Table("results", caption + bold + _bias(summary), "Method", columns, groups)


def _bias(summary: Summary) -> str:
    attack = strongest(summary["attacks"])
    of, biases = summary["attacks"][attack], {method_label(name): bias for name, bias in summary["bias"].items()}
    label = attack_in(summary, attack)
    return bias_explained(label, summary["tail"], len(summary["classes"]), of["n"], biases)


def class_table(summary: Summary, attack: str) -> Table:
    """Class by class under one attack, methods side by side, with the differences to the baseline.

    More classes than fit on a page are sorted, the hardest first, and stand below the rows for all classes. More
    methods than fit side by side stand below each other, without the differences.
    """
    classes, many = classes_in_order(summary, attack), len(summary["classes"]) > MOST_SIDE_BY_SIDE
    crowded = len(summary["methods"]) > MOST_TOGETHER
    if crowded and not many:
        return methods_table(summary, attack, classes)
    order = _baseline_first(summary)
    accuracies = {name: summary["methods"][name][attack] for name in order}
    gaps = {} if crowded else {name: of[attack] for name, of in summary["differences"].items()}
    single = [_across(name, _of_class(accuracies, name), _of_class(gaps, name)) for name in classes]
    whole = [
        _across(MEASURES[measure], _of_all(accuracies, measure), _of_all(gaps, measure))
        for measure in ("average", summary["tail"], "overall")
    ]
    return Table(
        f"classes-{attack}",
        _class_caption(summary, attack, beside=bool(gaps), many=many),
        "Class",
        [method_label(name) for name in order],
        [Group("", whole), Group("", single)] if many else [Group("", single), Group("", whole)],
    )


def methods_table(summary: Summary, attack: str, classes: Sequence[str]) -> Table:
    """The methods below each other under one attack, a column for each of `classes`, then those for all classes."""
    measures = ("average", summary["tail"], "overall")
    accuracies = {name: summary["methods"][name][attack] for name in _baseline_first(summary)}
    columns = [
        *(_of_class(accuracies, name) for name in classes),
        *(_of_all(accuracies, measure) for measure in measures),
    ]
    shown = [{method: percent(of["mean"]) for method, of in column.items()} for column in columns]
    best = [best_of(column, highest=True) for column in shown]
    lines = [
        Line(method_label(name), [Cell(of[name], best=name in top) for of, top in zip(shown, best, strict=True)])
        for name in accuracies
    ]
    caption = _class_caption(summary, attack, beside=False, many=False, line="column")
    heads = [*classes, *(MEASURES[measure] for measure in measures)]
    return Table(f"classes-{attack}", caption, "Method", heads, [Group("", lines)])


def _baseline_first(summary: Summary) -> list[str]:
    return sorted(summary["methods"], key=lambda name: name != summary["baseline"])


def _of_class(accuracies: Mapping[str, Accuracy], name: str) -> dict[str, OverSeeds]:
    return {method: accuracy["per_class"][name] for method, accuracy in accuracies.items()}


def _of_all(accuracies: Mapping[str, Accuracy], measure: str) -> dict[str, OverSeeds]:
    return {method: measured(accuracy, measure) for method, accuracy in accuracies.items()}


def _across(head: str, accuracies: Mapping[str, OverSeeds], gaps: Mapping[str, OverSeeds]) -> Line:
    """One row: every method's accuracy, beside it the difference to the baseline."""
    shown = {method: percent(of["mean"]) for method, of in accuracies.items()}
    beside = {method: points(of["mean"]) for method, of in gaps.items()}
    best = best_of(shown, highest=True)
    return Line(head, [Cell(text, beside.get(method, ""), method in best) for method, text in shown.items()])


def classes_in_order(summary: Summary, attack: str) -> list[str]:
    """The classes as the data set has them; very many from the hardest to the easiest, over all methods."""
    classes = summary["classes"]
    if len(classes) <= MOST_SIDE_BY_SIDE:
        return classes
    accuracies = [of[attack]["per_class"] for of in summary["methods"].values()]
    return sorted(classes, key=lambda name: sum(of[name]["mean"] or 0.0 for of in accuracies))


def _class_caption(summary: Summary, attack: str, *, beside: bool, many: bool, line: str = "row") -> str:
    of, seeds = summary["attacks"][attack], summary["seeds"]
    over = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    caption = (
        f"{attack_in(summary, attack)}, L∞ eps {summary['threat_model']['eps_text']}, {images(of['n'])}: "
        f"accuracy by class in percent, {over}."
    )
    if beside:
        caption += f" Beside it the difference to {method_label(str(summary['baseline']))}, in percentage points."
    if len(summary["methods"]) > 1:
        caption += f" Bold: the best method of each {line}."
    return f"{caption} The hardest classes come first." if many else caption


def shown_measures(summary: Summary) -> list[str]:
    """The measures that tables have room for: `worst10` instead of `worst` where there are many classes."""
    return ["average", summary["tail"], "overall", "nsd"]


def best_methods(rows: Mapping[str, Accuracy], measure: str) -> set[str]:
    """The methods that are best as printed: what looks the same is equally bold."""
    shown = {name: number(measure, measured(accuracy, measure)["mean"]) for name, accuracy in rows.items()}
    return best_of(shown, highest=measure != "nsd")


def best_of(shown: Mapping[str, str], *, highest: bool) -> set[str]:
    """The keys of the highest (lowest) printed numbers; none where there is nothing to compare."""
    numbers = {name: float(text) for name, text in shown.items() if text != DASH}
    if len(numbers) < 2:
        return set()
    top = (max if highest else min)(numbers.values())
    return {name for name, value in numbers.items() if value == top}


def accuracy_cell(measure: str, of: OverSeeds, best: bool) -> Cell:
    """A number over the seeds, its spread beside it."""
    return Cell(number(measure, of["mean"]), spread(measure, of), best)


def _difference(summary: Summary, method: str, attack: str) -> Cell:
    if method == summary["baseline"]:
        return Cell(DASH)
    of = measured(summary["differences"][method][attack], summary["tail"])
    return Cell(points(of["mean"]), spread(summary["tail"], of))
