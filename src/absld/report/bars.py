"""Robust accuracy class by class, methods side by side (the paper's Figure 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from absld.records.attacks import attack_label
from absld.report import panels
from absld.report.drawing import WIDTH, Picture, finish, footnote, head, house_style
from absld.report.over_seeds import OverSeeds
from absld.report.palette import INKS, Style, style_of
from absld.report.summary import MOST_SIDE_BY_SIDE, Summary
from absld.report.wording import attack_within, images, method_label, percent, short_name, whiskers_explained

GROUP = 0.82
"""Width of a class's bars together, of the 1 between two classes."""
LONG_NAMES = 60
"""Letters of all class names together from which they are written aslant."""
LONG_IN_A_PANEL = 16
"""The same where the panel is a third as wide; there they stand upright."""


def classes_picture(summary: Summary, attack: str) -> Picture:
    """The class accuracies of every method under one attack, on an axis from 0 to 100 %."""
    label = attack_label(attack, summary["attacks"][attack]["settings"])
    title = f"Accuracy by class: {label}"
    with house_style():
        figure, tips = (_apart if panels.apart(summary) else _together)(summary, attack, label)
        footnote(figure, _measured(summary, attack))
        svg = finish(figure, f"classes_{attack}", title, _description(summary, attack), tips)
    return Picture(f"classes_{attack}", title, _caption(summary, attack), svg)


def grouped_bars(
    axes: Axes, heads: Sequence[str], accuracies: Mapping[str, Sequence[OverSeeds]], prefix: str = "tip"
) -> dict[str, str]:
    """Draw a group of bars for each head, a bar for each method; return what each says where the pointer rests.

    `prefix` keeps the bars of several panels of one figure apart.
    """
    width = GROUP / len(accuracies)
    tips = {}
    for place, (method, row) in enumerate(accuracies.items()):
        for index, (name, of) in enumerate(zip(heads, row, strict=True)):
            x = index + (place - (len(accuracies) - 1) / 2) * width
            identity = f"{prefix}-{method}-{index}"
            tips[identity] = f"{name}, {method_label(method)}: {_range(of)}"
            _bar(axes, x, width, of, style_of(method), identity)
    axes.set_xlim(-0.5, len(heads) - 0.5)
    percent_axis(axes)
    return tips


def name_groups(axes: Axes, heads: Sequence[str], rotation: float) -> None:
    """Write the heads below their groups; `rotation` in degrees for long ones."""
    axes.set_xticks(range(len(heads)), [short_name(name) for name in heads])
    axes.tick_params(axis="x", length=0, labelrotation=rotation)
    if rotation:
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("center" if rotation == 90 else "right")
            text.set_rotation_mode("default" if rotation == 90 else "anchor")


def slant(heads: Sequence[str]) -> float:
    """How far names must be turned to stand side by side over the whole width."""
    return 35 if sum(map(len, heads)) > LONG_NAMES else 0


def percent_axis(axes: Axes) -> None:
    """Upright, from 0 to 100 %: bars start at zero."""
    axes.set_ylim(0, 100)
    axes.set_yticks(range(0, 101, 20))


def bars_legend(axes: Axes, methods: Sequence[str]) -> None:
    """Between the title and the panel, in the order of the methods."""
    _legend(axes, [Patch(label=method_label(method), **_fill(style_of(method))) for method in methods])


def _together(summary: Summary, attack: str, label: str) -> tuple[Figure, dict[str, str]]:
    """All methods in one panel."""
    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    axes = figure.subplots()
    head(axes, f"{label}: accuracy by class", "%", above=22)
    if _many(summary):
        lines = {method: _sorted_line(axes, summary, attack, method) for method in summary["methods"]}
        _sorted_axis(axes, summary)
        percent_axis(axes)
        _legend(axes, list(lines.values()))
        return figure, {}
    tips = grouped_bars(axes, summary["classes"], {name: _row(summary, attack, name) for name in summary["methods"]})
    name_groups(axes, summary["classes"], slant(summary["classes"]))
    bars_legend(axes, list(summary["methods"]))
    return figure, tips


