"""Two methods over the seeds that both have: what differs and what follows, as docs/results.md has it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from absld.report.terminal import rich_table
from absld.report.wording import images, method_label
from pipeline.pairing import Measured, refuse_unlike
from pipeline.results.answers import classes_that_differ, sentence
from pipeline.results.contrasts import Compared, under
from pipeline.results.tables import classes_table, measures_table, seeds_text


def shown(
    names: Sequence[str], seeds: Sequence[int], sides: Sequence[Sequence[Measured]], attack: str, within: str
) -> RenderableType:
    """What differs over the classes, class by class, and the answer.

    Args:
        names: Of the two methods.
        seeds: Two or more.
        sides: The runs of either method, seed by seed.
        attack: Its key.
        within: The radius as it stands behind the attack's name.

    Raises:
        InputError: the runs are unlike, or verdicts are missing.

    """
    first, second = sides
    for other in (*first[1:], *second):
        refuse_unlike(first[0], other, attack)
    found = under(attack, seeds, first, second)
    of = Compared(names[0], names[1], first[0].evaluation["classes"], {attack: found})
    measures, classes = rich_table(measures_table(of)), rich_table(classes_table(of, attack, by_seed=False))
    for column in (*measures.columns, *classes.columns):
        column.no_wrap = False  # seeds are many, windows narrow
    title = (
        f"{method_label(of.second)} against {method_label(of.first)}: {first[0].evaluation['dataset']}, "
        f"{found.label}{within}, {images(found.n)}, {seeds_text(seeds)}"
    )
    told = (sentence(of, attack), classes_that_differ(of, attack, told=str))
    return Group(Text(title, "bold"), measures, classes, *(Text(f"\n{text}") for text in told))
