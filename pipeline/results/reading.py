"""What `absld keep` put into one folder, read again, if it can stand in one table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from absld.errors import InputError
from absld.params.methods import Methods
from absld.params.yaml_file import read_yaml
from absld.records.attacks import ATTACKS
from absld.records.files import read_json, sha256_of
from absld.records.layout import RunKey
from absld.report.inputs import Run, RunFiles, read_run
from pipeline.kept import MADE, PARAMS, SHARED
from pipeline.pairing import UNLIKE, Measured


@dataclass(frozen=True, eq=False)
class Kept:
    """One run."""

    folder: Path
    run: Run
    made: Mapping[str, Any]
    """Its made.json."""
    params: Mapping[str, Any]
    """Its params.yaml, as it is written."""

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """Its evaluation.json."""
        return self.run.evaluation

    @property
    def after_last(self) -> Mapping[str, Any]:
        """By attack, what was measured with the weights of the last epoch; they may be those that were chosen."""
        is_last = self.run.state["best_epoch"] == self.run.state["epochs"]
        blocks: Mapping[str, Any] = self.evaluation["attacks" if is_last else "last"]
        return blocks

    @property
    def measured(self) -> Measured:
        """For the comparison image by image."""
        return Measured(str(self.run.key), self.folder / "evaluation.json", self.evaluation)


@dataclass(frozen=True, eq=False)
class Results:
    """The runs of one data set and one teacher."""

    folder: Path
    data: Mapping[str, Any]
    """The data set's card."""
    teacher: Mapping[str, Any]
    """The teacher's card."""
    kept: Sequence[Kept]
    """Method by method, in the order of params.yaml; seeds in theirs."""

    @property
    def name(self) -> str:
        """The folder's."""
        return self.folder.name

    @property
    def first(self) -> Mapping[str, Any]:
        """The evaluation of a run that speaks for all of them, but for the attacks."""
        return self.kept[0].evaluation

    @property
    def student(self) -> str:
        """The architecture of all students."""
        return str(self.kept[0].run.card["student"]["architecture"])

    @cached_property
    def by_method(self) -> dict[str, list[Kept]]:
        """The runs of each method."""
        found: dict[str, list[Kept]] = {}
        for kept in self.kept:
            found.setdefault(kept.run.key.method, []).append(kept)
        return found

    @cached_property
    def attacks(self) -> dict[str, Mapping[str, Any]]:
        """How each attack was set that any run met: its block in an evaluation.json."""
        met = {attack: block for kept in self.kept for attack, block in kept.evaluation["attacks"].items()}
        return {attack: met[attack] for attack in ATTACKS if attack in met}

    def shared_seeds(self, methods: Sequence[str], attack: str) -> list[int]:
        """The seeds with which all of these methods met the attack."""
        seeds = [set(self.of_seed(method, attack)) for method in methods]
        return sorted(set.intersection(*seeds))

    def run(self, method: str, seed: int) -> Kept:
        """The run of a method with a seed, which is there."""
        return next(kept for kept in self.by_method[method] if kept.run.key.seed == seed)

    def of_seed(self, method: str, attack: str) -> dict[int, Kept]:
        """The runs of a method that met the attack, by their seeds."""
        return {
            kept.run.key.seed: kept for kept in self.by_method.get(method, []) if attack in kept.evaluation["attacks"]
        }


def read_results(folder: Path) -> Results | None:
    """The runs that are kept in a folder; None if there are none.

    Raises:
        InputError: a file is missing or broken; or the runs were not made or measured alike.

    """
    places = [path.parent for path in folder.glob(f"*/{MADE}")]
    if not places:
        return None
    said = {place: sha256_of(place / PARAMS) for place in places if (place / PARAMS).is_file()}
    one_of_each = {sha256: place / PARAMS for place, sha256 in said.items()}
    params = {sha256: read_yaml(path) for sha256, path in one_of_each.items()}
    kept = [_read(place, params.get(said.get(place, ""))) for place in places]
    kept.sort(key=lambda each: _place(each.run.key))
    _check_agreement(kept)
    cards = [folder / name for name in SHARED]
    if not all(path.is_file() for path in cards):
        raise InputError(f"{folder} lacks {' or '.join(SHARED)}: `absld keep` writes them")
    data, teacher = map(read_json, cards)
    if kept[0].run.card["data"]["sha256"] != data["sha256"]:
        raise InputError(f"{cards[0]} is about other data than {kept[0].run.key} was made with: keep that run again")
    return Results(folder, data, teacher, kept)


def with_attacks(run: Run, attacks: Sequence[str]) -> Run:
    """The run as if it had been measured with these attacks alone, for what compares runs that met the same."""
    blocks = {attack: run.evaluation["attacks"][attack] for attack in attacks}
    return replace(run, evaluation={**run.evaluation, "attacks": blocks, "curves": None})


def _read(folder: Path, params: Mapping[str, Any] | None) -> Kept:
    method, _, seed = folder.name.rpartition("-s")
    if not seed.isdecimal():
        raise InputError(f"{folder} is not named like a run, such as absld-s0: rename it")
    key = RunKey(method, int(seed))
    files = RunFiles(*(folder / name for name in ("history.csv", "state.json", "evaluation.json", "card.json")))
    run = read_run(key, files)
    if (run.evaluation["method"], run.evaluation["seed"]) != key:
        raise InputError(f"{folder} holds the evaluation of {run.evaluation['run']}: keep {key} again")
    if params is None:
        raise InputError(f"{folder} has no {PARAMS}: keep {key} again")
    return Kept(folder, run, read_json(folder / MADE), params)


def _place(key: RunKey) -> tuple[int, str, int]:
    """Methods stand in the order of the parameters; one that is gone from them comes last."""
    known = list(Methods.model_fields)
    return (known.index(key.method) if key.method in known else len(known), *key)


def _check_agreement(kept: Sequence[Kept]) -> None:
    """Raise InputError unless the runs differ in method, seed and in which attacks they met, and in nothing else."""
    wanted: dict[str, tuple[Any, RunKey]] = {}
    for each in kept:
        for name, value in _conditions(each.run).items():
            known, key = wanted.setdefault(name, (value, each.run.key))
            if value != known:
                raise InputError(
                    f"{each.folder.parent}: {each.run.key} was made with {name} {json.dumps(value)}, {key} with "
                    f"{json.dumps(known)}: they cannot stand in one table. Make and keep them alike"
                )


def _conditions(run: Run) -> dict[str, Any]:
    evaluation, card = run.evaluation, run.card
    return {
        "student": card["student"]["architecture"],
        "teacher": card["teacher"],
        "data": card["data"]["sha256"],
        "test images": evaluation["provenance"]["data_sha256"],
        **{name: evaluation[name] for name in ("dataset", "classes", "threat_model")},
        **{
            f"attack {attack}": {
                "n": of["n"],
                **{key: of["settings"][key] for key in of["settings"] if key not in UNLIKE},
            }
            for attack, of in evaluation["attacks"].items()
        },
    }
