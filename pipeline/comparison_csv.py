"""Runs side by side as a tidy table, a class or measure in each line, for programs: `absld compare --csv FILE`."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absld.errors import InputError, writing_to
from absld.records.files import write_text
from pipeline.pairing import Measured, refuse_unlike

HEADER = ("run", "method", "seed", "attack", "n", "kind", "name", "value", "lower", "upper")
"""`kind`: class or measure, as a class may be called "average" too. Values and the ends of their 95 % intervals are
fractions, as in evaluation.json; nsd is a ratio."""


def write(path: Path, runs: Sequence[Measured], attacks: Sequence[str]) -> None:
    """Write every class and measure of these runs under these attacks. What is not known is left empty.

    Raises:
        InputError: the runs are unlike; or the file is there already and not such a table, or cannot be written.

    """
    for attack in attacks:
        for other in runs[1:]:
            refuse_unlike(runs[0], other, attack)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *_rows(runs, attacks)])
    with writing_to(path):
        if path.exists() and not (path.is_file() and path.read_bytes().startswith(",".join(HEADER).encode())):
            raise InputError(f"--csv {path}: it is there already and no such table: name another file")
        write_text(path, text.getvalue())


def _rows(runs: Sequence[Measured], attacks: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for run in runs:
        of = run.evaluation
        for attack in attacks:
            block = of["attacks"][attack]
            value, interval = block["accuracy"], block["interval95"]
            about = (run.name, of.get("method"), of.get("seed"), attack, block["n"])
            for name in of["classes"]:
                yield *about, "class", name, value["per_class"][name], *interval["per_class"][name]
            for name in filter("per_class".__ne__, value):
                yield *about, "measure", name, value[name], *interval.get(name, (None, None))
