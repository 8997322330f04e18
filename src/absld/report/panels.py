"""Small multiples: where there are too many methods for one panel, each has a panel of its own beside the baseline."""

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from absld.report.drawing import WIDTH
from absld.report.palette import INKS, style_of
from absld.report.summary import MOST_TOGETHER, Summary
from absld.report.wording import method_label

COLUMNS = 3
BASELINE = INKS["muted"].light
"""Colour of the baseline in the panels of the others."""


def apart(summary: Summary) -> bool:
    """Whether each method needs a panel of its own."""
    return len(summary["methods"]) > MOST_TOGETHER


def grid(methods: Sequence[str], height: float, columns: int = COLUMNS) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each method, all on the same axes; `height` of one in inches."""
    rows = -(-len(methods) // columns)
    figure = Figure(figsize=(WIDTH, 0.8 + rows * height), layout="constrained")
    places = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for spare in places[len(methods) :]:
        spare.remove()
    panels = dict(zip(methods, places, strict=False))
    for place, (method, axes) in enumerate(panels.items()):
        axes.set_title(method_label(method), color=style_of(method).colour)
        axes.tick_params(axis="x", labelbottom=place + columns >= len(methods))
    return figure, panels


def along(places: Mapping[str, Axes], text: str) -> None:
    """What the axis along the bottom is, below the lowest panel of each column."""
    for axes in places.values():
        if axes.xaxis.get_tick_params()["labelbottom"]:
            axes.set_xlabel(text)


def epochs(places: Mapping[str, Axes]) -> None:
    """Whole epochs along the bottom of all panels."""
    for axes in places.values():
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    along(places, "epoch")


def baseline_handle(summary: Summary) -> list[Line2D]:
    """What the legend says of the baseline; nothing without one."""
    if summary["baseline"] is None:
        return []
    label = f"{method_label(summary['baseline'])}, in every panel"
    return [Line2D([], [], color=BASELINE, linewidth=1.4, label=label)]


def legend(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> None:
    """One for all panels, above them; nothing where there is nothing to say."""
    if not handles:
        return
    figure.legend(
        handles=handles, loc="outside upper left", ncols=min(columns, len(handles)), borderpad=0, columnspacing=1.6
    )
