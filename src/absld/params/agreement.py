"""What must hold between sections: each was right by itself, together they must make sense."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from absld.params.adversarial import SatSoft, TrainedHere
from absld.params.base import Section
from absld.params.data import FACTS, Facts, ImageFolder
from absld.params.distillation import CleanTeacher
from absld.params.methods import Methods
from absld.params.networks import SMALLEST_IMAGE, Normalisation
from absld.params.recipe import AdversarialMethod, Method, OwnInput
from absld.params.root import Params
from absld.params.teacher import TeacherRobustBench, TeacherTrained


class Disagreement(NamedTuple):
    """A key that does not fit the rest, and why."""

    keys: tuple[str | int, ...]
    message: str


ROBUSTBENCH_DATA = {"Zhang2019Theoretically": "cifar10", "Gowal2020Uncovering": "cifar100"}
"""The paper's two teachers and what they were trained on."""


BLOCKS: dict[str, type[Method]] = {
    name: next(kind for kind in get_args(field.annotation) if issubclass(kind, Method))
    for name, field in Methods.model_fields.items()
}
"""Method to the class of its block."""


def disagreements(params: Params) -> Iterator[Disagreement]:
    """Everything that can be known before a file is opened."""
    yield from _twice(params)
    yield from _runs(params)
    yield from _blocks(params)
    yield from _starts(params)
    yield from _teacher(params)
    facts = None if isinstance(params.data, ImageFolder) else FACTS[params.data.source]
    if facts is not None:
        yield from against_data(params, facts)


def against_data(params: Params, facts: Facts) -> Iterator[Disagreement]:
    """What depends on the images; for an image folder `facts` are counted first."""
    if params.data.validation_per_class >= facts.smallest_class:
        yield Disagreement(
            ("data", "validation_per_class"),
            f"{params.data.validation_per_class} images a class cannot be taken out: the smallest class has "
            f"{facts.smallest_class} training images, and at least one must be left",
        )
    if facts.size < SMALLEST_IMAGE:
        yield Disagreement(
            ("student", "architecture"),
            f"{params.student.architecture} takes images of {SMALLEST_IMAGE}x{SMALLEST_IMAGE} pixels or more, "
            f"these have {facts.size}x{facts.size}: set data.image_size to {SMALLEST_IMAGE} or more",
        )
    yield from _hard_classes(params, facts)
    yield from _parts(params, facts)
    yield from _too_few(params, facts)
    for keys, normalisation in _normalisations(params):
        if normalisation is not None and len(normalisation.mean) != facts.channels:
            yield Disagreement(
                (*keys, "normalisation"),
                f"{len(normalisation.mean)} values, but the images have {facts.channels} channel(s)",
            )


def _runs(params: Params) -> Iterator[Disagreement]:
    baseline = params.report.baseline
    if baseline is not None and baseline not in params.runs.methods:
        yield Disagreement(("report", "baseline"), f"{baseline!r} is not in runs.methods: add it there or write null")


def _twice(params: Params) -> Iterator[Disagreement]:
    from absld.records.numbers import number_text  # no stage that trains depends on it

    lists: dict[tuple[str, ...], Sequence[object]] = {
        ("runs", "methods"): params.runs.methods,
        ("runs", "seeds"): params.runs.seeds,
    }
    if params.evaluate.attacks.aa is not None:
        lists["evaluate", "attacks", "aa", "parts"] = params.evaluate.attacks.aa.parts
    if params.evaluate.curves is not None:  # a radius is known by its text
        lists["evaluate", "curves", "eps"] = [number_text(eps) for eps in params.evaluate.curves.eps]
    for keys, listed in lists.items():
        for index, value in enumerate(listed):
            if value in listed[:index]:
                yield Disagreement((*keys, index), f"{value!r} is listed twice")


