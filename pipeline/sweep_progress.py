"""What `absld sweep` shows while it works: a live line for each worker on a terminal, a line now and then elsewhere."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from pipeline.sweep import Job, Made, Sweep, Worker

TAIL = 4096
"""Bytes at the end of a log in which its last line of progress is looked for."""
EVERY = 30.0
"""Seconds between two lines of a run where there is no terminal."""


class Progress:
    """Shows how a sweep stands, each time it is called."""

    def __init__(self, runs: int, workers: int, *, every: float = EVERY, file: TextIO | None = None) -> None:
        self._runs, self._workers, self._every = runs, workers, every
        self._file = file or sys.stdout
        self._live: Live | None = None
        self._begun: set[object] = set()
        self._told = 0
        """How many of the runs that have ended were told of."""
        self._spoke: dict[object, tuple[float, str]] = {}
        self._drawn = 0.0

    def __enter__(self) -> Self:
        if self._file.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(file=self._file), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, sweep: "Sweep") -> None:
        """Show what has changed since."""
        for number, made in enumerate(sweep.made[self._told :], start=self._told + 1):
            self._say(ended_line(made, number, self._runs))
        self._told = len(sweep.made)
        if self._live is None:
            self._speak(sweep)
        elif time.monotonic() - self._drawn >= 0.5:
            self._drawn = time.monotonic()
            self._live.update(self._table(sweep), refresh=True)

    def _say(self, line: str) -> None:
        if self._live is None:
            print(line, file=self._file, flush=True)
        else:
            self._live.console.print(line, highlight=False, markup=False)

    def _speak(self, sweep: "Sweep") -> None:
        now = time.monotonic()
        for worker, job in sweep.at_work.items():
            if job.key not in self._begun:
                self._begun.add(job.key)
                self._spoke[job.key] = now, ""
                self._say(f"{job.key} begins on {worker.name}")
            elif now - self._spoke[job.key][0] >= self._every:
                line = last_line(job.log, str(job.key))
                if line != self._spoke[job.key][1]:
                    self._say(line)
                self._spoke[job.key] = now, line

    def _table(self, sweep: "Sweep") -> "RenderableType":
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for worker, job in sorted(sweep.at_work.items(), key=_place):
            table.add_row(worker.name, Text(last_line(job.log, str(job.key))))
        table.add_row("", Text(total_line(sweep, self._runs, self._workers), "dim"))
        return table


def ended_line(made: "Made", number: int, runs: int) -> str:
    """``[2/6] absld-s0 done after 3 min 2 s``."""
    from absld.watch.progress import duration

    how = "done" if made.problem is None else "failed"
    why = "" if made.problem is None else f": {made.problem}"
    return f"[{number}/{runs}] {made.key} {how} after {duration(made.seconds)}{why}"


def total_line(sweep: "Sweep", runs: int, workers: int) -> str:
    """``2 of 6 runs made, 1 failed, about 12 min 0 s left``: as if the others took as long as those that were made."""
    from absld.watch.progress import duration

    line = f"{len(sweep.made)} of {runs} runs made"
    if sweep.failed:
        line += f", {len(sweep.failed)} failed"
    whole = [made.seconds for made in sweep.made if made.problem is None]
    if whole:
        mean = sum(whole) / len(whole)
        rest = mean * len(sweep.waiting) + sum(max(mean - job.seconds, 0) for job in sweep.at_work.values())
        line += f", about {duration(rest / workers)} left"
    return line


def last_line(log: Path, key: str) -> str:
    """The last line of progress that a run's stages printed, which says how long its stage still takes."""
    with log.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL, 0))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line.startswith((key, "Running stage"))), "")
    stage = said.removeprefix("Running stage '").partition("@")[0]
    return f"{key}  {stage}" if said.startswith("Running") else said or f"{key}  begins"


def _place(entry: "tuple[Worker, Job]") -> str:
    return entry[0].name