def _apart(summary: Summary, attack: str, label: str) -> tuple[Figure, dict[str, str]]:
    """A panel for each method, the baseline marked in each."""
    figure, places = panels.grid(list(summary["methods"]), 1.35)
    figure.supylabel(f"{label}: accuracy by class, %", size=9, color=INKS["muted"].light)
    baseline, many = summary["baseline"], _many(summary)
    tips: dict[str, str] = {}
    for method, axes in places.items():
        if many:
            _sorted_line(axes, summary, attack, method)
            percent_axis(axes)
        else:
            tips |= grouped_bars(axes, summary["classes"], {method: _row(summary, attack, method)})
        if baseline is not None and method != baseline:
            (_baseline_line if many else _baseline_marks)(axes, summary, attack)
    axes = next(iter(places.values()))
    if many:
        axes.set_xlim(1, len(summary["classes"]))
        panels.along(places, "classes, sorted")
    for axes in [] if many else places.values():
        name_groups(axes, summary["classes"], 90 if sum(map(len, summary["classes"])) > LONG_IN_A_PANEL else 0)
    panels.legend(figure, panels.baseline_handle(summary))
    return figure, tips


def _many(summary: Summary) -> bool:
    return len(summary["classes"]) > MOST_SIDE_BY_SIDE


def _row(summary: Summary, attack: str, method: str) -> list[OverSeeds]:
    """A method's class accuracies, in the order of the classes."""
    return [summary["methods"][method][attack]["per_class"][name] for name in summary["classes"]]


def _legend(axes: Axes, handles: Sequence[Any]) -> None:
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=len(handles),
        handlelength=1.6 if isinstance(handles[0], Line2D) else 1,
        handleheight=1,
        columnspacing=1.4,
        borderpad=0,
        borderaxespad=0.5,
    )


def _bar(axes: Axes, x: float, width: float, of: OverSeeds, style: Style, identity: str) -> None:
    (bar,) = axes.bar(x, 100 * (of["mean"] or 0.0), width * 0.86, **_fill(style))
    bar.set_gid(identity)
    if of["low"] is not None and of["high"] is not None:
        ends = [100 * of["low"], 100 * of["high"]]
        axes.plot([x, x], ends, color=INKS["ink"].light, linewidth=0.8, solid_capstyle="butt", zorder=3)


def _baseline_marks(axes: Axes, summary: Summary, attack: str) -> None:
    """A mark across each bar where the baseline's ends, rimmed so that it shows on dark bars."""
    values = [100 * (of["mean"] or 0.0) for of in _row(summary, attack, str(summary["baseline"]))]
    places = range(len(values))
    starts, stops = ([x + side * GROUP / 2 for x in places] for side in (-1, 1))
    for colour, width in ((INKS["paper"].light, 3.0), (panels.BASELINE, 1.6)):
        axes.hlines(values, starts, stops, color=colour, linewidth=width)


def _fill(style: Style) -> dict[str, Any]:
    return {"facecolor": (style.colour, style.fill), "edgecolor": style.colour, "linewidth": 0.8}


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


def _baseline_line(axes: Axes, summary: Summary, attack: str) -> None:
    values = sorted(100 * (of["mean"] or 0.0) for of in _row(summary, attack, str(summary["baseline"])))
    axes.plot(range(1, len(values) + 1), values, color=panels.BASELINE, linewidth=1.0)


def _sorted_axis(axes: Axes, summary: Summary) -> None:
    axes.set_xlim(1, len(summary["classes"]))
    axes.set_xlabel("classes, each method's own order from its lowest to its highest")


def _range(of: OverSeeds) -> str:
    between = "" if of["low"] is None else f" ({percent(of['low'])}–{percent(of['high'])})"
    return f"{percent(of['mean'])} %{between}"


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
