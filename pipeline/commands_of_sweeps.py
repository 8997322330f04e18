"""The command that makes many runs at once: `absld sweep`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from absld.errors import InputError
from pipeline.commands_of_params import Profile, Set

if TYPE_CHECKING:
    from absld.params.root import Params
    from pipeline.sweep import Worker

MOST_SEEDS = 10_000


def sweep(
    methods: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Like rslad,absld; runs.methods of params.yaml from now on.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="Like 0,1,2 or 0-4; runs.seeds of params.yaml from now on.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Runs at a time. Default: one for each GPU, one without.")
    ] = None,
    profile: Profile = None,
    assignments: Set = None,
) -> None:
    """Make all runs of params.yaml, a worker for each GPU; on a CPU with `--workers 2` two share the cores.

    It goes on past runs that fail: they cost the others nothing, but the exit
    code is 1. What is made already is not made again: the same command goes
    on where it was ended.

      absld sweep --seeds 0-4
      absld sweep --profile cifar10 --methods rslad,absld --seeds 0,1,2
      absld sweep --workers 2
    """
    from pipeline import console, dvc, outcome, processes, profiles, sweep
    from pipeline.project import find_root

    root = find_root()
    chosen = [*(assignments or []), *_lists(methods, seeds)]
    places: list[Worker] = []
    with sweep.alone(root):
        console.left_over(processes.end_left_over(root))
        params, kept = profiles.configure(
            root, profile, chosen, also_check=lambda new: places.extend(_workers(root, new, workers))
        )
        if kept is not None:
            console.say(f"Your params.yaml is kept as {kept.name}")
        outcome.forget_failure(root)
        ended = dvc.repro(root, sweep.SHARED)
        if code := outcome.exit_code(root, ended):
            console.failed(outcome.failure(root), code)
            raise typer.Exit(code)
        raise typer.Exit(_runs(root, params, places))


def _runs(root: Path, params: "Params", places: "list[Worker]") -> int:
    """Make the runs, then the report and MLflow's mirror. Returns the exit code."""
    from pipeline import console, dvc, outcome, sweep
    from pipeline.publish import keys, mirror, settle
    from pipeline.sweep_progress import Progress
    from stages.contracts import REPORT

    todo = sweep.unfinished(params, dvc.changed(root))
    console.say(f"\n{len(todo)} of {len(keys(params))} runs to make; {', '.join(place.name for place in places)}")
    with Progress(len(todo), len(places)) as progress:
        swept, told, killed = sweep.run(root, todo, places, progress)
    if told is not None:
        if killed:
            settle(root)
        console.stopped(swept)
        return 128 + told
    code = 1 if swept.failed else outcome.exit_code(root, dvc.repro(root, [REPORT.name]))
    if code > 128:
        console.failed(None, code)
        return code
    stale = dvc.changed(root)
    mirror(root, params, stale)
    if swept.failed:
        console.failures(swept.failed)
    elif code:
        console.failed(outcome.failure(root), code)
    else:
        console.results(root, params, stale)
    return code


def _workers(root: Path, params: "Params", number: int | None) -> "list[Worker]":
    """Who makes the runs.

    Raises:
        InputError: a run wants several GPUs, and gets one.

    """
    from pipeline import preflight, sweep

    found = [] if params.train.device == "cpu" else preflight.devices(root)["cuda"]
    assert isinstance(found, list)
    processes = params.train.processes
    if found and processes != "auto" and processes > 1:
        raise InputError(
            f"train.processes: {processes}: each takes a GPU, and each run of a sweep has one: set it to auto "
            "(the teacher is then trained on all GPUs), or let `absld repro` make the runs one after another"
        )
    return sweep.workers(found, number)


def _lists(methods: str | None, seeds: str | None) -> list[str]:
    """The two lists as `KEY=VALUE`."""
    found = []
    if methods is not None:
        found.append(f"runs.methods=[{', '.join(name.strip() for name in methods.split(','))}]")
    if seeds is not None:
        numbers = [seed for part in seeds.split(",") for seed in _seeds(part.strip())]
        if len(numbers) > MOST_SEEDS:
            raise InputError(f"--seeds {seeds}: {len(numbers):,} seeds, and {MOST_SEEDS:,} are the most")
        found.append(f"runs.seeds={numbers}")
    return found


def _seeds(part: str) -> list[int]:
    """One seed, or a range of which both ends count."""
    match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", part)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise InputError(f"--seeds {part}: write whole numbers from 0, like 0,1,2 or 0-4")
    first, last = int(match[1]), int(match[2] or match[1])
    if last >= 2**31 or last - first >= MOST_SEEDS:
        raise InputError(f"--seeds {part}: seeds are below {2**31:,}, and {MOST_SEEDS:,} of them are the most")
    return list(range(first, last + 1))
