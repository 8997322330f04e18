"""The command `absld`."""

import sys
from typing import Annotated

import typer

from absld.errors import InputError
from pipeline import commands_of_models, commands_of_params, commands_of_results, commands_of_sweeps
from pipeline.commands_of_params import Profile, Set
from pipeline.help_page import Group

ABOUT = """Distil a robust teacher into a small student that is robust for every class, and prove it.

[bold]To begin with[/bold]

  absld doctor                                whether it can work here
  absld repro                                 from data to ONNX and report
  absld repro --profile cifar10               another configuration
  absld repro --set train.max_epochs=2        one value changed
  absld sweep --seeds 0-4                     five seeds of each method
  absld compare rslad-s0 absld-s0             two students, class by class
  absld evaluate --weights a.pt --arch NAME   a model of your own
  absld figure 3                              a figure of the paper
  absld keep docs/results/mine                what git can publish of the runs
  absld predict student.onnx photo.jpg        its labels
  absld promote absld-s0                      the champion, past the gates
  absld ui                                    MLflow in the browser

All that can be set stands in params.yaml. Each command has a --help of its own.
Exit codes: 0 done, 1 a stage or a gate failed, 2 the input is wrong, 130 interrupted.
"""

FORCE = "Run these stages and all that they need, the data and the teacher too, even if nothing changed."

app = typer.Typer(
    help=ABOUT, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_show_locals=False,
    cls=Group, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.add_typer(commands_of_params.params, name="params")
app.add_typer(commands_of_params.profile, name="profile")


def main() -> None:
    """Run a command. What the user can mend is a message and exit code 2, never a traceback."""
    try:
        app()
    except InputError as error:
        typer.echo(str(error), err=True)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"absld {version('absld')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    pass


@app.command()
def repro(
    stages: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STAGE",
            help="Only these and what they need: fetch_data, fetch_teacher, train, evaluate, export, report, or one "
            "run's: train@absld-0 (method-seed). Default: all.",
        ),
    ] = None,
    profile: Profile = None,
    assignments: Set = None,
    force: Annotated[bool, typer.Option("--force", help=FORCE)] = False,
) -> None:
    """Make all that is out of date, mirror it to MLflow and show the result.

    A profile and settings are checked, then written to params.yaml, where
    they stay, then DVC runs. Killed, it goes on where it was.

      absld repro train@absld-0
      absld repro --profile digits --set "runs.seeds=[0, 1, 2]"
      absld repro --set "runs.seeds=[0, 1, 2]" --set train.max_epochs=2
    """
    from pipeline import console, dvc, outcome, processes, profiles
    from pipeline.project import find_root
    from pipeline.publish import mirror, settle

    root, named = find_root(), stages or []
    console.left_over(processes.end_left_over(root))
    params, kept = profiles.configure(
        root, profile, assignments or [], also_check=lambda new: dvc.check_names(root, named, new.model_dump())
    )
    if kept is not None:
        console.say(f"Your params.yaml is kept as {kept.name}")
    outcome.forget_failure(root)
    before = outcome.logs(root)
    ended = dvc.repro(root, named, force=force)
    code = outcome.exit_code(root, ended)
    console.seconds(outcome.ran_since(root, before), done=code == dvc.DONE)
    if ended.told is None:
        stale = dvc.changed(root) if named or code else {}
        mirror(root, params, stale)
        if code == dvc.DONE:
            console.results(root, params, stale)
    elif ended.killed:
        settle(root)
    if code != dvc.DONE:
        console.failed(outcome.failure(root), code)
    raise typer.Exit(code)


@app.command()
def status() -> None:
    """Show which stages differ from their last run, and why. Nothing is made.

    absld status
    """
    from pipeline import console, dvc
    from pipeline.project import find_root

    console.changes(dvc.changed(find_root()))


app.command()(commands_of_sweeps.sweep)
app.command()(commands_of_results.compare)
app.command()(commands_of_results.figure)
app.command()(commands_of_models.evaluate)
app.command()(commands_of_models.predict)
app.command()(commands_of_results.keep)
app.command()(commands_of_results.publish)
app.command()(commands_of_results.promote)


@app.command()
def ui(
    port: Annotated[int, typer.Option(metavar="PORT", help="Of 127.0.0.1.", min=1, max=65535)] = 5000,
) -> None:
    """Serve MLflow's pages for this project on this machine, until Ctrl-C.

    absld ui --port 5001
    """
    from pipeline.project import find_root
    from pipeline.server import serve

    raise typer.Exit(serve(find_root(), port))


@app.command()
def doctor() -> None:
    """Find out whether the pipeline can work here; exit code 1 if something would stop `absld repro`.

    Looked at are the packages; params.yaml with the images, the teacher and
    the files that it names; GPUs; git; DVC and what is out of date; MLflow's
    database; free disk; source files that git does not know. What is worth
    knowing and stops nothing is a warning.

      absld doctor
    """
    from pipeline import console
    from pipeline.doctor import examine
    from pipeline.project import find_root

    can_work = [console.finding(line) for line in examine(find_root())]
    raise typer.Exit(0 if all(can_work) else 1)
