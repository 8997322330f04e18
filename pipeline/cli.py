"""The command `absld`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from absld.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Container

    from absld.params.root import Params

ABOUT = """Distil a robust teacher into a small student that is robust for every class, and prove it.

[bold]To begin with[/bold]

  absld repro                            from data to ONNX and report
  absld repro --profile cifar10          another configuration
  absld repro --set train.max_epochs=2   one value of params.yaml changed
  absld compare rslad-s0 absld-s0        two students, class by class
  absld figure 3                         a figure of the paper, with your runs
  absld ui                               MLflow in the browser

All that can be set stands in params.yaml.
Exit codes: 0 done, 1 a stage failed, 2 the input is wrong, 130 interrupted.
"""

app = typer.Typer(
    help=ABOUT, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
params_app = typer.Typer(help="Check and show params.yaml.", no_args_is_help=True)
profile_app = typer.Typer(help="Complete configurations to begin with.", no_args_is_help=True)
app.add_typer(params_app, name="params")
app.add_typer(profile_app, name="profile")

Profile = Annotated[str | None, typer.Option(help="Write this profile to params.yaml first.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of params.yaml first.")
]


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
    stages: Annotated[list[str] | None, typer.Argument(metavar="STAGE", help="Only these and what they need.")] = None,
    profile: Profile = None,
    assignments: Set = None,
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
) -> None:
    """Make all that is out of date, mirror it to MLflow and show the result.

    A profile and settings are checked, then written to params.yaml, then DVC runs.

      absld repro train@absld-0 --force
      absld repro --profile digits --set "runs.seeds=[0, 1, 2]"
      absld repro --set methods.absld.attack.eps=4/255 --set evaluate.eps=4/255
    """
    from pipeline import console, dvc, outcome, profiles
    from pipeline.project import find_root
    from pipeline.publish import settle

    root = find_root()
    params, kept = profiles.configure(root, profile, assignments or [])
    if kept is not None:
        console.say(f"Your params.yaml is kept as {kept.name}")
    outcome.forget_failure(root)
    before = outcome.logs(root)
    ended = dvc.repro(root, stages or [], force=force)
    code = outcome.exit_code(root, ended)
    console.seconds(outcome.ran_since(root, before), done=code == dvc.DONE)
    if ended.told is None:
        stale = dvc.changed(root) if stages or code else {}
        _mirror(root, params, stale)
        if code == dvc.DONE:
            console.results(root, params, stale)
    elif ended.killed:
        settle(root)
    if code != dvc.DONE:
        console.failed(outcome.failure(root), code)
    raise typer.Exit(code)


def _mirror(root: Path, params: "Params", stale: "Container[str]") -> None:
    """MLflow is a mirror: that it fails is told, but costs nobody a result."""
    from pipeline import console
    from pipeline.publish import publish

    try:
        publish(root, params, stale)
    except ImportError:
        console.say("MLflow is not installed: nothing is mirrored")
    except Exception as error:
        console.say(f"MLflow fails: {type(error).__name__}: {error}\nNothing is lost; `absld publish` tries again.")


@app.command()
def status() -> None:
    """Show which stages differ from their last run, and why."""
    from pipeline import console, dvc
    from pipeline.project import find_root

    console.changes(dvc.changed(find_root()))


@app.command()
def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN", help="Keys like absld-s0; default: all.")] = None,
    attack: Annotated[
        str | None,
        typer.Option(help="clean, fgsm, pgd, cw or aa; default: the strongest, beside the paper all."),
    ] = None,
    to: Annotated[Literal["paper"] | None, typer.Option(help="Beside the paper's table instead.")] = None,
    table: Annotated[
        int | None, typer.Option(help="That table, 1 to 4; default: the one of the runs' data and network.")
    ] = None,
) -> None:
    """Show runs side by side, class by class; or the methods beside the paper's table.

    absld compare rslad-s0 absld-s0
    absld compare --attack clean
    absld compare --to paper
    absld compare --to paper --table 1 --attack aa
    """
    from pipeline import compare, console
    from pipeline.paper import page
    from pipeline.project import find_root

    if table is not None and to is None:
        raise InputError("--table is one of the paper's: add --to paper")
    root = find_root()
    keys = runs or compare.evaluated(root)
    if not keys:
        raise InputError("no run has been evaluated yet: `absld repro` makes them")
    if to is None:
        console.show(compare.table([compare.read_evaluation(root, key) for key in keys], attack))
    else:
        console.show(page.page(root, keys, attack, table))


@app.command()
def figure(
    number: Annotated[int, typer.Argument(min=2, max=5, metavar="NUMBER", help="2, 3, 4 or 5.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="An .svg or .png; default: below reports/paper/.")
    ] = None,
    as_png: Annotated[bool, typer.Option("--png", help="PNG instead of SVG.")] = False,
) -> None:
    """Draw a figure of the paper from the runs that there are, over all their seeds.

    2: SAT with soft labels of same and of different smoothness. 3: RSLAD and ABSLD, class by class. 4: the ablation,
    under every attack. 5: spread of the class risks while training.

      absld figure 3
      absld figure 5 --output spread.png
    """
    from absld.report.terminal import rich_table
    from pipeline import console, figure
    from pipeline.project import find_root

    drawn = figure.redraw(find_root(), number, output, as_png=as_png)
    console.show(rich_table(drawn.table))
    for key in drawn.left_out:
        console.say(f"{key} is not finished and left out")
    console.say(f"figure    {console.near(drawn.path)}")


@app.command()
def publish() -> None:
    """Mirror the files of all runs that are up to date into MLflow; doing it twice changes nothing."""
    from absld.params.load import load
    from pipeline import console, dvc
    from pipeline.project import find_root
    from pipeline.publish import publish

    root = find_root()
    left_out = publish(root, load(root / "params.yaml"), dvc.changed(root))
    if left_out:
        console.say(f"Not up to date and left out: {', '.join(left_out)}; `absld repro` makes them")
    console.say("MLflow shows what the files say: `absld ui`")


@app.command()
def ui(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=1, max=65535)] = 5000) -> None:
    """Open MLflow's pages for this project on this machine."""
    from pipeline.project import find_root
    from pipeline.server import serve

    raise typer.Exit(serve(find_root(), port))


