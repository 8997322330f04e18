"""The figures of how accuracy falls as the attack grows: against its radius and against the number of its steps."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from absld.report import curves, panels
from absld.report.bars import percent_axis
from absld.report.drawing import WIDTH, Picture, finish, footnote, head, house_style
from absld.report.inputs import Run
from absld.report.palette import INKS, style_of
from absld.report.strength_table import TITLES, caption, measured_with, strength_text
from absld.report.summary import Summary
from absld.report.sweeps import MEASURED, Sweep
from absld.report.wording import method_label, percent

DOTS = (0, (1, 1.6))


class Strengths(NamedTuple):
    """The radius, or the number of steps, of the table and of each method's training."""

    evaluated: float | None
    """None where the table has no such attack."""
    trained: Mapping[str, float]
    """A method that trains on clean images alone has none."""

    @property
    def alike(self) -> bool:
        """Whether every method was trained with what it is evaluated with."""
        return set(self.trained.values()) == {self.evaluated}


def strength_pictures(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> list[Picture]:
    """A picture for each kind of curve that was measured."""
    return [_picture(summary, kind, strengths_of(summary, kind, by_method)) for kind in summary["curves"]]


def strengths_of(summary: Summary, kind: str, by_method: Mapping[str, Sequence[Run]]) -> Strengths:
    """With what the methods were evaluated and trained: their `eps` or their `steps`."""
    pgd = summary["attacks"].get("pgd", {"settings": {}})
    evaluated = summary["threat_model"]["eps"] if kind == "eps" else pgd["settings"].get("steps")
    attacks = {method: runs[0].state.get("settings", {}).get("attack") for method, runs in by_method.items()}
    return Strengths(evaluated, {method: attack[kind] for method, attack in attacks.items() if attack})


def _picture(summary: Summary, kind: str, strengths: Strengths) -> Picture:
    sweep = summary["curves"][kind]
    with house_style():
        figure = (_apart if panels.apart(summary) else _together)(summary, kind, strengths)
        footnote(figure, measured_with(summary, kind))
        svg = finish(figure, f"accuracy_by_{kind}", TITLES[kind], _in_words(sweep, kind), {})
    return Picture(f"accuracy_by_{kind}", TITLES[kind], caption(summary, kind), svg)


def _together(summary: Summary, kind: str, strengths: Strengths) -> Figure:
    """All methods in one panel."""
    sweep = summary["curves"][kind]
    figure = Figure(figsize=(WIDTH, curves.panel_height(2 * len(sweep["methods"]), least=3.6)), layout="constrained")
    axes = figure.subplots()
    head(axes, "Accuracy under PGD", "%")
    _axis(axes, sweep, kind)
    ends = [end for method in sweep["methods"] for end in _lines(axes, sweep, kind, method)]
    _mark(axes, sweep, kind, strengths, strengths.trained)
    axes.set_xlabel(_unit(sweep, kind))
    curves.label(axes, ends)
    panels.legend(figure, _handles(kind, strengths))
    return figure


def _apart(summary: Summary, kind: str, strengths: Strengths) -> Figure:
    """A panel for each method, the baseline drawn in each."""
    sweep, baseline = summary["curves"][kind], summary["baseline"]
    figure, places = panels.grid(list(sweep["methods"]), 1.35)
    for method, axes in places.items():
        _axis(axes, sweep, kind)
        if baseline is not None and method != baseline:
            _lines(axes, sweep, kind, baseline, panels.BASELINE)
        _lines(axes, sweep, kind, method)
        _mark(axes, sweep, kind, strengths, [method])
    panels.along(places, _unit(sweep, kind))
    figure.supylabel("accuracy under PGD, %", size=9, color=INKS["muted"].light)
    panels.legend(figure, [*_handles(kind, strengths), *panels.baseline_handle(summary)], columns=3)
    return figure


def _axis(axes: Axes, sweep: Sweep, kind: str) -> None:
    percent_axis(axes)
    if kind == "steps":
        axes.set_xscale("log")
        values = [point["value"] for point in sweep["points"]]
        axes.set_xticks(values, [f"{value}" for value in values])
        axes.xaxis.set_minor_locator(NullLocator())


def _lines(axes: Axes, sweep: Sweep, kind: str, method: str, colour: str = "") -> list[curves.End]:
    """Draw average and worst class of one method, or thin in a plain `colour`; return where their labels belong."""
    style, places = style_of(method), [_place(sweep, kind, point["value"]) for point in sweep["points"]]
    ends = []
    for measure, of_points in sweep["methods"][method].items():
        mean = [100 * (of["mean"] or 0.0) for of in of_points]
        if not colour and len(of_points[0]["values"]) > 1:
            low, high = ([100 * (of[end] or 0.0) for of in of_points] for end in ("low", "high"))
            axes.fill_between(places, low, high, color=style.colour, alpha=0.14, linewidth=0)
        axes.plot(
            places,
            mean,
            color=colour or style.colour,
            linestyle=curves.DASHES if measure == "worst" else "-",
            linewidth=1.0 if colour else 1.6,
            marker="" if colour else style.marker or ".",
            markersize=4,
        )
        text = f"{curves.signed_label(method)}, {MEASURED[measure]}"
        ends.append(curves.End(places[-1], mean[-1], text, style.colour))
    return ends


def _mark(axes: Axes, sweep: Sweep, kind: str, strengths: Strengths, methods: Iterable[str]) -> None:
    """An upright line at what the table was measured with, a dotted one where a method was trained with another."""
    trained = {strengths.trained[name] for name in methods if name in strengths.trained}
    for value in sorted(trained - {strengths.evaluated}):
        axes.axvline(_place(sweep, kind, value), color=INKS["muted"].light, linewidth=0.9, linestyle=DOTS, zorder=0.5)
    if strengths.evaluated is not None:
        axes.axvline(_place(sweep, kind, strengths.evaluated), color=INKS["muted"].light, linewidth=0.9, zorder=0.5)


def _handles(kind: str, strengths: Strengths) -> list[Line2D]:
    """What the lines are, and the marks."""
    ink, muted = INKS["ink"].light, INKS["muted"].light
    handles = [
        Line2D([], [], color=ink, label="average over the classes"),
        Line2D([], [], color=ink, linestyle=curves.DASHES, label="worst class"),
    ]
    if strengths.evaluated is not None:
        told = "trained and evaluated" if strengths.alike else "evaluated"
        label = f"{told} with {strength_text(kind, strengths.evaluated)}"
        handles.append(Line2D([], [], color=muted, linewidth=0.9, label=label))
    others = sorted(set(strengths.trained.values()) - {strengths.evaluated})
    if others:
        label = f"trained with {' or '.join(strength_text(kind, value) for value in others)}"
        handles.append(Line2D([], [], color=muted, linewidth=0.9, linestyle=DOTS, label=label))
    return handles


def _in_255ths(sweep: Sweep) -> bool:
    return all(point["text"].endswith("/255") for point in sweep["points"] if point["value"])


def _place(sweep: Sweep, kind: str, value: float) -> float:
    return value * 255 if kind == "eps" and _in_255ths(sweep) else value


def _unit(sweep: Sweep, kind: str) -> str:
    """Of the axis along the bottom."""
    if kind == "steps":
        return "steps of PGD, log scale"
    return "L∞ eps, 1/255 of the pixel range" if _in_255ths(sweep) else "L∞ eps, pixel range [0, 1]"


def _in_words(sweep: Sweep, kind: str) -> str:
    """Both ends of each line."""
    first, last = (strength_text(kind, sweep["points"][place]["value"]) for place in (0, -1))
    return " ".join(
        f"{method_label(method)}, {MEASURED[measure]}: {percent(of_points[0]['mean'])} % with {first}, "
        f"{percent(of_points[-1]['mean'])} % with {last}."
        for method, measures in sweep["methods"].items()
        for measure, of_points in measures.items()
    )
