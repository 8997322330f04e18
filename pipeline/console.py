"""What the command line prints."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absld.params.root import Params
from absld.records.files import read_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipeline.doctor import Line
    from pipeline.gates import Judged
    from pipeline.sweep import Made, Sweep


DASH = "–"
NEVER_MADE = "params.yaml new"
"""A reason of DVC's: it knows no parameters of this stage."""


def say(text: str) -> None:
    """A sentence."""
    print(text, flush=True)


def left_over(ended: int) -> None:
    """How many processes of a killed command had to be ended first."""
    if ended:
        left = "a process" if ended == 1 else f"{ended} processes"
        say(f"A command was killed here and left {left} at work: ended now, and what was made is kept.")


def show(table: "RenderableType") -> None:
    """A table."""
    from rich.console import Console

    Console().print(table)


def seconds(ran: Sequence[Mapping[str, Any]], *, done: bool) -> None:
    """How long each stage took; that nothing ran is worth a sentence too."""
    if not ran:
        if done:
            say("Nothing had to run: every stage is up to date.")
        return
    say("\nSeconds of each stage:")
    for log in ran:
        key = "" if log["key"] == "pipeline" else log["key"]
        say(f"{log['seconds']:9.1f}  {log['stage']} {key}".rstrip())
    say(f"{sum(log['seconds'] for log in ran):9.1f}  together")


def results(root: Path, params: Params, stale: Collection[str]) -> None:
    """The class-wise table, and where everything lies; nothing of it if the report is not about what is there now."""
    from pipeline.publish import keys
    from stages.contracts import EXPORT, REPORT

    if stale:
        say(f"\nStill out of date: {', '.join(stale)}; `absld repro` makes them.")
        return
    summary = root / REPORT.writes["summary"]
    if summary.is_file():
        from absld.report.terminal import Results

        say("")
        show(Results(read_json(summary)))
    students = EXPORT.writes["student"]
    files = [root / students.format(method=key.method, seed=key.seed) for key in keys(params)]
    for title, paths in (("students", files), ("report", [root / REPORT.writes["summary_page"]])):
        found = [path for path in paths if path.is_file()]
        for path in found:
            say(f"{title if path == found[0] else '':9} {near(path)}")
    say(f"{'MLflow':9} absld ui")


def failed(said: Mapping[str, Any] | None, code: int) -> None:
    """Why it ended without a result."""
    import typer

    if said is not None and said["code"] in (1, 2):
        typer.echo(f"{said['stage']} failed: {said['message']}", err=True)
    elif code > 128:
        typer.echo("Interrupted. `absld repro` goes on where it stopped.", err=True)
    else:
        typer.echo("DVC ended without a result; its own words stand above.", err=True)


def failures(failed: Sequence["Made"]) -> None:
    """Which runs of a sweep failed, why, and where all that they said is."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table("Run", "Failed in", "Log", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for made in failed:
        table.add_row(Text(str(made.key)), Text(made.problem or ""), Text(near(made.log)))
    show(table)
    say("The other runs are made. The same command tries these again, from their last checkpoint.")


def cut_off(code: int) -> None:
    """An evaluation ended without a word of its own, by a signal that was not ours."""
    from signal import SIGKILL, strsignal

    import typer

    what = f"The evaluation was ended by signal {-code} ({strsignal(-code)})"
    mend = "; where memory ran out, set evaluate.chunk lower in params.yaml" if -code == SIGKILL else ""
    typer.echo(f"{what}. The same command goes on where it stopped{mend}.", err=True)


def stopped(sweep: "Sweep") -> None:
    """A sweep was told to stop."""
    import typer

    left = len(sweep.waiting) + len(sweep.at_work)
    typer.echo(f"Interrupted, {left} runs are left. `absld sweep` goes on where it stopped.", err=True)


def changes(changed: Mapping[str, Sequence[str]]) -> None:
    """Stages that are out of date, with the reasons."""
    if not changed:
        say("Every stage is up to date.")
        return
    new: dict[str, list[str]] = {}
    for stage, reasons in changed.items():
        name, _, item = stage.partition("@")
        if NEVER_MADE in reasons:
            new.setdefault(name, []).append(item)
        else:
            say(f"{stage}\n    " + "\n    ".join(reasons))
    if new:
        say("Not made yet:")
    for name, items in new.items():
        say(f"    {name:<16}{', '.join(items)}".rstrip())
    say("`absld repro` makes them, and what comes after them.")


def values(written: Any, checked: Any) -> None:
    """Every value by its key; a fraction also as a number."""
    for key, text, value in _leaves(written, checked):
        number = f"  = {value:.6g}" if isinstance(text, str) and isinstance(value, float) else ""
        say(f"{key}: {text}{number}")


def gates(run: str, judged: Sequence["Judged"]) -> None:
    """What was measured beside what it must be."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    if not judged:
        say(f"{run}: no gate is set in export.gates of params.yaml")
        return
    table = Table(
        "Gate", "Measured", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), caption_justify="left", caption_style="dim"
    )
    for name in ("Value", "Interval", "Limit", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for gate in judged:
        decimals, unit = (0, 1) if gate.gate == "checks" else (3, 1) if gate.gate.endswith("nsd") else (1, 100)
        value, limit, *ends = (
            DASH if number is None else f"{unit * number:.{decimals}f}"
            for number in (gate.value, gate.limit, *(gate.interval or ()))
        )
        sign = "≥" if gate.gate.startswith("min_") else "≤"
        verdict = Text("passed", "green") if gate.passed else Text("failed", "bold red")
        table.add_row(gate.gate, gate.what, value, DASH.join(ends), f"{sign} {limit}", verdict)
    table.caption = f"{run}: accuracies in percent, 95 % intervals. The value decides."
    show(table)


def refused(run: str, failed: Sequence["Judged"]) -> None:
    """Why a run is not promoted."""
    import typer

    typer.echo(f"{run} is not promoted:", err=True)
    for gate in failed:
        typer.echo(f"  {gate.gate}: {gate.problem}", err=True)


def finding(line: "Line") -> bool:
    """One line of the doctor's; says whether the pipeline can work so."""
    say(f"{'ok  ' if line.fine else 'FAIL' if line.stops else 'warn'}  {line.text}")
    return not line.stops


def _leaves(written: Any, checked: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key, text in written.items():
        if isinstance(text, Mapping):
            yield from _leaves(text, checked[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", "null" if text is None else text, checked[key]


def near(path: Path) -> str:
    """A path as short as it can be typed from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
