"""The class-wise table of the command line: methods side by side, the differences to the baseline beside them."""

from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from absld.records.attacks import strongest
from absld.report.checks import warning
from absld.report.summary import Summary
from absld.report.tables import Cell, methods_table
from absld.report.tables import Table as PlainTable
from absld.report.tables import class_table as plain_table
from absld.report.wording import MINUS

MOST_ROWS = 20
"""Rows that a screen has room for."""
LEAST_HEAD = 16
"""Characters of a row's head that are never broken into lines."""
WIDTH = 60
"""At least, in characters, so that the caption has room."""


@dataclass(frozen=True)
class Results:
    """The class-wise table under the strongest attack; where the screen is too narrow, without its classes.

    Checks that did not pass are named before it.
    """

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        failed = warning(self.summary)
        if failed:
            yield Text(failed, style="bold red")
        whole = class_table(self.summary)
        if console.measure(whole, options=options.update(width=10 * options.max_width)).minimum <= options.max_width:
            yield whole
        else:
            plain = methods_table(self.summary, strongest(self.summary["attacks"]), [])
            yield rich_table(replace(plain, caption=f"{plain.caption} A wider window shows the classes too."))


def class_table(summary: Summary, attack: str | None = None, most: int = MOST_ROWS) -> Table:
    """Accuracy by class under one attack, in percent, then average, worst class and overall.

    Args:
        summary: What reports/summary.json holds.
        attack: Its key; None: the strongest that was run.
        most: Rows to show; of more classes than that, the hardest.

    """
    return rich_table(plain_table(summary, attack or strongest(summary["attacks"])), most)


def rich_table(plain: PlainTable, most: int = MOST_ROWS) -> Table:
    """Any of the report's tables on a screen; of each group at most so many rows."""
    caption = plain.caption
    table = Table(box=SIMPLE_HEAD, min_width=WIDTH, caption_justify="left", caption_style="dim", pad_edge=False)
    longest = max(len(line.head) for group in plain.groups for line in group.lines)
    table.add_column(plain.corner, min_width=min(longest, LEAST_HEAD))
    for name in plain.columns:
        table.add_column(Text(name), justify="right", no_wrap=True)
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
