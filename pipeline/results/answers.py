"""The question of every pair, answered from the numbers: yes only where both intervals leave out 0."""

from collections.abc import Callable, Sequence

from absld.report.markdown import escape
from absld.report.tables import Cell, Group, Line, Table
from absld.report.wording import MEASURES, images, method_label
from absld.statistics.paired_seeds import Difference
from pipeline.results.contrasts import ASKED, BY_CLASS, Compared
from pipeline.results.tables import INTERVALS, difference_cells

EQUAL = 0.01
"""Two averages count as equal where both intervals of their difference lie within this, to either side of 0."""
BOTH, BOUND = "both of its intervals lie", f"within ±{100 * EQUAL:g} point"
MEANING = {
    "not shown": "its intervals do not both lie on one side of 0, each with some width: it may be chance",
    "no, it is lower": f"{BOTH} below 0",
    "yes, but the average is lower": f"{BOTH} above 0, and one of the average below",
    "yes, and the average too": f"{BOTH} above 0, and so do both of the average",
    "yes, average equal": f"{BOTH} above 0, and both of the average {BOUND}",
    "yes, average open": f"{BOTH} above 0; those of the average neither lie {BOUND} nor show a lower one",
}
"""What a verdict about several seeds stands on."""


def answers_table(found: Sequence[Compared]) -> Table | None:
    """What is asked about every pair, under every attack that it met; None if it met none."""
    groups = []
    for attack in ASKED:
        met = [of for of in found if attack in of.under]
        if met:
            under = met[0].under[attack]
            groups.append(Group(f"{under.label}, {images(under.n)}", [_line(of, attack) for of in met]))
    if not groups:
        return None
    tail = MEASURES[found[0].tail]
    columns = ["Answer", "Seeds", tail, *INTERVALS, "Average", *INTERVALS]
    caption = (
        f"Does the first of two methods raise the {tail.lower()} of the other at equal average? Differences in points, "
        "mean of the seeds, with their intervals. Yes: both of the first difference lie above 0. Equal: both of the "
        f"average lie within ±{100 * EQUAL:g} point; open: they neither do so nor show a lower one. Nothing is "
        "corrected for the number of questions."
    )
    return Table("answers", caption, "Question", columns, groups)


def _line(of: Compared, attack: str) -> Line:
    worst, average = of.worst(attack), of.under[attack].found.measures["average"]
    answer = Cell(verdict(worst, average), best=worst.shown != 0, words=True)
    seeds = Cell(str(len(of.under[attack].seeds)))
    cells = [*difference_cells(worst, by_seed=False), *difference_cells(average, by_seed=False)]
    return Line(f"{method_label(of.second)} over {method_label(of.first)}", [answer, seeds, *cells])


def verdict(worst: Difference, average: Difference) -> str:
    """Yes, no, or not shown; and what is known of the average."""
    if worst.over_seeds is None:
        return "not shown: one seed"
    if worst.shown == 0:
        return "not shown"
    if worst.shown < 0:
        return "no, it is lower"
    if average.may_be_lower:
        return "yes, but the average is lower"
    if average.shown > 0:
        return "yes, and the average too"
    return f"yes, average {'equal' if average.within(EQUAL) else 'open'}"


def sentence(of: Compared, attack: str) -> str:
    """The question, its answer and what that means; for two seeds or more."""
    worst, average = of.worst(attack), of.under[attack].found.measures["average"]
    said, tail, where = verdict(worst, average), MEASURES[of.tail].lower(), of.under[attack].where
    question = f"Does {method_label(of.second)} raise the {tail} of {method_label(of.first)} {where}?"
    return f"{question} {said.capitalize()}. Of the difference: {MEANING[said]}."


def classes_that_differ(of: Compared, attack: str = BY_CLASS, *, told: Callable[[str], str] = escape) -> str:
    """The classes that differ by both kinds of interval; `told`: how a class's name is written."""
    under = of.under[attack]
    higher, lower = (
        [told(name) for name, gap in zip(of.names, under.found.classes, strict=True) if gap.shown == sign]
        for sign in (1, -1)
    )
    sides = [f"higher on {', '.join(higher)}"] if higher else []
    sides += [f"lower on {', '.join(lower)}"] if lower else []
    of_two = f"Class by class {under.where}, `{of.second}` less `{of.first}`"
    if not sides:
        return f"{of_two}: of {len(of.names)} classes none has both intervals on one side of 0."
    return (
        f"{of_two}: by both intervals {' and '.join(sides)}. The intervals are not corrected for the number of "
        f"classes: of {len(of.names)} one may stand apart by chance."
    )
