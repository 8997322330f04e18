"""What the report says of an evaluation's checks: a red one is seen everywhere, a green report is quiet."""

from collections.abc import Sequence
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from drawn_reports import RED, lines, rslad_against_absld
from report_runs import CAT_DOG, CHECKS, run_of, teacher
from rich.console import Console

from absld.records.files import read_json
from absld.report.checks import checks_table, warning
from absld.report.summary import Summary, summarise
from absld.report.terminal import Results


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rslad_against_absld(tmp_path_factory.mktemp("two"))


def checked(**failed: Sequence[str]) -> Summary:
    """RSLAD and ABSLD, a seed each, with all checks; those that are named for a method failed."""
    runs = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 7])]
    for run in runs:
        for name, detail in CHECKS.items():
            bad = name in failed.get(run.key.method, ())
            run.evaluation["checks"][name] = {"passed": not bad, "detail": RED if bad else detail}
    return summarise(runs, "rslad", teacher(CAT_DOG))


def test_every_run_has_every_check_and_what_failed_comes_first() -> None:
    table = checks_table(checked(absld=["transfer", "huge_eps"], rslad=["transfer"]))
    assert list(table.columns)[:3] == ["transfer", "huge eps", "deterministic"]
    assert len(table.columns) == 7
    (group,) = table.groups
    assert [line.head for line in group.lines] == ["absld-s0", "rslad-s0"]
    assert [cell.failed for cell in group.lines[0].cells] == [True, True] + 5 * [False]
    assert [cell.failed for cell in group.lines[1].cells] == [True] + 6 * [False]
    assert group.lines[0].cells[0].detail == RED
    assert group.lines[0].cells[2].text == "passed"
    assert "11 of 14 checks passed" in table.caption


def test_a_red_check_is_said_in_one_sentence_and_a_green_report_says_nothing() -> None:
    assert warning(checked()) == ""
    assert warning(checked(absld=["transfer", "huge_eps"], rslad=["transfer"])) == (
        "3 of 14 checks did not pass, so these numbers may flatter: rslad-s0 (transfer); absld-s0 (huge eps, transfer)."
    )
    assert "come first" not in checks_table(checked()).caption


def test_a_check_that_only_one_run_has_leaves_a_gap_with_the_other() -> None:
    runs = [run_of("rslad", 0, [9, 5]), run_of("absld", 0, [8, 7])]
    runs[1].evaluation["checks"]["transfer"] = {"passed": True, "detail": ""}
    table = checks_table(summarise(runs, "rslad", teacher(CAT_DOG)))
    assert lines(table) == {"rslad-s0": ["passed", "–"], "absld-s0": ["passed", "passed"]}


class Details(HTMLParser):
    """Each `<details class="detail ...">` of a page: whether it is open, its class, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.found: list[tuple[bool, str, str]] = []
        self.inside = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag == "details" and "detail" in str(names.get("class")):
            self.found.append(("open" in names, str(names["class"]), ""))
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "details"

    def handle_data(self, data: str) -> None:
        if self.inside:
            shown, look, text = self.found[-1]
            self.found[-1] = (shown, look, text + data)


def test_the_page_opens_what_a_red_check_found_and_folds_the_others(two: Path) -> None:
    found = Details(two / "summary.html").found
    assert len(found) == 4 * 7
    assert [(shown, look) for shown, look, _ in found] == [(True, "detail failed")] + 27 * [(False, "detail")]
    assert found[0][2].split("\n")[-1].endswith(RED)
    assert all(any(detail in text for _, _, text in found) for detail in CHECKS.values())
    page = (two / "summary.html").read_text(encoding="utf-8")
    assert page.index("1 of 28 checks did not pass") < page.index("<h2>Results")


def test_markdown_and_terminal_name_a_red_check_too(two: Path) -> None:
    text = (two / "summary.md").read_text(encoding="utf-8")
    assert text.index("> **Mind:** 1 of 28 checks did not pass") < text.index("## Results")
    assert "| absld-s0 | **✗ not passed** | passed |" in text
    assert f"* absld-s0: transfer: {RED}" in text
    console = Console(width=100, record=True, file=StringIO())
    console.print(Results(read_json(two / "summary.json")))
    assert "absld-s0 (transfer)" in console.export_text()
    green = Console(width=100, record=True, file=StringIO())
    green.print(Results(checked()))
    assert "did not pass" not in green.export_text()
