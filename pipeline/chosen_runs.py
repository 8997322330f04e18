"""Which runs are compared where nobody names any: those of params.yaml that are evaluated and up to date."""

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absld.errors import InputError
from absld.params.load import load
from absld.records.layout import RunKey
from pipeline import dvc
from pipeline.compare import evaluated
from pipeline.publish import Stages, as_listed, item, keys
from stages.contracts import EVALUATE, FETCH_DATA, FETCH_TEACHER, TRAIN

MADE_BY = (FETCH_DATA, FETCH_TEACHER, TRAIN, EVALUATE)
"""What an evaluation depends on."""


class Chosen(NamedTuple):
    """Keys, and a sentence."""

    runs: list[str]
    remark: str | None
    """Which runs are not among them, and why; None: all are."""


def chosen(root: Path) -> Chosen:
    """The runs in the order of params.yaml; where that cannot be read, all in runs/."""
    there = evaluated(root)
    try:
        wanted = keys(load(root / "params.yaml"))
    except InputError:
        return Chosen(there, "All in runs/, as params.yaml cannot be read: see `absld params check`.")
    stages, stale = Stages(root), _stale(root)
    why = {key: "not evaluated" for key in wanted if str(key) not in there}
    why |= {key: "out of date" for key in wanted if key not in why and _is_old(stages, key, stale)}
    told = ", ".join(f"{key} ({reason})" for key, reason in why.items())
    left = [str(key) for key in wanted if key not in why]
    return Chosen(left, f"Left out: {told}; `absld repro` makes them." if why else None)


def _stale(root: Path) -> Mapping[str, Sequence[str]]:
    """What DVC says; nothing while another command is at work, when it says nothing."""
    try:
        return dvc.changed(root)
    except InputError:
        return {}


def _is_old(stages: Stages, key: RunKey, stale: Container[str]) -> bool:
    return any(item(stage, key) in stale or not as_listed(stages.opened(stage, key)) for stage in MADE_BY)
