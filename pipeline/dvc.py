"""The only place that starts DVC: always as a program, never as a library, whose interface is not stable."""

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absld.errors import InputError, did_you_mean
from absld.params.yaml_file import read_yaml
from pipeline import dvc_files, processes
from stages.contracts import ALL
from stages.finished import FINISHED

DONE, FAILED, WRONG_INPUT = 0, 1, 2
SCRATCH, BROUGHT = Path(".absld/scratch"), Path(".absld/brought")
"""Unfinished work of the stages; networks that a method brings."""


def repro(
    root: Path, stages: Sequence[str] = (), *, force: bool = False, grace: float | None = None
) -> processes.Ended:
    """Run `dvc repro`. Nothing that it started is left when this returns.

    Raises:
        InputError: there is no such stage.

    """
    check_names(root, stages)
    dvc_files.mend(root)
    if force and not dvc_files.in_use(root):  # else DVC refuses, and what is at work keeps its checkpoints
        _forget(root, stages)
    command = [*_dvc("repro"), *(["--force"] if force else []), *stages]
    seconds = processes.GRACE_SECONDS if grace is None else grace
    ended = processes.run(command, cwd=root, env=environment(), grace=seconds)
    if ended.code == DONE and not stages:  # of others it may not be recorded yet
        shutil.rmtree(root / FINISHED, ignore_errors=True)
    return ended


def _forget(root: Path, stages: Sequence[str]) -> None:
    """Remove what the stages and all that they need would go on from, and of other runs nothing.

    No stages: all of them, and the networks that methods have brought.
    """
    for name in stages or [ALL[-1].name]:
        for pattern, folder in itertools.product(_work_of(name), (SCRATCH, FINISHED)):
            for work in (root / folder).glob(pattern):
                shutil.rmtree(work, ignore_errors=True)
    if not stages:
        shutil.rmtree(root / BROUGHT, ignore_errors=True)


def _work_of(name: str) -> list[str]:
    """Patterns of the folders that hold the work of a stage and of those that it needs."""
    last, _, axes = name.partition("@")
    order = [stage.name for stage in ALL]
    needed = ALL[: order.index(last) + 1] if last in order else ()  # none of a stage that the user has added
    method, _, seed = axes.rpartition("-")
    run = f"{method}-s{seed}-" if axes else ""
    return [f"{stage.name}-{run if stage.axes else ''}*" for stage in needed]


def of_one_run(names: Sequence[str]) -> list[str]:
    """The command that makes these stages, one after another, and none of those that they need.

    Several at once do not disturb each other: DVC lets go of its lock while a stage works, and each waits for it.
    """
    return [*_dvc("--wait-for-lock"), "repro", "--single-item", *names]


def changed(root: Path) -> dict[str, list[str]]:
    """Stages that differ from their last run, each with the reasons. Those that come after them are not named.

    Raises:
        InputError: DVC cannot read the project, or another command is at work in it; with DVC's own words.

    """
    dvc_files.mend(root)
    answer = subprocess.run([*_dvc("status"), "--json"], cwd=root, env=environment(), capture_output=True, text=True)
    if answer.returncode:
        said = answer.stderr.strip()
        if "is busy, it is being blocked by" in said:
            raise InputError(f"another command uses this project's files: wait for it, or end it\n{said}")
        raise InputError(f"dvc status fails: {said}")
    return {stage: list(_reasons(entries)) for stage, entries in json.loads(answer.stdout).items()}


def works_without_git(root: Path) -> bool:
    """Whether DVC was told to (`core.no_scm`); outside of a repository it refuses all else."""
    command = [*_dvc("config"), "core.no_scm"]
    answer = subprocess.run(command, cwd=root, env=environment(), capture_output=True, text=True)
    return answer.returncode == 0 and answer.stdout.strip().lower() == "true"


def stage_names(root: Path, params: Any = None) -> list[str]:
    """Every name that `dvc repro` takes: a stage, or one item of its matrix (``train@absld-0``).

    `params` is what params.yaml will say; None: what it says.
    """
    params = params or read_yaml(root / "params.yaml")
    names = []
    for name, stage in read_yaml(root / "dvc.yaml", anchors=True)["stages"].items():
        names.append(name)
        if matrix := stage.get("matrix"):
            axes = [_values(params, values) for values in matrix.values()]
            names += [f"{name}@{'-'.join(map(str, item))}" for item in itertools.product(*axes)]
    return names


def check_names(root: Path, stages: Sequence[str], params: Any = None) -> None:
    """Raise InputError, with the nearest name, unless there are these stages; `params` as for `stage_names`."""
    known = stage_names(root, params)
    for stage in stages:
        if stage not in known:
            hint = did_you_mean(stage, known) or f"there are {', '.join(n for n in known if '@' not in n)}"
            raise InputError(f"there is no stage {stage!r}: {hint}")


def _values(params: Any, values: Any) -> list[Any]:
    """The values of an axis: a list, or ``${runs.seeds}``."""
    if not isinstance(values, str):
        return list(values)
    node = params
    for key in values.removeprefix("${").removesuffix("}").split("."):
        node = node[key]
    return list(node)


def _reasons(entries: Sequence[Any]) -> list[str]:
    """``[{"changed deps": {"params.yaml": {"x": "modified"}}}]`` as ``params.yaml: x modified``."""
    reasons = []
    for entry in entries:
        if isinstance(entry, str):
            reasons.append(entry)
            continue
        for files in entry.values():
            for path, what in files.items():
                said = what if isinstance(what, str) else ", ".join(f"{key} {how}" for key, how in what.items())
                reasons.append(f"{path} {said}" if isinstance(what, str) else f"{path}: {said}")
    return reasons


def _dvc(command: str) -> list[str]:
    return [sys.executable, "-m", "dvc", command]


def environment() -> dict[str, str]:
    """Stages are started as `python`: it must be the one that runs now, though its environment is not activated."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    # a login shell of the user's may be none (nologin), or read files that set another PATH (tcsh)
    known = {"PATH": path, "SHELL": "/bin/sh", "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **known}
