"""Everything that a report consists of, written to its files."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absld.data.card import Card
from absld.records.files import write_json, write_text
from absld.report.figures import draw_all
from absld.report.inputs import Run, check_agreement
from absld.report.markdown import markdown
from absld.report.page import page
from absld.report.summary import summarise


class ReportFiles(NamedTuple):
    """Where the report goes."""

    summary: Path
    text: Path
    page: Path
    figures: Path
    """A folder that afterwards holds these figures and nothing else."""


def write_report(
    runs: Sequence[Run], baseline: str | None, data: Card, teacher: Mapping[str, Any], files: ReportFiles
) -> None:
    """Summarise the runs, draw them, write it all.

    Args:
        runs: Every method with every seed, each once.
        baseline: The method that the others are compared with; None: none.
        data: The data set's card.
        teacher: The teacher's card.json.
        files: Where to.

    Raises:
        InputError: The runs were not measured in the same way.

    """
    check_agreement(runs)
    summary = summarise(runs, baseline, teacher)
    pictures = draw_all(summary, runs)
    shutil.rmtree(files.figures, ignore_errors=True)
    for picture in pictures:
        write_text(files.figures / f"{picture.name}.svg", picture.svg)
    write_json(files.summary, summary)
    write_text(files.text, markdown(summary, pictures))
    write_text(files.page, page(summary, pictures, data, teacher))
