"""What a method keeps for each class, epoch by epoch: its temperatures, weights, multipliers, margins.

The names come from the run itself (state.json), so a new method's state is drawn without a word here.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from absld.records.attacks import strongest
from absld.report import curves
from absld.report.drawing import WIDTH, Picture
from absld.report.inputs import Run
from absld.report.palette import INKS, class_colours, style_of
from absld.report.summary import MOST_SIDE_BY_SIDE, Summary
from absld.report.training_captions import trained_on
from absld.report.wording import STATE_KINDS, STATE_NEUTRAL, method_label, short_name, state_label

COLUMNS = 3
"""Panels that fit side by side; a method that keeps more goes on in the next row."""
COLOURS = "Colour: from the hardest class (orange) to the easiest (blue), by accuracy under the strongest attack."


def kept_by_class(run: Run) -> list[str]:
    """The quantities of a run's state that have a value for each class, in its order."""
    return [name for name, value in run.state["state"].items() if isinstance(value, Mapping)]


def class_states(summary: Summary, by_method: Mapping[str, Sequence[Run]]) -> list[Picture]:
    """A picture for each method that keeps something by class and whose history has it."""
    kept = {
        method: [name for name in kept_by_class(runs[0]) if all(curves.series(run, name) for run in runs)]
        for method, runs in by_method.items()
    }
    return [_picture(summary, by_method[method], names) for method, names in kept.items() if names]


def kind(quantity: str) -> str:
    """What belongs together begins alike: tau_adv and tau_clean are both a tau."""
    return quantity.partition("_")[0]


def _picture(summary: Summary, runs: Sequence[Run], quantities: Sequence[str]) -> Picture:
    """A panel for each quantity, a line for each class."""
    accuracies = [of[strongest(summary["attacks"])]["per_class"] for of in summary["methods"].values()]
    colours = class_colours({name: fmean(of[name]["mean"] or 0.0 for of in accuracies) for name in summary["classes"]})
    columns = min(len(quantities), COLUMNS)
    rows = -(-len(quantities) // columns)
    kinds = list(dict.fromkeys(map(kind, quantities)))
    height = curves.panel_height(min(len(summary["classes"]), MOST_SIDE_BY_SIDE), least=2.6)
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=len(kinds) == 1).flat)
    method = runs[0].key.method
    figure.suptitle(method_label(method), x=0.01, ha="left", size=10, color=style_of(method).colour)
    panels = dict(zip(quantities, places, strict=False))
    lines = {quantity: _lines(axes, runs, quantity, colours) for quantity, axes in panels.items()}
    said = [f"{quantity}: {_names(axes, lines[quantity])}." for quantity, axes in panels.items()]
    for spare in places[len(quantities) :]:
        spare.remove()
    caption = " ".join([*(STATE_KINDS[name] for name in kinds if name in STATE_KINDS), COLOURS])
    return curves.picture(
        figure,
        f"state_{method}",
        f"{method_label(method)}: state of each class",
        caption,
        trained_on({method: runs}),
        said,
        summary,
    )


def _lines(axes: Axes, runs: Sequence[Run], quantity: str, colours: Mapping[str, str]) -> dict[str, curves.End]:
    """Draw a line for each class; return their ends by class."""
    seeds = [curves.series(run, quantity) for run in runs]
    shown = {name: curves.over_seeds([seed[name] for seed in seeds]) for name in seeds[0]}
    ends = {name: curves.draw(axes, curve, colours[name], thin=True) for name, curve in shown.items()}
    axes.set_title(state_label(quantity))
    axes.tick_params(labelbottom=True, labelleft=True)
    curves.epochs_axis(axes)
    neutral = STATE_NEUTRAL.get(kind(quantity))
    if neutral is not None:
        axes.axhline(neutral, color=INKS["muted"].light, linewidth=0.6, zorder=0.5)
    return ends


def _names(axes: Axes, ends: Mapping[str, curves.End]) -> str:
    """Name the lines that there is room for, once all panels have their limits; return in words what shows."""
    named = curves.extremes({name: end.value for name, end in ends.items()}, MOST_SIDE_BY_SIDE)
    lowest, highest = ends[named[0]], ends[named[-1]]
    if lowest.value == highest.value:
        curves.label(axes, [lowest._replace(text="every class", colour=INKS["ink"].light)], size=7.5)
        return f"{lowest.value:.2f} for every class at the end"
    curves.label(axes, [ends[name]._replace(text=short_name(name)) for name in named], size=7.5)
    return f"lowest {named[0]}, highest {named[-1]}"
