"""The class-wise table of the command line: methods side by side, the differences to the baseline beside them."""

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from absld.records.attacks import strongest
from absld.report.summary import Summary
from absld.report.tables import Cell
from absld.report.tables import class_table as plain_table
from absld.report.wording import MINUS

MOST_ROWS = 20
"""Classes that a screen has room for."""
WIDTH = 60
"""At least, in characters, so that the caption has room."""


def class_table(summary: Summary, attack: str | None = None, most: int = MOST_ROWS) -> Table:
    """Accuracy by class under one attack, in percent, then average, worst class and overall.

    Args:
        summary: What reports/summary.json holds.
        attack: Its key; None: the strongest that was run.
        most: Classes to show; of more than that, the hardest.

    """
    plain = plain_table(summary, attack or strongest(summary["attacks"]))
    caption = plain.caption
    table = Table(box=SIMPLE_HEAD, min_width=WIDTH, caption_justify="left", caption_style="dim", pad_edge=False)
    table.add_column(plain.corner)
    for name in plain.columns:
        table.add_column(name, justify="right", no_wrap=True)
    for group in plain.groups:
        if len(group.lines) > most:
            caption += f" Shown: {most} of {len(group.lines)} classes."
        for line in group.lines[:most]:
            table.add_row(Text(line.head), *map(_text, line.cells))
        table.add_section()
    table.caption = Text(caption)
    return table


def _text(cell: Cell) -> Text:
    text = Text().append(cell.text, "bold" if cell.best else "")
    if cell.note:
        colour = {"+": "green", MINUS: "red"}.get(cell.note[0], "dim")
        text.append(f" {cell.note:>5}", colour)
    return text
