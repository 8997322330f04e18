"""The numbers of how accuracy falls as the attack grows, and the words for them."""

from absld.records.attacks import attack_label
from absld.records.numbers import number_text
from absld.report.over_seeds import OverSeeds
from absld.report.summary import Summary
from absld.report.sweeps import MEASURED
from absld.report.tables import Cell, Group, Line, Table, best_of
from absld.report.wording import images, method_label, percent

TITLES = {"eps": "Accuracy against the radius of the attack", "steps": "Accuracy against the steps of the attack"}


def strength_table(summary: Summary, kind: str) -> Table:
    """A row for each method, a column for each radius or number of steps: average, then worst class."""
    sweep = summary["curves"][kind]
    groups = [
        Group("", _lines({f"{method_label(name)}, {label}": of[measure] for name, of in sweep["methods"].items()}))
        for measure, label in MEASURED.items()
    ]
    heads = [strength_text(kind, point["value"]) for point in sweep["points"]]
    return Table(
        f"accuracy-by-{kind}", f"{TITLES[kind]}, in percent. {measured_with(summary, kind)}", "Method", heads, groups
    )


def strength_text(kind: str, value: float) -> str:
    """A radius or a number of steps: eps 8/255, 20 steps."""
    if kind == "eps":
        return f"eps {number_text(value)}"
    return f"{value:g} step{'s' if value > 1 else ''}"


def caption(summary: Summary, kind: str) -> str:
    """What is drawn, and how it was measured."""
    seeds = summary["seeds"]
    spread = "Lines: mean of the seeds; bands: from the lowest to the highest. " if len(seeds) > 1 else ""
    return (
        "Share of the test images that are still classified correctly; solid: average over the classes, dashed: worst "
        f"class. {spread}{measured_with(summary, kind)}"
    )


def measured_with(summary: Summary, kind: str) -> str:
    """The attack, its images and seeds."""
    points, seeds = summary["curves"][kind]["points"], summary["seeds"]
    counts = sorted({point["n"] for point in points})
    many = images(counts[0]) if len(counts) == 1 else f"{images(counts[0])} to {counts[-1]:,}"
    table = summary["attacks"].get("pgd", {"n": counts[-1]})["n"]
    fewer = ", fewer than in the tables" if counts[-1] < table else ""
    over = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"{_attack(summary, kind)}; {many} test images{fewer}, {over}."


def _attack(summary: Summary, kind: str) -> str:
    """PGD with what stays the same along the curve."""
    settings = summary["curves"][kind]["points"][0]["settings"]
    if kind == "eps":
        return f"{attack_label('pgd', settings)}, steps of eps / 4, {settings['start']} start"
    walk = f"L∞ eps {number_text(settings['eps'])}, steps of {number_text(settings['step'])}"
    return f"PGD, {walk}, {settings['start']} start"


def _lines(rows: dict[str, list[OverSeeds]]) -> list[Line]:
    """The best of each column is bold."""
    shown = {head: [percent(of["mean"]) for of in row] for head, row in rows.items()}
    best = [
        best_of(dict(zip(shown, column, strict=True)), highest=True) for column in zip(*shown.values(), strict=True)
    ]
    return [
        Line(head, [Cell(text, best=head in top) for text, top in zip(row, best, strict=True)])
        for head, row in shown.items()
    ]
