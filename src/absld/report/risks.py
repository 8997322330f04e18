"""How far the risks of the classes lie apart while training (the paper's Figure 5)."""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from absld.report import curves, panels
from absld.report.drawing import WIDTH, Picture, head
from absld.report.inputs import Run
from absld.report.palette import INKS, Style, style_of
from absld.report.summary import Summary
from absld.report.training_captions import trained_on
from absld.report.wording import method_label

RISKS = {"risk_adv": "adversarial", "risk_clean": "clean"}
UNIT = "standard deviation / mean"
CAPTION = (
    "Population standard deviation over the classes of their mean cross-entropy in an epoch, divided by its mean: 0 is "
    "the same risk for every class. Solid: adversarial images; dashed: clean images."
)

Spreads = Mapping[str, curves.Curve]
"""A method's curves, by the name of the risk."""


def spread_by_epoch(classes: Sequence[curves.Series]) -> curves.Series:
    """Population standard deviation / mean over the classes, per epoch; 0 where all are 0."""
    spread = {}
    for epoch in classes[0]:
        risks = [of[epoch] for of in classes]
        mean = fmean(risks)
        spread[epoch] = pstdev(risks, mean) / mean if mean else 0.0
    return spread


def spreads(runs: Sequence[Run]) -> Spreads:
    """The spread of each risk that all runs of a method recorded: training on clean images alone has no adversarial."""
    found = {}
    for quantity in RISKS:
        seeds = [curves.series(run, quantity) for run in runs]
        if all(seeds):
            found[quantity] = curves.over_seeds([spread_by_epoch(list(seed.values())) for seed in seeds])
    return found


def risk_spread(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> Picture | None:
    """The spread of both risks of every method; None where no risk was recorded."""
    found = {method: of for method, runs in by_method.items() if (of := spreads(runs))}
    if not found:
        return None
    figure = (_apart if panels.apart(summary) else _together)(summary, found)
    said = [
        f"{method_label(method)}, {RISKS[quantity]}: from {curve.mean[0]:.2f} to {curve.mean[-1]:.2f}."
        for method, of in found.items()
        for quantity, curve in of.items()
    ]
    return curves.picture(
        figure,
        "risk_spread",
        "Spread of the class risks while training",
        CAPTION,
        trained_on({method: by_method[method] for method in found}),
        said,
        summary,
    )


def _together(summary: Summary, found: Mapping[str, Spreads]) -> Figure:
    """All methods in one panel."""
    del summary
    figure = Figure(figsize=(WIDTH, curves.panel_height(2 * len(found))), layout="constrained")
    axes = figure.subplots()
    ends = []
    for method, of in found.items():
        for end, quantity in zip(_lines(axes, of, style_of(method)), of, strict=True):
            ends.append(end._replace(text=f"{curves.signed_label(method)}, {RISKS[quantity]}"))
    head(axes, "Spread of the class risks", UNIT)
    axes.set_ylim(bottom=0)
    curves.epochs_axis(axes)
    curves.label(axes, ends)
    return figure


def _apart(summary: Summary, found: Mapping[str, Spreads]) -> Figure:
    """A panel for each method, the baseline drawn in each."""
    figure, places = panels.grid(list(found), 1.35)
    baseline = str(summary["baseline"])
    for method, axes in places.items():
        if baseline in found and method != baseline:
            _lines(axes, found[baseline], panels.BASELINE, thin=True)
        _lines(axes, found[method], style_of(method).colour)
    axes.set_ylim(bottom=0)
    panels.epochs(places)
    figure.supylabel(UNIT, size=9, color=INKS["muted"].light)
    panels.legend(
        figure,
        [
            Line2D([], [], color=INKS["ink"].light, label="adversarial images"),
            Line2D([], [], color=INKS["ink"].light, linestyle=curves.DASHES, label="clean images"),
            *panels.baseline_handle(summary),
        ],
    )
    return figure


def _lines(axes: Axes, of: Spreads, style: Style | str, *, thin: bool = False) -> list[curves.End]:
    return [
        curves.draw(axes, curve, style, thin=thin, dashed=quantity == "risk_clean") for quantity, curve in of.items()
    ]
