"""Robust accuracy class by class, methods side by side (the paper's Figure 3)."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from absld.records.attacks import ATTACKS, attack_label
from absld.report.drawing import WIDTH, Picture, finish, head, house_style
from absld.report.palette import INKS, Style, style_of
from absld.report.summary import MOST_SIDE_BY_SIDE, OverSeeds, Summary
from absld.report.wording import images, method_label, percent, short_name, whiskers_explained

GROUP = 0.82
"""Width of a class's bars together, of the 1 between two classes."""
PER_ROW = 6
"""Methods in one row of the legend."""
LONG_NAMES = 60
"""Letters of all class names together from which they are written aslant."""


def classes_picture(summary: Summary, attack: str) -> Picture:
    """The class accuracies of every method under one attack, on an axis from 0 to 100 %."""
    many = len(summary["classes"]) > MOST_SIDE_BY_SIDE
    label = attack_label(attack, summary["attacks"][attack]["settings"])
    title = f"Accuracy by class: {label}"
    with house_style():
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.subplots()
        tips = (_sorted_lines if many else _bars)(axes, summary, attack)
        head(axes, f"{label}: accuracy by class", "%", above=8 + 14 * -(-len(summary["methods"]) // PER_ROW))
        axes.set_ylim(0, 100)
        axes.set_yticks(range(0, 101, 20))
        _legend(axes, summary, many)
        svg = finish(figure, f"classes_{attack}", title, _description(summary, attack), tips)
    return Picture(f"classes_{attack}", title, _caption(summary, attack, many), svg)


def _bars(axes: Axes, summary: Summary, attack: str) -> dict[str, str]:
    """Draw a group of bars per class; return what each bar says where the pointer rests."""
    classes, methods = summary["classes"], summary["methods"]
    width = GROUP / len(methods)
    tips = {}
    for place, (method, by_attack) in enumerate(methods.items()):
        style = style_of(method)
        for index, name in enumerate(classes):
            of = by_attack[attack]["per_class"][name]
            x = index + (place - (len(methods) - 1) / 2) * width
            identity = f"tip-{method}-{index}"
            tips[identity] = f"{name}, {method_label(method)}: {_range(of)}"
            _bar(axes, x, width, of, style, identity)
    slanted = sum(map(len, classes)) > LONG_NAMES
    axes.set_xticks(range(len(classes)), [short_name(name) for name in classes])
    axes.tick_params(axis="x", length=0, labelrotation=35 if slanted else 0)
    if slanted:
        for text in axes.get_xticklabels():
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
    axes.set_xlim(-0.5, len(classes) - 0.5)
    return tips


def _legend(axes: Axes, summary: Summary, lines: bool) -> None:
    """Between the title and the panel, in the order of the methods."""
    styles = {method_label(method): style_of(method) for method in summary["methods"]}
    bars = [Patch(label=label, **_fill(style)) for label, style in styles.items()]
    strokes = [
        Line2D([], [], label=label, color=of.colour, marker=of.marker, markersize=4) for label, of in styles.items()
    ]
    axes.legend(
        handles=strokes if lines else bars,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=PER_ROW,
        handlelength=1.6 if lines else 1,
        handleheight=1,
        columnspacing=1.4,
        borderpad=0,
        borderaxespad=0.5,
    )


def _bar(axes: Axes, x: float, width: float, of: OverSeeds, style: Style, identity: str) -> None:
    mean, low, high = (100 * value if value is not None else 0.0 for value in (of["mean"], of["low"], of["high"]))
    (bar,) = axes.bar(x, mean, width * 0.86, **_fill(style))
    bar.set_gid(identity)
    if of["low"] is not None:
        axes.plot([x, x], [low, high], color=INKS["ink"].light, linewidth=0.8, solid_capstyle="butt")


def _fill(style: Style) -> dict[str, Any]:
    return {"facecolor": (style.colour, style.fill), "edgecolor": style.colour, "linewidth": 0.8}


def _sorted_lines(axes: Axes, summary: Summary, attack: str) -> dict[str, str]:
    """Draw a line per method through its classes, each sorted by itself: the left end is what `worst10` averages."""
    count = len(summary["classes"])
    places = range(1, count + 1)
    for method, by_attack in summary["methods"].items():
        style = style_of(method)
        ordered = sorted(by_attack[attack]["per_class"].values(), key=lambda of: of["mean"] or 0.0)
        mean, low, high = ([100 * (of[part] or 0.0) for of in ordered] for part in ("mean", "low", "high"))
        axes.fill_between(places, low, high, color=style.colour, alpha=0.15, linewidth=0)
        axes.plot(places, mean, color=style.colour, marker=style.marker, markevery=8, markersize=4)
    axes.set_xlim(1, count)
    axes.set_xlabel("classes, each method's own order from its lowest to its highest")
    return {}


def _range(of: OverSeeds) -> str:
    return f"{percent(of['mean'])} % ({percent(of['low'])}–{percent(of['high'])})"


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


def _caption(summary: Summary, attack: str, many: bool) -> str:
    what = ATTACKS.get(attack, attack)
    shape = "Classes sorted from lowest to highest, each method by itself" if many else "Whiskers"
    return (
        f"Share of each class's test images that are still classified correctly under {what} "
        f"({images(summary['attacks'][attack]['n'])}, L∞ eps {summary['threat_model']['eps_text']}). "
        f"{shape}: {whiskers_explained(summary)}."
    )
