"""What can be trained, and what it stands on."""

from typing import Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from absld.params.base import NonNegative, Positive, Section

Architecture = Literal[
    "resnet18",
    "preact_resnet18",
    "preact_resnet18_bare",
    "mobilenet_v2",
    "tiny_resnet8",
    "tiny_resnet16",
    "tiny_resnet32",
    "wrn_34_10",
    "dm_wrn_70_16",
]

SMALLEST_IMAGE = 8
"""Height and width, in pixels, that every architecture can take: three halvings leave one pixel."""


class Normalisation(Section):
    """(x − mean) / std, a value per channel, inside the network: images stay in [0, 1] everywhere else."""

    mean: list[NonNegative]
    std: list[Positive]

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.mean) != len(self.std):
            raise PydanticCustomError("normalisation", "mean and std must have as many values")
        return self


class Student(Section):
    """The network that is trained."""

    architecture: Architecture
    normalisation: Normalisation | None
    """null: none, as in all the published scripts but CFA's."""
