"""What makes two MLflow runs the same run: never a name or a time, always what the result is a result of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from absld.params.root import Params
from absld.records.files import digest, read_json, sha256_of
from absld.records.layout import RunKey


class TrainStage(Protocol):
    """What is asked of the opened train stage."""

    @property
    def root(self) -> Path:
        """The project's folder."""

    @property
    def run(self) -> RunKey:
        """Method and seed."""

    @property
    def params(self) -> Params:
        """At least `student`, `train` and the method's own block."""

    @property
    def reads(self) -> Mapping[str, Path]:
        """The files it reads, by name."""

    @property
    def fingerprint(self) -> str:
        """Parameters, files and code in one hash."""


@dataclass(frozen=True)
class Identity:
    """A run of MLflow and the experiment and pipeline that it belongs to."""

    experiment: str
    run: str
    """<method>-s<seed>"""
    fingerprint: str
    """Parameters, inputs and code of the train stage."""
    pipeline: str
    """Data, teacher and student: what the runs of one parent share."""
    params: Mapping[str, Any]
    tags: Mapping[str, str]


def identity(stage: TrainStage) -> Identity:
    """Who the run of an opened train stage is; the same after a resume and when its files are replayed."""
    method, seed = stage.run
    data, teacher = read_json(stage.reads["card"]), read_json(stage.reads["teacher_card"])
    student, train = stage.params.student, stage.params.train
    block = getattr(stage.params.methods, method).model_dump()
    shared = [sha256_of(stage.reads["card"]), sha256_of(stage.reads["teacher"]), student.model_dump()]
    tags = {"dataset": data["name"], "teacher": teacher["architecture"], "select_on": train.select_on}
    if train.select_on == "test":
        tags["test-selected"] = "true"
    return Identity(
        experiment=f"{data['name']}-{student.architecture}",
        run=str(stage.run),
        fingerprint=stage.fingerprint,
        pipeline=digest(shared),
        params={
            "method": {"name": method, **block},
            "seed": seed,
            "student": student.model_dump(),
            "train": train.model_dump(),
        },
        tags=tags,
    )