def _teacher(params: Params) -> Iterator[Disagreement]:
    teacher = params.teacher
    if isinstance(teacher, TeacherTrained):
        name, block = chosen_method(teacher)
        if not trains_a_teacher(type(block)):
            why = (
                f"needs a {' and a '.join(block.needs)} itself".replace("_", " ")
                if block.needs
                else "makes no robust teacher"
            )
            able = ", ".join(name for name, kind in BLOCKS.items() if trains_a_teacher(kind))
            yield Disagreement(("teacher", "method", name), f"{name} {why}: train the teacher with one of {able}")
    if isinstance(teacher, TeacherRobustBench):
        wanted = ROBUSTBENCH_DATA.get(teacher.model, params.data.source)
        if params.data.source != wanted:
            yield Disagreement(
                ("teacher", "model"), f"{teacher.model} was trained on {wanted}, data.source is {params.data.source}"
            )


def chosen_method(trained: TeacherTrained | TrainedHere) -> tuple[str, Method]:
    """The name and the block of the method that trains a network."""
    return next((name, block) for name, block in trained.method if block is not None)


def brought(block: Method) -> dict[str, Section]:
    """What a block says about the networks that its method brings, by their names."""
    return {name: getattr(block, name) for name in block.needs if name != "teacher"}


def trainers(block: Method) -> list[str]:
    """The methods that train the networks which a method brings."""
    origins = [section.origin if isinstance(section, CleanTeacher) else section for section in brought(block).values()]
    return [chosen_method(origin)[0] for origin in origins if isinstance(origin, TrainedHere)]


def trains_a_teacher(kind: type[Method]) -> bool:
    """Whether a method makes a robust network and needs no other one for it."""
    return issubclass(kind, AdversarialMethod) and not kind.needs


def _blocks(params: Params) -> Iterator[Disagreement]:
    for index, name in enumerate(params.runs.methods):
        if getattr(params.methods, name) is None:
            yield Disagreement(
                ("runs", "methods", index),
                f"{name!r} has no block in `methods`: copy it from a profile (`absld profile list`)",
            )


def _starts(params: Params) -> Iterator[Disagreement]:
    for name, block in params.methods:
        start = getattr(block, "start", None)
        if isinstance(start, TrainedHere) and not isinstance(chosen_method(start)[1], AdversarialMethod):
            trainer = chosen_method(start)[0]
            yield Disagreement(
                ("methods", name, "start", "method", trainer), f"{trainer} makes no robust model to start from"
            )


def _parts(params: Params, facts: Facts) -> Iterator[Disagreement]:
    from absld.records.attacks import TARGETED_APGD_CLASSES, possible_parts  # no stage that trains depends on it

    aa = params.evaluate.attacks.aa
    if aa is not None and not set(aa.parts) & set(possible_parts(facts.classes)):
        yield Disagreement(
            ("evaluate", "attacks", "aa", "parts"),
            f"APGD-T needs {TARGETED_APGD_CLASSES} classes, and there are {facts.classes}: add another part",
        )


def _too_few(params: Params, facts: Facts) -> Iterator[Disagreement]:
    attacks, curves = params.evaluate.attacks, params.evaluate.curves
    counts = {f"attacks.{name}": attack.n for name, attack in attacks if attack is not None}
    if curves is not None:
        counts["curves"] = curves.n
    for where, n in counts.items():
        if n is not None and n < facts.classes:
            yield Disagreement(
                ("evaluate", *where.split("."), "n"),
                f"{n} images are fewer than the {facts.classes} classes, and each needs one for its accuracy: take at "
                "least as many",
            )


def _hard_classes(params: Params, facts: Facts) -> Iterator[Disagreement]:
    for name, block in params.methods:
        for index, label in enumerate(block.hard_classes if isinstance(block, SatSoft) else ()):
            if label >= facts.classes:
                yield Disagreement(
                    ("methods", name, "hard_classes", index),
                    f"{label} is no class: there are {facts.classes}, counted from 0",
                )


def _normalisations(params: Params) -> Iterator[tuple[tuple[str, ...], Normalisation | None]]:
    yield ("student",), params.student.normalisation
    if not isinstance(params.teacher, TeacherRobustBench):
        yield ("teacher",), params.teacher.normalisation
    for name, block in params.methods:
        if block is not None:
            if isinstance(block, OwnInput):
                yield ("methods", name), block.normalisation
            for key, section in brought(block).items():
                if isinstance(section, CleanTeacher):
                    yield ("methods", name, key), section.normalisation
