"""What each evaluation found when it checked itself: a table of runs and checks, and a sentence where one failed."""

from typing import Any, NamedTuple

from absld.report.summary import Summary
from absld.report.tables import Cell, Group, Line, Table
from absld.report.wording import DASH

PASSED, FAILED = "passed", "✗ not passed"


class Failure(NamedTuple):
    """A check that a run did not pass."""

    run: str
    check: str
    detail: str


def failures(summary: Summary) -> list[Failure]:
    """Every check that a run did not pass, in the order of the runs."""
    return [
        Failure(run, check_label(name), check["detail"])
        for run, of in summary["runs"].items()
        for name, check in of["checks"].items()
        if not check["passed"]
    ]


def warning(summary: Summary) -> str:
    """The sentence for the top of the page; empty where every check passed."""
    failed = failures(summary)
    if not failed:
        return ""
    by_run: dict[str, list[str]] = {}
    for failure in failed:
        by_run.setdefault(failure.run, []).append(failure.check)
    done = sum(len(of["checks"]) for of in summary["runs"].values())
    named = "; ".join(f"{run} ({', '.join(checks)})" for run, checks in by_run.items())
    return f"{len(failed)} of {done} checks did not pass, so these numbers may flatter: {named}."


def checks_table(summary: Summary) -> Table:
    """A row for each run, a column for each check; those that failed come first."""
    found: dict[str, dict[str, Any]] = {run: of["checks"] for run, of in summary["runs"].items()}
    names = list(dict.fromkeys(name for checks in found.values() for name in checks))
    red = {name: sum(not checks[name]["passed"] for checks in found.values() if name in checks) for name in names}
    names.sort(key=lambda name: -red[name])
    runs = sorted(found, key=lambda run: -sum(not check["passed"] for check in found[run].values()))
    lines = [Line(run, [_cell(found[run].get(name)) for name in names]) for run in runs]
    failed, done = sum(red.values()), sum(map(len, found.values()))
    caption = (
        f"Signs that an attack was weaker than it seems: {done - failed} of {done} checks passed."
        f"{' Runs and checks that did not pass come first.' if failed else ''} "
        "What each looks at: docs/evaluation.md. What each found: evaluation.json of its run; in summary.html a result "
        "opens."
    )
    return Table("checks", caption, "Run", [check_label(name) for name in names], [Group("", lines)])


def told_of(failure: Failure) -> str:
    """A failure as a sentence."""
    return f"{failure.run}: {failure.check}: {failure.detail}"


def check_label(name: str) -> str:
    """A check's name in words."""
    return name.replace("_", " ")


def _cell(check: Any) -> Cell:
    if check is None:
        return Cell(DASH, words=True)
    passed = check["passed"]
    return Cell(PASSED if passed else FAILED, words=True, failed=not passed, detail=check["detail"])
