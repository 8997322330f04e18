"""Accuracy class by class, methods side by side (the paper's Figure 3): bars, or sorted lines of very many classes."""

from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from absld.report import bars, panels
from absld.report.drawing import WIDTH, Picture, finish, footnote, head, house_style
from absld.report.over_seeds import OverSeeds
from absld.report.palette import INKS, style_of
from absld.report.summary import MOST_SIDE_BY_SIDE, Summary
from absld.report.wording import attack_in, attack_within, images, method_label, percent, whiskers_explained

LONG_IN_A_PANEL = 16
"""Letters of all class names together from which they stand upright where the panel is a third as wide."""

Drawn = tuple[Figure, dict[str, str]]
"""A figure, and what its bars say where the pointer rests."""


def classes_picture(summary: Summary, attack: str) -> Picture:
    """The class accuracies of every method under one attack, on an axis from 0 to 100 %."""
    label = attack_in(summary, attack)
    title = f"Accuracy by class: {label}"
    with house_style():
        figure, tips = _layout(summary)(summary, attack, label)
        footnote(figure, _measured(summary, attack))
        svg = finish(figure, f"classes_{attack}", title, _description(summary, attack), tips)
    return Picture(f"classes_{attack}", title, _caption(summary, attack), svg)


def _layout(summary: Summary) -> Callable[[Summary, str, str], Drawn]:
    """All methods in one panel or each in its own, of few classes or of very many."""
    if _many(summary):
        return _lines_apart if panels.apart(summary) else _lines_together
    return _bars_apart if panels.apart(summary) else _bars_together


def _bars_together(summary: Summary, attack: str, label: str) -> Drawn:
    figure, axes = _one_panel(label)
    classes, methods = summary["classes"], list(summary["methods"])
    tips = bars.grouped_bars(axes, classes, {method: _row(summary, attack, method) for method in methods})
    bars.name_groups(axes, classes, bars.slant(classes))
    bars.legend(axes, methods)
    return figure, tips


def _lines_together(summary: Summary, attack: str, label: str) -> Drawn:
    figure, axes = _one_panel(label)
    lines = [_sorted_line(axes, summary, attack, method) for method in summary["methods"]]
    axes.set_xlim(1, len(summary["classes"]))
    axes.set_xlabel("classes, each method's own order from its lowest to its highest")
    bars.percent_axis(axes)
    bars.legend_above(axes, lines)
    return figure, {}


def _bars_apart(summary: Summary, attack: str, label: str) -> Drawn:
    """The baseline is a mark across each bar of the others."""
    figure, places = _panels(summary, label)
    classes = summary["classes"]
    rotation = 90 if sum(map(len, classes)) > LONG_IN_A_PANEL else 0
    tips: dict[str, str] = {}
    for method, axes in places.items():
        tips |= bars.grouped_bars(axes, classes, {method: _row(summary, attack, method)})
        bars.name_groups(axes, classes, rotation)
        if summary["baseline"] not in (None, method):
            _baseline_marks(axes, summary, attack)
    return figure, tips


def _lines_apart(summary: Summary, attack: str, label: str) -> Drawn:
    """The baseline is a second line in the panels of the others."""
    figure, places = _panels(summary, label)
    for method, axes in places.items():
        _sorted_line(axes, summary, attack, method)
        axes.set_xlim(1, len(summary["classes"]))
        bars.percent_axis(axes)
        if summary["baseline"] not in (None, method):
            _baseline_line(axes, summary, attack)
    panels.along(places, "classes, sorted")
    return figure, {}


def _one_panel(label: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    head(axes, f"{label}: accuracy by class", "%", above=22)
    return figure, axes


def _panels(summary: Summary, label: str) -> tuple[Figure, dict[str, Axes]]:
    figure, places = panels.grid(list(summary["methods"]), 1.35)
    figure.supylabel(f"{label}: accuracy by class, %", size=9, color=INKS["muted"].light)
    panels.legend(figure, panels.baseline_handle(summary))
    return figure, places


def _many(summary: Summary) -> bool:
    return len(summary["classes"]) > MOST_SIDE_BY_SIDE


def _row(summary: Summary, attack: str, method: str) -> list[OverSeeds]:
    """A method's class accuracies, in the order of the classes."""
    return [summary["methods"][method][attack]["per_class"][name] for name in summary["classes"]]


def _sorted_line(axes: Axes, summary: Summary, attack: str, method: str) -> Line2D:
    """Draw a line through the classes, sorted for this method: the left end is what `worst10` averages."""
    style, places = style_of(method), range(1, len(summary["classes"]) + 1)
    ordered = sorted(_row(summary, attack, method), key=lambda of: of["mean"] or 0.0)
    mean, low, high = ([100 * (of[part] or 0.0) for of in ordered] for part in ("mean", "low", "high"))
    axes.fill_between(places, low, high, color=style.colour, alpha=0.15, linewidth=0)
    marker = "" if panels.apart(summary) else style.marker
    (line,) = axes.plot(places, mean, color=style.colour, marker=marker, markevery=8, markersize=4)
    line.set_label(method_label(method))
    return line


def _baseline_marks(axes: Axes, summary: Summary, attack: str) -> None:
    """A mark across each bar where the baseline's ends, rimmed so that it shows on dark bars."""
    values = [100 * (of["mean"] or 0.0) for of in _row(summary, attack, str(summary["baseline"]))]
    places = range(len(values))
    starts, stops = ([x + side * bars.GROUP / 2 for x in places] for side in (-1, 1))
    for colour, width in ((INKS["paper"].light, 3.0), (panels.BASELINE, 1.6)):
        axes.hlines(values, starts, stops, color=colour, linewidth=width)


def _baseline_line(axes: Axes, summary: Summary, attack: str) -> None:
    values = sorted(100 * (of["mean"] or 0.0) for of in _row(summary, attack, str(summary["baseline"])))
    axes.plot(range(1, len(values) + 1), values, color=panels.BASELINE, linewidth=1.0)


def _description(summary: Summary, attack: str) -> str:
    """What the picture shows, in words: each method's lowest and highest class."""
    sentences = []
    for method, by_attack in summary["methods"].items():
        classes = by_attack[attack]["per_class"]
        ordered = sorted(classes, key=lambda name: classes[name]["mean"] or 0.0)
        low, high = ordered[0], ordered[-1]
        sentences.append(
            f"{method_label(method)}: from {percent(classes[low]['mean'])} % ({low}) "
            f"to {percent(classes[high]['mean'])} % ({high})."
        )
    return " ".join(sentences)


def _measured(summary: Summary, attack: str) -> str:
    """The attack in full, its images, what the bars or lines are."""
    order = "Classes sorted from lowest to highest, each method by itself. " if _many(summary) else ""
    n = images(summary["attacks"][attack]["n"])
    return f"{order}{attack_within(summary, attack)}; {n} test images; {whiskers_explained(summary)}."


def _caption(summary: Summary, attack: str) -> str:
    return f"Share of each class's test images that are still classified correctly. {_measured(summary, attack)}"