@app.command()
def doctor() -> None:
    """Find out whether the pipeline can work here; exit code 1 if something needs you."""
    from pipeline import console
    from pipeline.doctor import examine
    from pipeline.project import find_root

    fine = [console.finding(line) for line in examine(find_root())]
    raise typer.Exit(0 if all(fine) else 1)


@params_app.command("check")
def params_check(
    file: Annotated[Path | None, typer.Argument(help="Default: the project's params.yaml.")] = None,
) -> None:
    """Check a configuration: every mistake with its line, and exit code 2."""
    from absld.params.load import load
    from pipeline.project import find_root

    path = file or find_root() / "params.yaml"
    params = load(path)
    runs = len(params.runs.methods) * len(params.runs.seeds)
    typer.echo(f"{path.name} is in order: {params.data.source}, {params.student.architecture}, {runs} runs")


@params_app.command("show")
def params_show() -> None:
    """Show every value of params.yaml by its key, fractions also as numbers."""
    from absld.params.load import load
    from absld.params.yaml_file import read_yaml
    from pipeline import console
    from pipeline.project import find_root

    path = find_root() / "params.yaml"
    console.values(read_yaml(path), load(path).model_dump())


@params_app.command("schema")
def params_schema(
    file: Annotated[Path | None, typer.Argument(help="Write it here; default: standard output.")] = None,
) -> None:
    """Show the JSON schema of params.yaml, which editors check it with."""
    import json

    from absld.params.root import Params
    from absld.records.files import write_json

    schema = Params.model_json_schema()
    if file is None:
        typer.echo(json.dumps(schema, indent=2, ensure_ascii=False))
    else:
        write_json(file, schema)


@profile_app.command("list")
def profile_list() -> None:
    """Show the profiles there are."""
    from pipeline import profiles

    for name in profiles.names():
        typer.echo(f"{name:20} {profiles.about(name)}".rstrip())


@profile_app.command("use")
def profile_use(
    name: Annotated[str, typer.Argument(help="See `absld profile list`.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite changes; a copy of them is kept.")] = False,
) -> None:
    """Write a profile to params.yaml. Changes that are neither committed nor a profile are not overwritten."""
    from pipeline import profiles
    from pipeline.project import find_root

    kept = profiles.use(find_root(), name, force=force)
    typer.echo(f"params.yaml is now the profile {name}" + (f"; the old one is {kept.name}" if kept else ""))
