"""What happened while training, epoch by epoch: one line per method or class, a band over the seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from absld.report.drawing import Picture, finish, footnote
from absld.report.inputs import Run
from absld.report.palette import SIGNS, Style, style_of
from absld.report.summary import Summary
from absld.report.wording import method_label

DASHES = (0, (3, 1.5))
LINE = 1.15
"""Height of a line of text, of its font's size."""


class Curve(NamedTuple):
    """One quantity over the epochs: the mean over the seeds and their range."""

    epochs: list[int]
    mean: list[float]
    low: list[float]
    high: list[float]


class End(NamedTuple):
    """A label beside the end of a line."""

    epoch: float
    value: float
    text: str
    colour: str


Series = dict[int, float]
"""Epoch to value, of one seed."""


def series(run: Run, quantity: str) -> dict[str, Series]:
    """A quantity of one run by class (or under the empty name); nothing if it was not recorded."""
    found: dict[str, Series] = {}
    for row in run.history:
        if row.quantity == quantity:
            found.setdefault(row.class_name, {})[row.epoch] = row.value
    return found


def over_seeds(seeds: Sequence[Series]) -> Curve:
    """The curve of the epochs that all seeds have."""
    epochs = sorted(set(seeds[0]).intersection(*seeds[1:]))
    values = [[seed[epoch] for seed in seeds] for epoch in epochs]
    return Curve(epochs, [sum(each) / len(each) for each in values], [*map(min, values)], [*map(max, values)])


def draw(axes: Axes, curve: Curve, style: Style | str, *, thin: bool = False, dashed: bool = False) -> End:
    """Draw a curve in a method's style or in a plain colour; return where its label belongs, without text."""
    colour = style if isinstance(style, str) else style.colour
    marker = "" if isinstance(style, str) else style.marker
    if curve.low != curve.high:
        axes.fill_between(curve.epochs, curve.low, curve.high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(
        curve.epochs,
        curve.mean,
        color=colour,
        linewidth=1.0 if thin else 1.6,
        linestyle=DASHES if dashed else "-",
        marker=marker,
        markersize=4,
        markevery=max(len(curve.epochs) // 8, 1),
    )
    return End(curve.epochs[-1], curve.mean[-1], "", colour)


def panel_height(labels: int, least: float = 3.3) -> float:
    """Inches that a panel needs so that so many labels fit beside it, with its title and its axis."""
    return max(least, 0.9 + labels * 8 * LINE / 72)


def epochs_axis(axes: Axes) -> None:
    """Whole epochs along the bottom."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def signed_label(method: str) -> str:
    """A method's label beside its line: with the line's marker, by which methods of one hue differ."""
    return method_label(method) + SIGNS[style_of(method).marker]


def picture(
    figure: Figure, name: str, title: str, caption: str, measured: str, said: Sequence[str], summary: Summary
) -> Picture:
    """The finished figure of what happened while training.

    Args:
        figure: What is drawn.
        name: Of its file.
        title: What a screen reader says first.
        caption: What is drawn.
        measured: The images and the attack.
        said: What it shows, in sentences.
        summary: Knows the seeds.

    """
    seeds = summary["seeds"]
    over = f"Lines: mean of {len(seeds)} seeds; bands: from the lowest to the highest."
    measured = f"{measured} {over if len(seeds) > 1 else f'Seed {seeds[0]}.'}"
    footnote(figure, measured)
    return Picture(name, title, f"{caption} {measured}", finish(figure, name, title, " ".join(said), {}))


def label(axes: Axes, ends: Sequence[End], size: float = 8) -> None:
    """Write the ends' texts beside the lines, moved apart where they would touch. The limits must be set before."""
    if not ends:
        return
    axes.set_xlim(right=max(end.epoch for end in ends))
    low, high = axes.get_ylim()
    height = axes.bbox.height / axes.figure.dpi
    gap = (high - low) * size * LINE / 72 / height
    ordered = sorted(ends, key=lambda end: end.value)
    for end, place in zip(ordered, apart([end.value for end in ordered], gap, low, high), strict=True):
        axes.annotate(
            end.text,
            (end.epoch, place),
            xytext=(5, 0),
            textcoords="offset points",
            color=end.colour,
            fontsize=size,
            va="center",
            annotation_clip=False,
        )


def apart(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The rising `values`, moved as little as it takes (least squares) to be `gap` apart between the bounds.

    What is left after taking `gap` off for each place must only rise: neighbours that fall are pooled to their mean.
    """
    pools: list[tuple[float, int]] = []
    for index, value in enumerate(values):
        mean, count = value - index * gap, 1
        while pools and pools[-1][0] > mean:
            other, many = pools.pop()
            mean, count = (mean * count + other * many) / (count + many), count + many
        pools.append((mean, count))
    highest = max(high - (len(values) - 1) * gap, low)
    level = [min(max(mean, low), highest) for mean, count in pools for _ in range(count)]
    return [place + index * gap for index, place in enumerate(level)]


def extremes(ends: Mapping[str, float], most: int) -> list[str]:
    """The names to label: all, or where there are more than `most` the few that end lowest and highest."""
    ordered = sorted(ends, key=lambda name: ends[name])
    return ordered if len(ordered) <= most else [*ordered[:3], *ordered[-3:]]
