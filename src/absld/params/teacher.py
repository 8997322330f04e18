"""Where the robust teacher comes from."""

from typing import Annotated, Literal

from pydantic import Field

from absld.params.base import PixelDistance, Section, Seed, Sha256
from absld.params.methods import OneMethod
from absld.params.networks import Architecture, Normalisation
from absld.params.train import Augmentation


class _Teacher(Section):
    eps: PixelDistance
    """Radius of the PGD-20 attack that the teacher's card reports, on pixels in [0, 1]; its step is a quarter of it."""


class _Stored(_Teacher):
    architecture: Architecture
    normalisation: Normalisation | None
    """What the network does to its input before the first layer; null: nothing."""


class TeacherFile(_Stored):
    """Weights in a file: safetensors, or what torch.save wrote (opened with weights_only)."""

    source: Literal["file"]
    path: str
    """The file, relative to params.yaml."""
    sha256: Sha256 | None
    """null: any; the card records what it was."""


class TeacherUrl(_Stored):
    """Weights behind an address: fetched once, opened only after the sha256 matched."""

    source: Literal["url"]
    url: Annotated[str, Field(pattern=r"^(https?|file)://")]
    sha256: Sha256


class TeacherRobustBench(_Teacher):
    """A model of RobustBench by its id, for the L∞ threat model.

    Zhang2019Theoretically on CIFAR-10 and Gowal2020Uncovering on CIFAR-100, the paper's two, need nothing else; any
    other needs the extra: `.venv/bin/uv pip install -e ".[robustbench]"`.
    """

    source: Literal["robustbench"]
    model: str
    """RobustBench's id."""


class TeacherTrained(_Teacher):
    """A teacher trained here, by any of the methods that need none themselves."""

    source: Literal["train"]
    architecture: Architecture
    normalisation: Normalisation | None
    seed: Seed
    augmentation: Augmentation
    method: OneMethod
    """The block of one method, under its name."""


Teacher = Annotated[TeacherFile | TeacherUrl | TeacherRobustBench | TeacherTrained, Field(discriminator="source")]
