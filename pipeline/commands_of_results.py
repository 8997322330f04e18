"""The commands about runs that have finished: `absld compare`, `figure`, `keep`, `publish`, `promote`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from absld.errors import InputError


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="absld-s0; a method; a name below evaluations/; a folder that `absld keep` made. "
            "Default: the runs of params.yaml.",
        ),
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="clean, fgsm, pgd, cw or aa. Default: the strongest that all met; with --to or --csv all.",
        ),
    ] = None,
    to: Annotated[
        Literal["paper"] | None,
        typer.Option(metavar="paper", help="Beside Tables 1 to 4 of arXiv 2312.05508, the means over the seeds."),
    ] = None,
    table: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="That table, 1 to 4. Default: the one of the runs' data and network."),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Written instead: a line for each class and measure of each run."),
    ] = None,
) -> None:
    """Show runs side by side, class by class, two of them with significance; or the methods beside the paper's table.

    Two methods with several seeds are compared over the seeds that both
    have, with intervals over the images and over the seeds.

      absld compare rslad-s0 absld-s0
      absld compare rslad absld --attack pgd
      absld compare theirs absld-s0
      absld compare --csv runs.csv
      absld compare --to paper --table 1 --attack aa
    """
    from pipeline import compare, comparison_csv, console, evaluations
    from pipeline.chosen_runs import chosen
    from pipeline.paper import page
    from pipeline.project import find_root

    if table is not None and to is None:
        raise InputError("--table is one of the paper's: add --to paper")
    if csv is not None and to is not None:
        raise InputError("--csv writes runs alone: leave out --to")
    root = find_root()
    own, remark = chosen(root, runs or [])
    keys = runs or own
    if remark:
        typer.echo(remark, err=True)
    if not keys:
        there = ", ".join(evaluations.evaluated(root)) or "none"
        raise InputError(f"no run is evaluated and up to date: `absld repro` makes them, or name one (there: {there})")
    if to is not None:
        console.show(page.page(root, evaluations.expanded(root, keys, own), attack, table))
    elif csv is not None:
        found = evaluations.measured(root, evaluations.expanded(root, keys, own))
        comparison_csv.write(csv, found, compare.attacks_of(found, attack))
        console.say(f"csv       {console.near(csv.resolve())}")
    else:
        console.show(compare.view(root, keys, attack, own))


def figure(
    number: Annotated[int, typer.Argument(min=2, max=5, metavar="NUMBER", help="2, 3, 4 or 5.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="An .svg or .png. Default: below reports/paper/."),
    ] = None,
    as_png: Annotated[bool, typer.Option("--png", help="PNG instead of SVG.")] = False,
) -> None:
    """Draw a figure of the paper from the runs that there are, over all their seeds.

    2: SAT with soft labels of same and of different smoothness
    3: RSLAD and ABSLD, class by class
    4: the ablation, under every attack
    5: spread of the class risks while training

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


def keep(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="For example docs/results/cifar10.")],
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN", help="Keys like absld-s0. Default: all of params.yaml.")
    ] = None,
) -> None:
    """Copy the small files of finished runs to where git can publish them: no weights and no images.

    What is kept already and the same is not touched, so doing it twice changes nothing.

      absld keep docs/results/cifar10
      absld keep docs/results/cifar10 rslad-s0 absld-s0
      absld compare docs/results/cifar10/rslad-s0 docs/results/cifar10/absld-s0
    """
    from absld.params.load import load
    from pipeline import console, dvc, kept
    from pipeline.project import find_root

    root = find_root()
    for run in kept.keep(root, folder, load(root / "params.yaml"), runs or [], dvc.changed(root)):
        if run.new:
            console.say(f"{run.key} is kept in {console.near((folder / str(run.key)).resolve())}")
        elif run.changed:
            console.say(f"{run.key} was kept before and is replaced: other {', '.join(run.changed)}")
        else:
            console.say(f"{run.key} is kept already")


def publish() -> None:
    """Mirror the files of all runs that are up to date into MLflow; doing it twice changes nothing.

    `absld repro` and `absld sweep` do it themselves: this is for what plain
    `dvc repro` made, or when MLflow failed. For git there is `absld keep`.

      absld publish
    """
    from absld.params.load import load
    from pipeline import console, dvc
    from pipeline.project import find_root
    from pipeline.publish import publish

    root = find_root()
    with _mlflow():
        left_out = publish(root, load(root / "params.yaml"), dvc.changed(root))
    if left_out:
        console.say(f"Not up to date and left out: {', '.join(left_out)}; `absld repro` makes them")
    console.say("MLflow shows what the files say: `absld ui`")


def promote(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Its key, like absld-s0.")],
    alias: Annotated[str, typer.Option(metavar="NAME", help="Of MLflow's registered model.")] = "champion",
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; kept in the record.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although a gate fails; recorded.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the gates and change nothing; exit code 1 if a gate fails.")
    ] = False,
) -> None:
    """Give a run the alias in MLflow's registry, if it passes every gate of export.gates; exit code 1 if not.

    Who, when, why, the gates and the previous holder are written to the version's tags and to promotions.jsonl.

      absld promote absld-s0 --reason "first to pass the gate for the worst class"
      absld promote absld-s0 --dry-run
    """
    from absld.params.load import load
    from pipeline import console, dvc, promote
    from pipeline.project import find_root

    promote.check_alias(alias)
    root = find_root()
    chosen = promote.candidate(root, load(root / "params.yaml"), run, dvc.changed(root))
    console.gates(run, chosen.judged)
    if chosen.failed and not force:
        console.refused(run, chosen.failed)
        raise typer.Exit(1)
    if not dry_run:
        with _mlflow():
            console.say(promote.promote(chosen, alias, reason))


@contextmanager
def _mlflow() -> Iterator[None]:
    """What MLflow, or waiting for it, ends in becomes InputError."""
    try:
        from filelock import Timeout
        from mlflow import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise InputError("MLflow is not installed: `make setup` installs it") from error
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise InputError(f"MLflow refuses: {error}") from error
    except Timeout as error:
        raise InputError("another command has been writing to MLflow for minutes: wait for it, or end it") from error
