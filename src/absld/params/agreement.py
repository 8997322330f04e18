"""What must hold between sections: each was right by itself, together they must make sense."""

from collections.abc import Iterator
from typing import NamedTuple

from absld.params.data import FACTS, Facts, ImageFolder
from absld.params.networks import SMALLEST_IMAGE, Normalisation
from absld.params.root import Params
from absld.params.teacher import TeacherRobustBench, TeacherTrained


class Disagreement(NamedTuple):
    """A key that does not fit the rest, and why."""

    keys: tuple[str | int, ...]
    message: str


TEACHES_ITSELF = ("trades",)
"""Methods that need no teacher, so that a teacher can be trained with them."""
ROBUSTBENCH_DATA = {"Zhang2019Theoretically": "cifar10", "Gowal2020Uncovering": "cifar100"}
"""The paper's two teachers and what they were trained on."""


def disagreements(params: Params) -> Iterator[Disagreement]:
    """Everything that can be known before a file is opened."""
    yield from _runs(params)
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
    for section, normalisation in _normalisations(params):
        if normalisation is not None and len(normalisation.mean) != facts.channels:
            yield Disagreement(
                (section, "normalisation"),
                f"{len(normalisation.mean)} values, but the images have {facts.channels} channel(s)",
            )


def _runs(params: Params) -> Iterator[Disagreement]:
    for name in ("methods", "seeds"):
        listed = getattr(params.runs, name)
        for index, value in enumerate(listed):
            if value in listed[:index]:
                yield Disagreement(("runs", name, index), f"{value!r} is listed twice")
    baseline = params.report.baseline
    if baseline is not None and baseline not in params.runs.methods:
        yield Disagreement(("report", "baseline"), f"{baseline!r} is not in runs.methods: add it there or write null")


def _teacher(params: Params) -> Iterator[Disagreement]:
    teacher = params.teacher
    if isinstance(teacher, TeacherTrained):
        name = chosen_method(teacher)
        if name not in TEACHES_ITSELF:
            yield Disagreement(
                ("teacher", "method", name),
                f"{name} needs a teacher itself: train the teacher with one of {', '.join(TEACHES_ITSELF)}",
            )
    if isinstance(teacher, TeacherRobustBench):
        wanted = ROBUSTBENCH_DATA.get(teacher.model, params.data.source)
        if params.data.source != wanted:
            yield Disagreement(
                ("teacher", "model"), f"{teacher.model} was trained on {wanted}, data.source is {params.data.source}"
            )


def chosen_method(teacher: TeacherTrained) -> str:
    """The name of the method that trains the teacher."""
    return next(name for name, block in teacher.method if block is not None)


def _normalisations(params: Params) -> Iterator[tuple[str, Normalisation | None]]:
    yield "student", params.student.normalisation
    if not isinstance(params.teacher, TeacherRobustBench):
        yield "teacher", params.teacher.normalisation
