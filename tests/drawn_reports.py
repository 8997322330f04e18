"""A report as the stage writes it, of invented runs, and what is drawn and written in it."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from report_runs import DIGITS, card, teacher, write_run

from absld.records.files import read_json, write_json
from absld.records.layout import RunKey
from absld.report.inputs import read_run
from absld.report.tables import Line, Table
from absld.report.writing import ReportFiles, write_report

SVG = "{http://www.w3.org/2000/svg}"
RED = "the teacher's examples fool more than the student's own"


def report(root: Path, methods: Sequence[str], seeds: Sequence[int], classes: Sequence[str], failed: str = "") -> Path:
    """A report; `failed` is a check that absld does not pass with seed 0."""
    runs = []
    for key in (RunKey(method, seed) for method in methods for seed in seeds):
        files = write_run(root, key, classes, epochs=3)
        if failed and key == RunKey("absld", 0):
            evaluation = read_json(files.evaluation)
            evaluation["checks"][failed] = {"passed": False, "detail": RED}
            write_json(files.evaluation, evaluation)
        runs.append(read_run(key, files))
    out = root / "reports"
    files_out = ReportFiles(out / "summary.json", out / "summary.md", out / "summary.html", out / "figures")
    write_report(runs, "rslad" if "rslad" in methods else None, card(classes), teacher(classes), files_out)
    return out


def rslad_against_absld(root: Path) -> Path:
    """Two seeds of each; one check red."""
    return report(root, ["rslad", "absld"], [0, 1], DIGITS, failed="transfer")


def texts(line: Line) -> list[str]:
    return [f"{cell.text} {cell.note}".strip() for cell in line.cells]


def lines(table: Table) -> dict[str, list[str]]:
    return {line.head: texts(line) for group in table.groups for line in group.lines}


def drawn(path: Path, tag: str = "text") -> list[str]:
    return [str(element.text) for element in ElementTree.parse(path).getroot().iter(f"{SVG}{tag}")]
