"""Sentences that answer a question with numbers: yes only where both intervals leave out 0."""

from collections.abc import Sequence

from absld.paired_seeds import Difference, Interval
from absld.report.markdown import escape
from absld.report.wording import MEASURES, images, points
from pipeline.results.contrasts import ASKED, BY_CLASS, Compared, Under
from pipeline.results.tables import DECIMALS, interval_text


def answers(found: Sequence[Compared]) -> list[str]:
    """What is asked about every pair, under every attack that it met."""
    return [answer(compared, attack) for compared in found for attack in ASKED if attack in compared.under]


def answer(of: Compared, attack: str) -> str:
    """Whether the second raises the worst class under this attack at equal average."""
    under = of.under[attack]
    worst, average = of.worst(attack), under.found.measures["average"]
    tail = MEASURES[of.tail].lower()
    return (
        f"Does `{of.second}` raise the {tail} of `{of.first}` under {under.label} at equal average? "
        f"**{verdict(worst, average)}.** {tail.capitalize()}: {_numbers(worst)}. Average: {_numbers(average)}. "
        f"({_basis(under)})"
    )


def verdict(worst: Difference, average: Difference) -> str:
    """Yes, no, or not shown. Of the average a lower one is looked for: that two are equal can never be shown."""
    if worst.over_seeds is None:
        return "Not shown: one seed says nothing of others"
    if worst.shown == 0:
        return "Not shown"
    if worst.shown < 0:
        return "No: it is lower"
    if average.may_be_lower:
        return "It is higher, but so far as an interval shows the average is lower"
    return "Yes, and the average is higher too" if average.shown > 0 else "Yes; a lower average is not shown"


def _numbers(of: Difference) -> str:
    """+1.20 points, 95 % interval over images −0.40 to +2.80 (holds 0), over seeds +0.10 to +2.30."""
    told = f"{points(of.mean, DECIMALS)} points, 95 % interval over images {_interval(of.over_images)}"
    return told if of.over_seeds is None else f"{told}, over seeds {_interval(of.over_seeds)}"


def _interval(interval: Interval) -> str:
    return interval_text(interval) + (" (holds 0)" if interval[0] <= 0 <= interval[1] else "")


def _basis(under: Under) -> str:
    several = len(under.seeds) > 1
    return f"{images(under.n)}, {f'mean of {len(under.seeds)} seeds' if several else f'seed {under.seeds[0]}'}"


def classes_that_differ(of: Compared) -> str:
    """The classes that differ by both kinds of interval."""
    under = of.under[BY_CLASS]
    higher, lower = (
        [escape(name) for name, gap in zip(of.names, under.found.classes, strict=True) if gap.shown == sign]
        for sign in (1, -1)
    )
    told = [f"higher on {', '.join(higher)}"] if higher else []
    told += [f"lower on {', '.join(lower)}"] if lower else []
    of_two = f"Class by class under {under.label}, `{of.second}` less `{of.first}`"
    if not told:
        return f"{of_two}: of {len(of.names)} classes none has both intervals on one side of 0."
    return f"{of_two}: by both intervals {' and '.join(told)}."
