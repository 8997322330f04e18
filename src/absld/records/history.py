"""What an epoch showed, in long form: a row per epoch, quantity and class.

The same names are used in history.csv and as MLflow keys: ``tau_adv`` of class ``cat`` is the metric ``tau_adv/cat``.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from absld.records.files import write_text


class Row(NamedTuple):
    """One number of one epoch."""

    epoch: int
    """Counted from 1."""
    quantity: str
    """``train/loss``, ``validation/pgd_worst``, ``tau_adv``, ..."""
    class_name: str
    """Empty for a quantity that is not class by class."""
    value: float

    @property
    def key(self) -> str:
        """The row's name as a metric."""
        return f"{self.quantity}/{self.class_name}" if self.class_name else self.quantity


HEADER = ("epoch", "quantity", "class", "value")


def write_history(path: Path, rows: Iterable[Row]) -> None:
    """Write history.csv. Values are written so that reading gives the same float again."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((row.epoch, row.quantity, row.class_name, repr(row.value)) for row in rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """Read history.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        next(reader)
        return [Row(int(epoch), quantity, name, float(value)) for epoch, quantity, name, value in reader]
