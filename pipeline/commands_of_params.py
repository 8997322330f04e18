"""The commands about the configuration: `absld params`, `absld profile`."""

from pathlib import Path
from typing import Annotated

import typer

params = typer.Typer(help="Check and show params.yaml.", no_args_is_help=True)
profile = typer.Typer(help="Complete configurations to begin with.", no_args_is_help=True)


@params.command("check")
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


@params.command("show")
def params_show() -> None:
    """Show every value of params.yaml by its key, fractions also as numbers."""
    from absld.params.load import load
    from absld.params.yaml_file import read_yaml
    from pipeline import console
    from pipeline.project import find_root

    path = find_root() / "params.yaml"
    console.values(read_yaml(path), load(path).model_dump())


@params.command("schema")
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


@profile.command("list")
def profile_list() -> None:
    """Show the profiles there are."""
    from pipeline import profiles

    for name in profiles.names():
        typer.echo(f"{name:20} {profiles.about(name)}".rstrip())


@profile.command("use")
def profile_use(
    name: Annotated[str, typer.Argument(help="See `absld profile list`.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite changes; a copy of them is kept.")] = False,
) -> None:
    """Write a profile to params.yaml. Changes that are neither committed nor a profile are not overwritten."""
    from pipeline import profiles
    from pipeline.project import find_root

    kept = profiles.use(find_root(), name, force=force)
    typer.echo(f"params.yaml is now the profile {name}" + (f"; the old one is {kept.name}" if kept else ""))
