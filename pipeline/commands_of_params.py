"""The commands about the configuration: `absld params`, `absld profile`."""

from pathlib import Path
from typing import Annotated

import typer

from pipeline.help_page import Group

params = typer.Typer(help="Check and show params.yaml.", no_args_is_help=True, cls=Group)
profile = typer.Typer(help="Complete configurations to begin with.", no_args_is_help=True, cls=Group)

Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Replace params.yaml by this profile (`absld profile list`) first. Changes that are neither committed nor "
        "a profile are kept as params.yaml.kept-1, -2, ...",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a value of params.yaml first; it stays changed. May be repeated. Keys: `absld params show`; "
        "*.eps is every key that ends so, but for lists where VALUE is none.",
    ),
]


@params.command("check")
def params_check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Default: the project's params.yaml.")] = None,
) -> None:
    """Check a configuration: every mistake with its line, and exit code 2.

    absld params check
    absld params check pipeline/profiles/cifar10.yaml
    """
    from absld.params.load import load
    from pipeline.project import find_root

    path = file or find_root() / "params.yaml"
    params = load(path)
    runs = len(params.runs.methods) * len(params.runs.seeds)
    typer.echo(f"{path.name} is in order: {params.data.source}, {params.student.architecture}, {runs} runs")


@params.command("show")
def params_show() -> None:
    """Show every value of params.yaml by its key, as `--set` takes it; fractions also as numbers.

    absld params show
    """
    from absld.params.load import load
    from absld.params.yaml_file import read_yaml
    from pipeline import console
    from pipeline.project import find_root

    path = find_root() / "params.yaml"
    console.values(read_yaml(path), load(path).model_dump())


@params.command("schema")
def params_schema(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Write it here. Default: standard output.")
    ] = None,
) -> None:
    """Show the JSON schema of params.yaml, which editors check it with."""
    import json

    from absld.errors import writing_to
    from absld.params.root import Params
    from absld.records.files import write_json

    schema = Params.model_json_schema()
    if file is None:
        typer.echo(json.dumps(schema, indent=2, ensure_ascii=False))
    else:
        with writing_to(file):
            write_json(file, schema)


@profile.command("list")
def profile_list() -> None:
    """Show the profiles there are, the one to begin with first: how many runs each makes (methods x seeds), what it is.

    absld profile list
    """
    from pipeline import profiles

    names = profiles.names()
    width = max(map(len, names))
    for name in names:
        methods, seeds = profiles.runs_of(name)
        typer.echo(f"{name:{width}}  {f'{methods} x {seeds}':>6} runs  {profiles.about(name)}".rstrip())


@profile.command("use")
def profile_use(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See `absld profile list`.")],
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite them; a copy is kept as params.yaml.kept-1, -2, ...")
    ] = False,
) -> None:
    """Write a profile to params.yaml. Changes that are neither committed nor a profile are not overwritten.

    absld profile use digits
    """
    from pipeline import profiles
    from pipeline.project import find_root

    kept = profiles.use(find_root(), name, force=force)
    typer.echo(f"params.yaml is now the profile {name}" + (f"; the old one is {kept.name}" if kept else ""))
