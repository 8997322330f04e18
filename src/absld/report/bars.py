"""Grouped bars: a group for each class or attack, a bar for each method, accuracy from 0 to 100 %."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from absld.report.over_seeds import OverSeeds
from absld.report.palette import INKS, Style, style_of
from absld.report.wording import method_label, percent, short_name

GROUP = 0.82
"""Width of a class's bars together, of the 1 between two classes."""
LONG_NAMES = 60
"""Letters of all class names together from which they are written aslant."""


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


def legend(axes: Axes, methods: Sequence[str]) -> None:
    """Which bar is which method's, in the order of the methods."""
    legend_above(axes, [Patch(label=method_label(method), **_fill(style_of(method))) for method in methods])


def legend_above(axes: Axes, handles: Sequence[Any]) -> None:
    """Between the title and the panel, on one line."""
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


def _fill(style: Style) -> dict[str, Any]:
    return {"facecolor": (style.colour, style.fill), "edgecolor": style.colour, "linewidth": 0.8}


def _range(of: OverSeeds) -> str:
    between = "" if of["low"] is None else f" ({percent(of['low'])}–{percent(of['high'])})"
    return f"{percent(of['mean'])} %{between}"
