"""How far a stage is: a bar on a terminal, a line now and then elsewhere.

with Progress("absld-s0", epochs=60) as progress:
    progress.epoch(12, {"train/loss": 0.21, ...})         # training
    progress("PGD-20", 512, 1797)                         # anything else: text, done, total
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar

from absld.statistics.metrics import ClassTable

LINE_CLASSES = 10
"""Classes that fit into a line."""


class Progress:
    """Says what is being done, how far it is and how long it will take."""

    def __init__(self, name: str, epochs: int = 0, *, every: float = 5.0, file: TextIO | None = None) -> None:
        """Where `file` (standard output) is no terminal, a line is written at most `every` seconds."""
        self._name, self._epochs, self._every = name, epochs, every
        self._file = file or sys.stdout
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._begun, self._reached = 0.0, 0.0
        self._first, self._done, self._total = 0, 0, 0
        self._spoke = -math.inf

    def __enter__(self) -> Self:
        if self._file.isatty():
            text = TextColumn("{task.description}", markup=False)
            self._bar = Bar(BarColumn(24), text, console=Console(file=self._file), transient=True)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """An epoch has ended, with these values of its history; `epoch` 0: none has yet."""
        self._show(epoch_line(epoch, self._epochs, values), epoch, self._epochs)

    def __call__(self, text: str, done: int, total: int) -> None:
        """`done` of `total` parts of what `text` names are done."""
        self._show(f"{text}  ({100 * done // max(total, 1)} % done)", done, total)

    def classes(self, attack: str, names: Sequence[str], table: ClassTable) -> None:
        """What an attack that has ended left of each class: a line that stays above the bar; nothing elsewhere."""
        if self._bar is not None:
            self._bar.console.print(class_line(attack, names, table), highlight=False, markup=False)

    def _show(self, text: str, done: int, total: int) -> None:
        now = time.monotonic()
        if total != self._total or done < self._done or not self._begun:
            self._begun = self._reached = now
            self._first, self._total = done, total
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task("", total=total, completed=done)
        elif done > self._done:
            self._reached = now
        self._done = done
        line, left = f"{self._name}  {text}", self._remaining(done, total)
        if self._bar is not None and self._task is not None:
            # what a narrow terminal cuts off is the end of the line, not the time
            self._bar.update(self._task, description=f"{left}  {line}" if left else line, completed=done)
            if done == total:  # the line stays, the bar goes
                self._bar.console.print(line, highlight=False, markup=False)
                self._bar.update(self._task, visible=False)
        elif done == total or now - self._spoke >= self._every:
            self._spoke = now
            print(f"{line}  {left}" if left else line, file=self._file, flush=True)

    def _remaining(self, done: int, total: int) -> str:
        """What was done before we began (a resumed run) says nothing of the speed, nor does a part under way."""
        if done <= self._first or done >= total:
            return ""
        return f"{duration((self._reached - self._begun) / (done - self._first) * (total - done))} left"


def epoch_line(epoch: int, epochs: int, values: Mapping[str, float]) -> str:
    """``epoch 12/60  loss 0.21  validation clean 97.1, pgd average 71.2 worst 48.0``; accuracies in percent."""
    line = f"epoch {epoch}/{epochs}"
    if not values:
        return line
    clean, average, worst = (
        100 * values[f"validation/{name}"] for name in ("clean_average", "pgd_average", "pgd_worst")
    )
    loss = values["train/loss"]
    return f"{line}  loss {loss:.3g}  validation clean {clean:.1f}, pgd average {average:.1f} worst {worst:.1f}"


def engine_line(report: Mapping[str, float | str]) -> str:
    """``fast engine, bfloat16, 61 s of compilation; the teacher was spared 54 % of the images, about 3 h 12 min``."""
    line = f"{report['engine']} engine, {report['precision']}"
    if "seconds_compiling" in report:
        line += f", {report['seconds_compiling']:.0f} s of compilation"
    if "teacher_hit_rate" in report:
        line += f"; the teacher was spared {100 * float(report['teacher_hit_rate']):.0f} % of the images"
        line += f", about {duration(float(report['teacher_seconds_saved']))}"
    return line


def class_line(attack: str, names: Sequence[str], table: ClassTable) -> str:
    """``pgd       n 360   0  94.4   1  80.6 ...``: accuracies in percent, the lowest where there are many."""
    counts = zip(names, table.correct.tolist(), table.total.tolist(), strict=True)
    rates = {name: right / images for name, right, images in counts if images}
    many = len(rates) > LINE_CLASSES
    shown = sorted(rates, key=lambda name: rates[name])[:LINE_CLASSES] if many else rates
    accuracies = "".join(f"   {name} {100 * rates[name]:5.1f}" for name in shown)
    return f"{attack:<9} n {table.total.sum()}{'   lowest' if many else ''}{accuracies}"


def duration(seconds: float) -> str:
    """A time in words: ``42 s``, ``3 min 20 s``, ``5 h 12 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
