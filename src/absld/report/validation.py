"""Validation accuracy while training, and the epochs that it chose."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from absld.report import curves, panels
from absld.report.bars import percent_axis
from absld.report.drawing import WIDTH, Picture, head
from absld.report.inputs import Run
from absld.report.palette import INKS, style_of
from absld.report.summary import Summary
from absld.report.training_captions import validated_on
from absld.report.wording import method_label

VALIDATION = {
    "validation/pgd_average": "PGD, average",
    "validation/pgd_worst": "PGD, worst class",
    "validation/clean_average": "Clean, average",
    "validation/clean_worst": "Clean, worst class",
}
CAPTION = (
    "Accuracy after every epoch on the images that choose the best epoch, with and without the validation's PGD. "
    "Dots: each seed's best epoch (average + worst class under PGD), the one that is exported."
)


def validation(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> Picture:
    """Clean and PGD accuracy after every epoch, average and worst class, with the epochs that were chosen."""
    figure = (_apart if panels.apart(summary) else _together)(by_method)
    said = [
        f"{title}, {method_label(method)}: {_curve(runs, quantity).mean[-1]:.1f} % at the end."
        for quantity, title in VALIDATION.items()
        for method, runs in by_method.items()
    ]
    return curves.picture(
        figure, "validation", "Validation accuracy while training", CAPTION, validated_on(by_method), said, summary
    )


def _together(by_method: Mapping[str, Sequence[Run]]) -> Figure:
    """A panel for each quantity."""
    figure = Figure(figsize=(WIDTH, 1.6 * curves.panel_height(len(by_method))), layout="constrained")
    for axes, (quantity, title) in zip(figure.subplots(2, 2).flat, VALIDATION.items(), strict=True):
        ends = []
        for method, runs in by_method.items():
            end = curves.draw(axes, _curve(runs, quantity), style_of(method))
            ends.append(end._replace(text=curves.signed_label(method)))
            _best_epochs(axes, runs, quantity)
        head(axes, title, "%")
        axes.set_ylim(0, 100)
        curves.epochs_axis(axes)
        curves.label(axes, ends)
    return figure


def _apart(by_method: Mapping[str, Sequence[Run]]) -> Figure:
    """A panel for each method."""
    figure, places = panels.grid(list(by_method), 1.5)
    for method, axes in places.items():
        for quantity in VALIDATION:
            look = {"thin": "worst" in quantity, "dashed": "clean" in quantity}
            curves.draw(axes, _curve(by_method[method], quantity), style_of(method).colour, **look)
            _best_epochs(axes, by_method[method], quantity)
        percent_axis(axes)
    panels.epochs(places)
    figure.supylabel("accuracy, %", size=9, color=INKS["muted"].light)
    looks = {"linestyle": ("-", "-", curves.DASHES, curves.DASHES), "linewidth": (1.6, 1.0, 1.6, 1.0)}
    panels.legend(
        figure,
        [
            Line2D([], [], color=INKS["ink"].light, label=title, linestyle=style, linewidth=width)
            for title, style, width in zip(VALIDATION.values(), *looks.values(), strict=True)
        ],
    )
    return figure


def _curve(runs: Sequence[Run], quantity: str) -> curves.Curve:
    return curves.over_seeds([_percent(run, quantity) for run in runs])


def _best_epochs(axes: Axes, runs: Sequence[Run], quantity: str) -> None:
    """A dot on each seed's best epoch."""
    for run in runs:
        best = run.state["best_epoch"]
        colour = style_of(run.key.method).colour
        axes.plot(best, _percent(run, quantity)[best], "o", color=colour, markersize=4.5, markeredgecolor="white")


def _percent(run: Run, quantity: str) -> curves.Series:
    return {epoch: 100 * value for epoch, value in curves.series(run, quantity)[""].items()}
