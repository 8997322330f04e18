"""All figures of a report."""

from collections.abc import Sequence

from absld.records.attacks import strongest
from absld.report.classes import classes_picture
from absld.report.drawing import Picture, house_style
from absld.report.inputs import Run, group_by_method
from absld.report.mistakes import attacks_told
from absld.report.mistakes_figure import mistakes_picture
from absld.report.risks import risk_spread
from absld.report.state import class_states
from absld.report.strength import strength_pictures
from absld.report.summary import Summary
from absld.report.validation import validation

DRAWN_BY_CLASS = ("aa", "pgd")


def draw_all(summary: Summary, runs: Sequence[Run]) -> list[Picture]:
    """The figures that the runs have data for, in the order of the page."""
    attacks = [attack for attack in DRAWN_BY_CLASS if attack in summary["attacks"]]
    by_class = [classes_picture(summary, attack) for attack in attacks or [strongest(summary["attacks"])]]
    mistakes = [mistakes_picture(summary, attack) for attack in attacks_told(summary)]
    by_method = group_by_method(runs)
    with house_style():
        spread = risk_spread(summary, by_method)
        training = [*filter(None, [spread]), validation(summary, by_method), *class_states(summary, by_method)]
    return [*by_class, *mistakes, *strength_pictures(summary, by_method), *training]
