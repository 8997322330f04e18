"""The whole of params.yaml."""

from typing import Annotated

from pydantic import Field

from absld.params.base import Section, Seed
from absld.params.data import Data
from absld.params.evaluate import Evaluate
from absld.params.export import Export
from absld.params.methods import MethodName, Methods
from absld.params.networks import Student
from absld.params.teacher import Teacher
from absld.params.train import Train


class Runs(Section):
    """Which runs there are: every method with every seed. A run's key is <method>-s<seed>."""

    methods: Annotated[list[MethodName], Field(min_length=1)]
    seeds: Annotated[list[Seed], Field(min_length=1)]


class Report(Section):
    """The table and the figures over all runs."""

    baseline: MethodName | None
    """The method that the others are compared with; null: none."""


class Params(Section):
    """Everything that can be set."""

    data: Data
    teacher: Teacher
    student: Student
    runs: Runs
    train: Train
    methods: Methods
    evaluate: Evaluate
    export: Export
    report: Report
