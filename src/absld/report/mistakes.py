"""What the hardest classes become: the classes that most of their images are taken for, as a table and in words."""

from absld.records.attacks import strongest
from absld.report.confusion import Mistakes, taken_for
from absld.report.summary import MOST_TOGETHER, Summary
from absld.report.tables import Cell, Group, Line, Table
from absld.report.wording import DASH, attack_in, attack_within, images, method_label, percent

MOST_HARD = 10
"""Classes that are looked at."""
MOST_HARD_BESIDE = 5
"""The same where they stand side by side."""


def attacks_told(summary: Summary) -> list[str]:
    """The strongest attack and, to compare, clean images."""
    return list(dict.fromkeys((strongest(summary["attacks"]), "clean")))


def hardest(summary: Summary, attack: str, most: int = MOST_HARD) -> list[str]:
    """The classes with the lowest accuracy under `attack`, over all methods, the hardest first."""
    accuracies = [of[attack]["per_class"] for of in summary["methods"].values()]
    return sorted(summary["classes"], key=lambda name: sum(of[name]["mean"] or 0.0 for of in accuracies))[:most]


def mistakes_table(summary: Summary, attack: str) -> Table:
    """For each of the hardest classes the two that it is most often taken for, methods side by side.

    More methods than fit stand below each other, with fewer classes beside them.
    """
    found = {method: by_attack[attack] for method, by_attack in summary["mistakes"].items()}
    labels = [method_label(method) for method in found]
    crowded = len(found) > MOST_TOGETHER
    classes = hardest(summary, attack, MOST_HARD_BESIDE if crowded else MOST_HARD)
    cells = {name: [_cell(of[name]) for of in found.values()] for name in classes}
    lines = [Line(name, row) for name, row in cells.items()]
    if crowded:
        lines = [Line(label, row) for label, row in zip(labels, zip(*cells.values(), strict=True), strict=True)]
    caption = (
        f"What the {len(classes)} hardest classes are most often taken for, in percent of the class's images, and the "
        f"next most often. {measured_on(summary, attack)} The hardest class comes first."
    )
    columns = classes if crowded else labels
    return Table(f"mistakes-{attack}", caption, "Method" if crowded else "Class", columns, [Group("", lines)])


def mistakes_title(summary: Summary, attack: str) -> str:
    """What table and figure are about."""
    return f"What classes are taken for: {attack_in(summary, attack)}"


def measured_on(summary: Summary, attack: str) -> str:
    """The attack in full, its radius, how many images of a class there are, over which seeds."""
    seeds = summary["seeds"]
    counts = sorted({found["n"] for by_attack in summary["mistakes"].values() for found in by_attack[attack].values()})
    each = images(counts[0]) if len(counts) == 1 else f"{images(counts[0])} to {counts[-1]:,}"
    over = f"summed over {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{attack_within(summary, attack)}; {each} images of each class, {over}."


def in_words(summary: Summary, attack: str) -> str:
    """For each method its hardest class and what that becomes."""
    said = []
    for method, by_attack in summary["mistakes"].items():
        of = summary["methods"][method][attack]
        name = of["lowest_class"]
        wrong = taken_for(by_attack[attack][name])
        became = f"most often taken for {wrong[0][0]} ({percent(wrong[0][1])} %)" if wrong else "never mistaken"
        right = percent(of["per_class"][name]["mean"])
        said.append(f"{method_label(method)}, hardest class {name}: {right} % right, {became}.")
    return " ".join(said)


def _cell(of: Mistakes) -> Cell:
    """The most frequent wrong class with its share, beside it the next."""
    first, second = [*(f"{name} {percent(share, 0)} %" for name, share in taken_for(of)), "", ""][:2]
    return Cell(first or DASH, second, words=True)
