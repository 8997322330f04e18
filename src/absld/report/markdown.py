"""reports/summary.md: the tables for a terminal, a merge request, a wiki."""

import html
import re
from collections.abc import Sequence

from absld.records.attacks import strongest
from absld.report.checks import checks_table, failures, told_of, warning
from absld.report.drawing import Picture
from absld.report.headline import headline
from absld.report.measurement import attacks_table, epochs_table, runs_table
from absld.report.mistakes import attacks_told, mistakes_table
from absld.report.strength_table import strength_table
from absld.report.summary import Summary
from absld.report.tables import Cell, Table, class_table, results_table


def markdown(summary: Summary, pictures: Sequence[Picture]) -> str:
    """The whole file. Figures are linked, relative to reports/."""
    told = headline(summary)
    attack = strongest(summary["attacks"])
    parts = [
        f"# {escape(told.sentence)}",
        "\n".join(f"* {escape(detail)}" for detail in told.details),
        f"> **Mind:** {escape(failed)}" if (failed := warning(summary)) else "",
        "## Results",
        table_text(results_table(summary)),
        "## Class by class",
        table_text(class_table(summary, attack)),
        "## What the hardest classes become",
        *(table_text(mistakes_table(summary, attack)) for attack in attacks_told(summary)),
        "## As the attack grows" if summary["curves"] else "",
        *(table_text(strength_table(summary, kind)) for kind in summary["curves"]),
        "## Figures",
        *(f"![{escape(of.title)}](figures/{of.name}.svg)\n\n{escape(of.caption)}" for of in pictures),
        "## Checks",
        table_text(checks_table(summary)),
        "\n".join(f"* {escape(told_of(failure))}" for failure in failures(summary)),
        "## How it was measured",
        table_text(attacks_table(summary)),
        table_text(epochs_table(summary)),
        table_text(runs_table(summary)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_text(table: Table) -> str:
    """A table in pipes, its caption below. Groups become a first column, named in their first row."""
    grouped = any(group.title for group in table.groups)
    names = ["Attack", table.corner] if grouped else [table.corner]
    words = [cell.words for cell in table.groups[0].lines[0].cells]
    head = [*names, *table.columns]
    rule = [":--"] * len(names) + [":--" if word else "--:" for word in words]
    rows = [head, rule]
    for group in table.groups:
        for place, line in enumerate(group.lines):
            names = [group.title if place == 0 else "", line.head] if grouped else [line.head]
            rows.append([*map(escape, names), *map(_cell_text, line.cells)])
    lines = ["| " + " | ".join(row) + " |" for row in [[*map(escape, head)], *rows[1:]]]
    return "\n".join(lines) + f"\n\n{escape(table.caption)}"


def escape(text: str) -> str:
    """The text without any markup: names of classes come from folders."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", html.escape(text.replace("\n", " "), quote=False))


def _cell_text(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.best or cell.failed else escape(cell.text)
    if not cell.note:
        return text
    note = escape(cell.note)
    return f"{text} {note}" if note.startswith("±") else f"{text} ({note})"
