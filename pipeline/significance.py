"""Two runs image by image: where they differ, how sure that is, and what it would take to be sure."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from absld.report.wording import MEASURES, bias_explained, images, number, percent, points, ratio
from absld.statistics.bias import tail_bias
from absld.statistics.bootstrap import side
from absld.statistics.metrics import shown_measures, tail_of
from absld.statistics.paired import LEVEL, Comparison, Pairs, images_needed

MOST_NAMED = 6
"""Classes that a sentence names."""


@dataclass(frozen=True, eq=False)
class Two:
    """Two runs under one attack."""

    runs: tuple[str, str]
    classes: Sequence[str]
    dataset: str
    attack: str
    """As people read it."""
    within: str
    """", L∞ eps 0.1"; empty for clean images."""
    pairs: Pairs
    found: Comparison

    @property
    def tail(self) -> str:
        """`worst`, or `worst10` of very many classes."""
        return tail_of(self.classes)


def shown(two: Two) -> RenderableType:
    """The classes with their test, the summaries with their interval, what follows, and how to read it."""
    return Group(classes_table(two), measures_table(two), Text(conclusion(two)), Text(f"\n{notes(two)}", "dim"))


def classes_table(two: Two) -> Table:
    """Class by class, then all images: accuracy in percent, the difference in points, McNemar's test."""
    found, (of_first, of_second) = two.found, two.pairs.tables
    table = _table(two, "class", ("won", "lost", "p"))
    for label, name in enumerate(two.classes):
        shares = percent(of_first.accuracy[label]), percent(of_second.accuracy[label])
        counts = str(found.only_second[label]), str(found.only_first[label])
        table.add_row(Text(name), *shares, points(found.differences[label]), *counts, starred(found.p[label]))
    table.add_section()
    shares = percent(of_first.micro), percent(of_second.micro)
    counts = str(found.only_second.sum()), str(found.only_first.sum())
    table.add_row("All images", *shares, points(found.difference_all), *counts, starred(found.p_all))
    return table


def measures_table(two: Two) -> Table:
    """What the class accuracies add up to, with the interval of the difference."""
    of_first, of_second = two.pairs.tables
    table = _table(two, "", ("95 %",))
    for measure in shown_measures(two.classes):
        a, b = getattr(of_first, measure), getattr(of_second, measure)
        gap = None if a is None or b is None else b - a
        text = ratio(gap) if measure == "nsd" else points(gap)
        interval = ""
        if measure in two.found.differences95:
            interval = " to ".join(points(end) for end in two.found.differences95[measure])
        table.add_row(MEASURES[measure], number(measure, a), number(measure, b), text, interval)
    return table


def notes(two: Two) -> str:
    """What was measured and how it was tested."""
    (first, second), n = two.runs, len(two.pairs.y)
    biases = {run: tail_bias(table) for run, table in zip(two.runs, two.pairs.tables, strict=True)}
    return (
        f"{two.dataset}: {two.attack}{two.within}, {images(n)}; accuracy in percent, differences in points. Won, lost: "
        f"images that only {second}, only {first} gets right. p: McNemar's exact test, for the classes with Holm's "
        f"correction; * below {LEVEL}. 95 %: of the difference, by a paired bootstrap over the test images.\n"
        f"{bias_explained(two.attack, two.tail, len(two.classes), n, biases)}"
    )


def conclusion(two: Two) -> str:
    """In words: what differs significantly; where no class does, how many images would show it."""
    found, second = two.found, two.runs[1]
    if not (found.only_first.any() or found.only_second.any()):
        return "Nothing is significant: the two agree on every image."
    whole = f"{points(found.difference_all)} points, p {_p(found.p_all)}"
    sure = found.p_all < LEVEL
    if found.significant:
        sides = {
            "better": [label for label in found.significant if found.differences[label] > 0],
            "worse": [label for label in found.significant if found.differences[label] < 0],
        }
        told = " and ".join(f"{word} on {_named(two, labels)}" for word, labels in sides.items() if labels)
        together = f"All images together {'differ significantly too' if sure else 'do not differ significantly'}"
        return f"{second} is significantly {told}. {together} ({whole})."
    if sure:
        told = f"All images together differ significantly ({whole}), but no single class does."
        return f"{told} {_needed(two, sure)}".rstrip()
    apart = [MEASURES[name] for name in ("average", two.tail, "overall") if side(found.differences95[name])]
    but = f" Only the 95 % interval of {_listed(apart)} leaves out 0." if apart else ""
    told = f"Nothing is significant: neither any class nor all images together ({whole}).{but}"
    return f"{told} {_needed(two, sure)}".rstrip()


def _needed(two: Two, sure: bool) -> str:
    """How many images would show differences of the size that was seen."""
    found, total = two.found, two.pairs.total
    discordant = found.only_first + found.only_second
    label = int(abs(found.differences).argmax())
    gap, name = float(found.differences[label]), two.classes[label]
    all_images, chance = int(total.sum()), "is found four times in five with"
    told = []
    of_all = images_needed(found.difference_all, float(discordant.sum() / all_images))
    if of_all is not None and not sure:
        size = f"A difference of {points(found.difference_all)} points over all images"
        told.append(f"{size} {chance} about {_about(of_all)} images (here {all_images:,}).")
    of_class = images_needed(gap, float(discordant[label] / total[label]), len(two.classes))
    if of_class is not None:
        size = f"The largest difference of a class, {points(gap)} points on {name},"
        told.append(f"{size} {chance} about {_about(of_class)} images of that class (here {total[label]:,}).")
    return " ".join(told)


def _table(two: Two, corner: str, more: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(corner, min_width=len(MEASURES["worst"]))
    for title in (*two.runs, "difference", *more):
        table.add_column(Text(title), justify="right")
    return table


def _named(two: Two, labels: Sequence[int]) -> str:
    names = [f"{two.classes[label]} ({points(two.found.differences[label])})" for label in labels]
    named, left = names[:MOST_NAMED], len(names) - MOST_NAMED
    if left > 0:
        named.append(f"{left} more")
    return _listed(named)


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def starred(p: float) -> str:
    """As in a table: 0.500, 0.031*, <0.001*."""
    return _p(p).removeprefix("= ").replace(" ", "") + ("*" if p < LEVEL else "")


def _p(p: float) -> str:
    """With its sign: = 0.031, < 0.001."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _about(n: int) -> str:
    """Two digits are all that such a number is good for."""
    return f"{float(f'{n:.2g}'):,.0f}"
