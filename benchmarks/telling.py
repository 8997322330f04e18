"""How far the benchmarks are: a bar on a terminal, a line for each case elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def telling(what: str, turns: int) -> Iterator[Callable[[], None]]:
    """Show on standard error that `what` is being measured; call what it gives after each of its `turns`."""
    started = time.monotonic()
    if sys.stderr.isatty():
        with _bar(what, turns) as each:
            yield each
    else:
        yield lambda: None
    print(f"{what}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


@contextmanager
def _bar(what: str, turns: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=turns)
        yield lambda: bar.advance(task)
