"""How far a long reading or download is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

Unit = Literal["bytes", "images"]
SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(what: str, total: int | None, unit: Unit, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show progress on standard error while the block runs; call what it gives with each further amount.

    Args:
        what: what is being done, in a few words.
        total: the amount at the end, in `unit`; None: not known.
        unit: what is counted.
        done: what was there already.

    """
    if sys.stderr.isatty():
        with _bar(what, total, unit, done) as advance:
            yield advance
    else:
        yield _Lines(what, total, unit, done)


@contextmanager
def _bar(what: str, total: int | None, unit: Unit, done: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda amount: bar.advance(task, amount)


class _Lines:
    """A line each ten seconds: nothing for what is quick."""

    def __init__(self, what: str, total: int | None, unit: Unit, done: int) -> None:
        self.what, self.total, self.unit, self.done = what, total, unit, done
        self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES

    def __call__(self, amount: int) -> None:
        self.done += amount
        if time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + SECONDS_BETWEEN_LINES
            print(f"{self.what}: {self._text(self.done)}{self._of_total()}", file=sys.stderr, flush=True)

    def _of_total(self) -> str:
        return f" of {self._text(self.total)}, {100 * self.done // max(self.total, 1)} %" if self.total else ""

    def _text(self, amount: int) -> str:
        return f"{amount / 2**20:.1f} MiB" if self.unit == "bytes" else f"{amount:,} {self.unit}"
