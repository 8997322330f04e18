"""Where images come from, and what is known of each public data set before anything is fetched."""

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from absld.params.base import Count, Section, Seed


class Facts(NamedTuple):
    """What a data set is: checked against the other sections before anything is fetched."""

    classes: int
    channels: int
    size: int
    """Height and width, in pixels."""
    smallest_class: int
    """Training images of the smallest class, before the validation split."""


FACTS = {
    "digits": Facts(classes=10, channels=1, size=8, smallest_class=139),
    "cifar10": Facts(classes=10, channels=3, size=32, smallest_class=5000),
    "cifar100": Facts(classes=100, channels=3, size=32, smallest_class=500),
    "fashion-mnist": Facts(classes=10, channels=1, size=28, smallest_class=6000),
    "svhn": Facts(classes=10, channels=3, size=32, smallest_class=4659),
}


class _Data(Section):
    validation_per_class: Count
    """Images of each class that are taken out of the training set for the validation split."""
    train_per_class: Count | None
    """Images of each class that teacher and students are trained on, at most; None: all the others."""
    split_seed: Seed
    """Seed of both choices."""


class Digits(_Data):
    """1,797 real 8x8 images of handwritten digits that scikit-learn carries: no network is needed."""

    source: Literal["digits"]


class Public(_Data):
    """A public data set with torchvision's addresses and checksums."""

    source: Literal["cifar10", "cifar100", "fashion-mnist", "svhn"]
    root: str | None
    """A folder that holds the archives already (relative to params.yaml); null: download them."""


class ImageFolder(_Data):
    """Your own images: ROOT/train/<class>/* and ROOT/test/<class>/*, any size, colour or grey."""

    source: Literal["image-folder"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")] | None
    """What tables, figures and cards call the images; null: ``image-folder-`` and the folder's own name."""
    root: str
    """The folder, relative to params.yaml."""
    image_size: Annotated[int, Field(ge=8, le=1024)]
    """Height and width that every image is resized to (the shorter side, then the centre is cropped), in pixels."""
    channels: Literal[1, 3]
    """1: grey; 3: colour."""


Data = Annotated[Digits | Public | ImageFolder, Field(discriminator="source")]
