"""What was set otherwise than in the paper, as far as a run's own files tell."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from absld.params.recipe import Method, OwnInput
from absld.params.root import Params
from absld.params.teacher import Teacher, TeacherRobustBench
from absld.records.attacks import AUTOATTACK, left_out_parts
from absld.records.layout import RunKey
from absld.records.numbers import number_text

SHARED = ("augmentation", "validation")
"""What all methods share of the section `train`, but for where the epoch is chosen."""
DISTANCES = ("eps", "step")
"""The last parts of keys whose values are distances between pixels: 8/255."""


@dataclass(frozen=True)
class Run:
    """One method with one seed, as its stages left it."""

    key: RunKey
    evaluation: Mapping[str, Any]
    """evaluation/evaluation.json"""
    state: Mapping[str, Any]
    """train/state.json"""
    card: Mapping[str, Any]
    """export/card.json"""


class Difference(NamedTuple):
    """One setting, by its key in params.yaml; those of `methods` without the method's name."""

    key: str
    ours: str
    theirs: str
    whose: str = "the paper's"

    def __str__(self) -> str:
        return f"{self.key}: {self.ours}, {self.whose} {self.theirs}"


def differences(runs: Sequence[Run], profile: Params, select_on: str) -> list[Difference] | None:
    """What differs between runs of one method and a profile that has the paper's settings.

    `select_on` is where the published codes choose the best epoch, whatever the profile says. None: the profile has no
    block of this method.
    """
    block: Method | None = getattr(profile.methods, runs[0].key.method, None)
    if block is None:
        return None
    theirs = _of_profile(profile, block, select_on)
    all_ours = [_of_run(run, profile, block) for run in runs]
    keys = dict.fromkeys(key for settings in (theirs, *all_ours) for key in settings)
    found = []
    for key in keys:
        paper = _text(key, theirs.get(key))
        ours = list(dict.fromkeys(_text(key, settings.get(key)) for settings in all_ours))
        if ours != [paper]:
            whose = "the published codes'" if key == "train.select_on" else "the paper's"
            found.append(Difference(key, " or ".join(ours), paper, whose))
    return found


def common(of: Mapping[str, Sequence[Difference]]) -> list[Difference]:
    """The differences that several methods have, every one of them."""
    if len(of) < 2:
        return []
    first, *others = of.values()
    return [difference for difference in first if all(difference in other for other in others)]


def _of_run(run: Run, profile: Params, block: Method) -> dict[str, Any]:
    measured, student = run.evaluation["attacks"], run.card["student"]
    mean_std = student["normalisation"]
    normalisation = mean_std and {"mean": mean_std[0], "std": mean_std[1]}
    attacks = {
        f"evaluate.attacks.{name}.{key}": _setting(measured[name]["settings"], key) if name in measured else value
        for name, settings in _attacks(profile).items()
        for key, value in settings.items()
    }
    return {
        "data.source": run.evaluation["dataset"],
        "student.architecture": student["architecture"],
        **_flat({"normalisation": normalisation}, "student."),
        **({"teacher": _teacher(run.card["teacher"]["source"])} if "teacher" in block.needs else {}),
        "train.select_on": run.state["select_on"],
        **_flat({name: run.state["train"][name] for name in SHARED}, "train."),
        "evaluate.eps": run.evaluation["threat_model"]["eps"],
        **attacks,
        **_flat({**run.state["settings"], "epochs": run.state["epochs"]}),
    }


def _of_profile(profile: Params, block: Method, select_on: str) -> dict[str, Any]:
    own = block.normalisation if isinstance(block, OwnInput) else None
    normalisation = own or profile.student.normalisation
    return {
        "data.source": profile.data.source,
        "student.architecture": profile.student.architecture,
        **_flat({"normalisation": normalisation and normalisation.model_dump()}, "student."),
        **({"teacher": _wanted(profile.teacher)} if "teacher" in block.needs else {}),
        "train.select_on": select_on,
        **_flat(profile.train.model_dump(include=set(SHARED)), "train."),
        "evaluate.eps": profile.evaluate.eps,
        **{
            f"evaluate.attacks.{name}.{key}": value
            for name, settings in _attacks(profile).items()
            for key, value in settings.items()
        },
        **_flat(block.model_dump(exclude_none=True)),
    }


def _setting(settings: Mapping[str, Any], key: str) -> Any:
    """As params.yaml has it; evaluation.json says of AutoAttack's parts what each found."""
    if key != "parts":
        return settings.get(key)
    return [part for part in AUTOATTACK if part not in left_out_parts(settings)]


def _attacks(profile: Params) -> dict[str, dict[str, Any]]:
    """How each attack is set; how many images it has is told elsewhere."""
    return {name: attack.model_dump(exclude={"n"}) for name, attack in profile.evaluate.attacks if attack is not None}


def _teacher(source: str) -> str:
    """What a card calls a teacher, without the paper that a model of RobustBench comes from."""
    return source.partition(":")[0] if source.startswith("RobustBench ") else source


def _wanted(teacher: Teacher) -> str:
    """What the card of this teacher calls it."""
    return f"RobustBench {teacher.model}" if isinstance(teacher, TeacherRobustBench) else teacher.source


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(key: str, value: Any) -> str:
    """A value as params.yaml would have it; what is not there is null there."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return number_text(value) if key.rpartition(".")[2] in DISTANCES else f"{value:g}"
        case list() | tuple():
            return f"[{', '.join(_text(key, item) for item in value)}]"
    return str(value)
