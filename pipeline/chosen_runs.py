"""Which runs stand for the project, or for a method: those of params.yaml that are evaluated and up to date."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absld.errors import InputError
from absld.params.load import load
from absld.records.layout import RunKey
from pipeline import dvc
from pipeline.evaluations import evaluated
from pipeline.publish import Stages, as_listed, item, keys
from stages.contracts import EVALUATE, FETCH_DATA, FETCH_TEACHER, TRAIN

MADE_BY = (FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE)
"""What an evaluation depends on."""
MEND = "`absld repro` makes what params.yaml names; a run that you name yourself is compared as it is"


class Chosen(NamedTuple):
    """Keys, and a sentence."""

    runs: list[str]
    remark: str | None
    """Which runs are not among them, and why; None: all are."""


def chosen(root: Path, named: Sequence[str] = ()) -> Chosen:
    """The runs in the order of params.yaml; where that cannot be read, all in runs/.

    `named`: only runs of the methods among these names. The remark then tells of those too that params.yaml lacks.

    Raises:
        InputError: no run of such a method is left.

    """
    methods = {name.rstrip("/") for name in named} & set(map(_method, evaluated(root)))
    if named and not methods:
        return Chosen([], None)
    there = [run for run in evaluated(root) if not named or _method(run) in methods]
    try:
        wanted = [key for key in keys(load(root / "params.yaml")) if not named or key.method in methods]
    except InputError:
        return Chosen(there, "All in runs/, as params.yaml cannot be read: see `absld params check`.")
    stages, stale = Stages(root), _stale(root)
    why = {str(key): "not evaluated" for key in wanted if str(key) not in there}
    why |= {str(key): "out of date" for key in wanted if str(key) in there and _is_old(stages, key, stale)}
    left = [str(key) for key in wanted if str(key) not in why]
    if named:
        why |= {run: "not in params.yaml" for run in there if run not in (*left, *why)}
    told = ", ".join(f"{run} ({reason})" for run, reason in why.items())
    if lost := methods - set(map(_method, left)):
        raise InputError(f"no run of {' and '.join(sorted(lost))} is in params.yaml and up to date: {told}. {MEND}")
    return Chosen(left, f"Left out: {told}. {MEND}." if why else None)


def _method(run: str) -> str:
    return run.rpartition("-s")[0]


def _stale(root: Path) -> Mapping[str, Sequence[str]]:
    """What DVC says; nothing while another command is at work, when it says nothing."""
    try:
        return dvc.changed(root)
    except InputError:
        return {}


def _is_old(stages: Stages, key: RunKey, stale: Container[str]) -> bool:
    return any(item(stage, key) in stale or not as_listed(stages.opened(stage, key)) for stage in MADE_BY)
