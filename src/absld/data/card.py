"""What a fetched data set is, as card.json says it. Nothing here imports torch: the report reads cards too."""

from dataclasses import asdict, dataclass
from pathlib import Path

from absld.records.files import read_json, write_json

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Card:
    """Where the images came from and what they are."""

    name: str
    """The source's name; an image folder's is in params.yaml, or ``image-folder-`` and the folder's own."""
    classes: list[str]
    """A class's id is its place in this list."""
    class_names: str
    """What the names of the classes are."""
    channels: int
    size: int
    """Height and width, in pixels."""
    counts: dict[str, dict[str, int]]
    """Images of each split and class."""
    sha256: dict[str, str]
    """Of each array file, by its name."""
    source: str
    licence: str
    validation: str
    """How the validation split was taken."""
    folder_sha256: str | None
    """What an image folder held (`absld.data.folders.digest`); None for the other sources."""


def write_card(path: Path, card: Card) -> None:
    """Write card.json."""
    write_json(path, asdict(card))


def read_card(path: Path) -> Card:
    """Read what `write_card` wrote."""
    return Card(**read_json(path))
