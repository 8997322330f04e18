"""The hardest classes and what they are taken for, a panel for each method.

Where the classes fit side by side a panel is a confusion matrix; of more classes it names the most frequent mistakes.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from absld.report import panels
from absld.report.confusion import Mistakes, taken_for
from absld.report.drawing import Picture, finish, footnote, house_style
from absld.report.mistakes import MOST_HARD, hardest, in_words, measured_on, mistakes_title
from absld.report.palette import INKS
from absld.report.summary import MOST_SIDE_BY_SIDE, Summary
from absld.report.wording import method_label, percent, short_name

DEEPEST = 0.6
"""Opacity of the deepest shade: text stays readable on it."""
DEEPEST_AT = 0.5
"""Share of a class's images from which a shade is the deepest."""
LEAST_WRITTEN = 0.05
"""Share from which a cell has room and reason for its number."""
ROW = 0.175
"""Height of a class's row, in inches."""
LETTERS = 6.5
"""Size of the text in a cell, in points."""
BESIDE, NARROW = -0.72, 0.38
"""Where the share that is right stands beside the named mistakes, and how wide it is."""


def mistakes_picture(summary: Summary, attack: str) -> Picture:
    """What the hardest classes are taken for under one attack, by every method."""
    name, title = f"mistakes_{attack}", mistakes_title(summary, attack)
    matrix = len(summary["classes"]) <= MOST_SIDE_BY_SIDE
    with house_style():
        figure, tips = (_matrices if matrix else _ranks)(summary, attack)
        figure.supylabel("true class", size=9, color=INKS["muted"].light)
        footnote(figure, f"% of the images of the true class. {measured_on(summary, attack)}")
        svg = finish(figure, name, title, in_words(summary, attack), tips)
    return Picture(name, title, _caption(summary, attack, matrix), svg)


def opacity(share: float) -> float:
    """Of a cell's shade. The root lets rare mistakes show beside frequent ones."""
    return float(DEEPEST * min(share / DEEPEST_AT, 1.0) ** 0.5)


def _matrices(summary: Summary, attack: str) -> tuple[Figure, dict[str, str]]:
    """Rows: the true class; columns: the class that its images are taken for; on the diagonal what is right."""
    classes = summary["classes"]
    rows = _rows(summary, attack)
    figure, places = _grid(summary, len(rows), wide=len(classes) > MOST_HARD)
    tips: dict[str, str] = {}
    for method, axes in places.items():
        for y, true in enumerate(rows):
            of = summary["mistakes"][method][attack][true]
            _right(axes, classes.index(true), y, summary["methods"][method][attack]["per_class"][true]["mean"])
            for name, share in taken_for(of):
                x = classes.index(name)
                tips[f"{method}-{y}-{x}"] = _tip(method, true, name, of)
                _shade(axes, x, y, share, f"{method}-{y}-{x}")
                if share >= LEAST_WRITTEN:
                    _write(axes, x, y, percent(share, 0))
        _name(axes, rows, len(classes))
        axes.set_xticks(range(len(classes)), [short_name(name) for name in classes])
        axes.tick_params(axis="x", length=0, labelsize=7, labelrotation=90 if max(map(len, classes)) > 2 else 0)
    panels.along(places, "taken for")
    return figure, tips


def _ranks(summary: Summary, attack: str) -> tuple[Figure, dict[str, str]]:
    """Rows: the true class; beside it the classes that its images are most often taken for, named in their cells."""
    rows = _rows(summary, attack)
    ranks = ("most often", "next") if panels.apart(summary) else ("most often", "next", "third")
    figure, places = _grid(summary, len(rows), wide=False)
    tips: dict[str, str] = {}
    for method, axes in places.items():
        for y, true in enumerate(rows):
            of = summary["mistakes"][method][attack][true]
            _right(axes, BESIDE, y, summary["methods"][method][attack]["per_class"][true]["mean"], width=NARROW)
            for x, (name, share) in enumerate(taken_for(of)[: len(ranks)]):
                tips[f"{method}-{y}-{x}"] = _tip(method, true, name, of)
                _shade(axes, x, y, share, f"{method}-{y}-{x}")
                _write(axes, x, y, f"{short_name(name)} {percent(share, 0)}")
        _name(axes, rows, len(ranks))
        axes.set_xlim(left=BESIDE - NARROW / 2)
        axes.set_xticks([BESIDE, *range(len(ranks))], ["right", *ranks])
        axes.tick_params(axis="x", length=0, labelsize=7)
    panels.along(places, "right, or taken for")
    return figure, tips


def _rows(summary: Summary, attack: str) -> list[str]:
    """All classes in their order where they are few, else the hardest."""
    few = len(summary["classes"]) <= MOST_HARD
    return list(summary["classes"]) if few else hardest(summary, attack)


def _grid(summary: Summary, rows: int, *, wide: bool) -> tuple[Figure, dict[str, Axes]]:
    """Wide panels stand in two columns at most."""
    methods = list(summary["methods"])
    most = panels.COLUMNS if panels.apart(summary) and not wide else 2
    return panels.grid(methods, 0.3 + rows * ROW, columns=min(most, len(methods)))


def _name(axes: Axes, rows: Sequence[str], columns: int) -> None:
    axes.set_yticks(range(len(rows)), [short_name(name) for name in rows])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)


def _right(axes: Axes, x: float, y: int, share: float | None, width: float = 0.94) -> None:
    axes.add_patch(Rectangle((x - width / 2, y - 0.46), width, 0.92, facecolor=INKS["rule"].light, linewidth=0))
    _write(axes, x, y, percent(share, 0))


def _shade(axes: Axes, x: int, y: int, share: float, identity: str) -> None:
    colour = (INKS["vermillion"].light, opacity(share))
    axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=colour, linewidth=0, gid=identity))


def _write(axes: Axes, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, ha="center", va="center_baseline", fontsize=LETTERS, color=INKS["ink"].light)


def _tip(method: str, true: str, name: str, of: Mistakes) -> str:
    count, n = of["wrong"][name], of["n"]
    return f"{method_label(method)}: {true} taken for {name}: {percent(count / n)} % ({count:,} of {n:,})"


def _caption(summary: Summary, attack: str, matrix: bool) -> str:
    classes: Mapping[bool, str] = {
        True: "Every class",
        False: f"The {MOST_HARD} classes that are hardest over all methods",
    }
    rows = classes[len(summary["classes"]) <= MOST_HARD]
    shape = "in grey the share that is right" + ("" if matrix else ", then the classes it is most often taken for")
    least = f"; a number stands from {percent(LEAST_WRITTEN, 0)} % on" if matrix else ""
    return (
        f"{rows}, {shape}, in percent of its images{least}. The deeper a shade, the more images, up to "
        f"{percent(DEEPEST_AT, 0)} %. {measured_on(summary, attack)}"
    )
