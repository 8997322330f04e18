"""Reading the runs that a report is about, and refusing those that cannot stand in one table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from absld.errors import InputError
from absld.records.files import read_json
from absld.records.history import Row, read_history
from absld.records.layout import RunKey
from absld.report.completeness import CARD, EVALUATION, STATE, Shape, missing


class RunFiles(NamedTuple):
    """Where the files of one run lie."""

    history: Path
    state: Path
    evaluation: Path
    card: Path


SWEEPS = ("eps", "steps")
"""What evaluation.json's `curves` were measured against: the radius of the ball, the number of PGD's steps."""
MADE_BY = RunFiles(*map(Path, ("train", "train", "evaluate", "export")))
"""The stage that makes each of them."""


@dataclass(frozen=True)
class Run:
    """One method with one seed, as its stages left it."""

    key: RunKey
    history: Sequence[Row]
    state: Mapping[str, Any]
    """train/state.json"""
    evaluation: Mapping[str, Any]
    """evaluation/evaluation.json"""
    card: Mapping[str, Any]
    """export/card.json"""


ByMethod = Mapping[str, Sequence[Run]]
"""The runs of each method, one a seed."""


def group_by_method(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """The runs of each method, in their order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.key.method, []).append(run)
    return found


def first_of(by_method: ByMethod) -> Run:
    """A run that speaks for all of them, once `check_agreement` has found that they were measured alike."""
    return next(iter(by_method.values()))[0]


def several_seeds(by_method: ByMethod) -> bool:
    """Whether any method has more than one run."""
    return any(len(runs) > 1 for runs in by_method.values())


def read_run(key: RunKey, files: RunFiles) -> Run:
    """Read one run. A file that is missing, broken or too old raises InputError with the command that makes it."""
    for path, stage in zip(files, MADE_BY, strict=True):
        if not path.is_file():
            raise InputError(f"{path} is missing: {_how_to_make(key, str(stage))}")
    return Run(
        key=key,
        history=_read_history(key, files.history),
        state=_read_json(key, files.state, "train", STATE),
        evaluation=_read_json(key, files.evaluation, "evaluate", EVALUATION),
        card=_read_json(key, files.card, "export", CARD),
    )


def check_agreement(runs: Sequence[Run]) -> None:
    """Raise InputError unless all runs were measured in the same way on the same images."""
    reference = runs[0]
    for run in runs[1:]:
        for name, value in _conditions(run).items():
            wanted = _conditions(reference)[name]
            if value != wanted:
                raise InputError(
                    f"{run.key} was measured with {name} {json.dumps(value)}, {reference.key} with "
                    f"{json.dumps(wanted)}: they cannot stand in one table. Make them again with `absld repro`"
                )


def settings_of(block: Mapping[str, Any]) -> dict[str, Any]:
    """How an attack was set, without what AutoAttack's parts found, which evaluation.json has in the same place."""
    return {name: value for name, value in block["settings"].items() if name != "parts"}


def _conditions(run: Run) -> dict[str, Any]:
    measured = run.evaluation["attacks"]
    return {
        "student": run.card["student"]["architecture"],
        "dataset": run.evaluation["dataset"],
        "classes": run.evaluation["classes"],
        "threat_model": run.evaluation["threat_model"],
        "attacks": {attack: {"n": of["n"], "settings": settings_of(of)} for attack, of in measured.items()},
        "curves": {
            kind: [
                [point["value"], point["n"], point["settings"]]
                for point in (run.evaluation["curves"] or {}).get(kind, [])
            ]
            for kind in SWEEPS
        },
    }


def _how_to_make(key: RunKey, stage: str) -> str:
    return f"run `absld repro`, or this step alone: `python -m stages.{stage} {key.method} {key.seed}`"


def _read_json(key: RunKey, path: Path, stage: str, shape: Shape) -> dict[str, Any]:
    try:
        content: dict[str, Any] = read_json(path)
    except ValueError:
        raise InputError(f"{path} is no JSON: {_how_to_make(key, stage)}") from None
    lacks = next(missing(content, shape), None)
    if lacks is not None:
        raise InputError(
            f"{path} has no {lacks}: another version of absld wrote it. Make {key} again or take its folder away: "
            f"{_how_to_make(key, stage)}"
        )
    return content


def _read_history(key: RunKey, path: Path) -> list[Row]:
    try:
        return read_history(path)
    except (ValueError, StopIteration):
        raise InputError(f"{path} is no history of epochs: {_how_to_make(key, 'train')}") from None
