"""Test images in a folder that the user names: one that was fetched, or one with a folder for each class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from absld.data.card import Card
from absld.data.dataset import Split, read_card, read_split
from absld.data.folders import digest, part_of
from absld.data.images import UNREADABLE, read_images
from absld.errors import InputError
from absld.records.files import replacing, sha256_of

WHERE = "--data"
X, Y, CARD = "test_x.npy", "test_y.npy", "card.json"
GREY = ("1", "L", "LA", "La", "I", "F")
"""Pillow's modes without colour; those of 16 bits begin with I;16."""


@dataclass(frozen=True)
class Given:
    """A folder of test images, looked at but not yet read."""

    folder: Path
    card: Card
    paths: Sequence[Path] | None
    """The image files, class after class; None: the folder holds the arrays that `absld.data.fetch` writes."""

    @cached_property
    def sha256(self) -> dict[str, str]:
        """What the images are, before they are read."""
        if self.paths is None:
            return {name: sha256_of(self.folder / name) for name in (X, Y)}
        return {"folder": str(self.card.folder_sha256)}

    def ordered(self, classes: Sequence[str] | None) -> "Given":
        """The same with the classes in the order of a network that knows their names; None: it does not.

        Raises:
            InputError: the network has other classes.

        """
        own = self.card.classes
        if classes is None or list(classes) == own:
            return self
        if self.paths is None or sorted(classes) != own:
            alone = [f"{name!r}" for name in own if name not in classes]
            lacking = [f"{name!r}" for name in classes if name not in own]
            told = f"has {', '.join(alone[:5])}" if alone else f"lacks {', '.join(lacking[:5])}" if lacking else ""
            raise InputError(
                f"{self.folder}: its classes are not those of the network, in their order: it "
                f"{told or 'orders them otherwise'}. Name the folders after the network's classes: "
                f"{', '.join(classes[:20])}{' ...' if len(classes) > 20 else ''}"
            )
        counts = self.card.counts["test"]
        of_class = {name: [path for path in self.paths if path.parent.name == name] for name in classes}
        card = replace(self.card, classes=list(classes), counts={"test": {name: counts[name] for name in classes}})
        return Given(self.folder, card, [path for name in classes for path in of_class[name]])

    def split(self, scratch: Path) -> tuple[Split, list[Path]]:
        """The images with their labels, and the two files that they lie in: below `scratch` if they must be written.

        Raises:
            InputError: a file is no image that Pillow reads.

        """
        folder = self.folder if self.paths is None else scratch
        files = [folder / X, folder / Y]
        if self.paths is not None and not all(file.is_file() for file in files):
            size, channels, counts = self.card.size, self.card.channels, self.card.counts["test"]
            with replacing(files[0]) as part:
                out = open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(self.paths), size, size, channels))
                read_images(self.paths, out)
                out.flush()
            with replacing(files[1]) as part, part.open("wb") as file:
                np.save(file, np.repeat(np.arange(len(counts), dtype=np.int64), list(counts.values())))
        return read_split(*files), files


def look_at(folder: Path, size: int | None = None, channels: int | None = None) -> Given:
    """See what the folder holds.

    Args:
        folder: With card.json and the arrays beside it, or with class folders (in a folder `test`, or directly).
        size: Height and width that image files are brought to; None: as they are.
        channels: 1 or 3, as above; None: 1 if all are grey.

    Raises:
        InputError: there is no such folder or it is neither; arrays do not fit their card; image files are of several
            sizes, or not square, and `size` is None.

    """
    if not folder.is_dir():
        raise InputError(f"{WHERE}: there is no folder {folder}: correct the path")
    if (folder / CARD).is_file():
        if size is not None or channels is not None:
            raise InputError(f"{WHERE} {folder}: its images have their size: --size and --channels are for image files")
        return Given(folder, _card_of_arrays(folder), None)
    listing = part_of(folder, WHERE)
    images = listing.files["test"]
    paths = [path for of_class in images for path in of_class]
    if size is None or channels is None:
        found = _as_they_are(folder, paths, sizes=size is None)
        size, channels = size or found[0], channels or found[1]
    card = Card(
        name=f"image-folder-{folder.resolve().name}",
        classes=listing.classes,
        class_names="the names of the class folders",
        channels=channels,
        size=size,
        counts={"test": {name: len(of_class) for name, of_class in zip(listing.classes, images, strict=True)}},
        sha256={},
        source="image files",
        licence="not known: your own images",
        validation="none",
        folder_sha256=digest(listing),
    )
    return Given(folder, card, paths)


def _card_of_arrays(folder: Path) -> Card:
    try:
        card = read_card(folder / CARD)
        split = read_split(folder / X, folder / Y)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(
            f"{WHERE} {folder}: {CARD}, {X} and {Y} cannot be read as `absld repro fetch_data` writes them: {error}"
        ) from None
    n, classes = len(split.y), len(card.classes)
    fits = split.x.dtype == np.uint8 and split.x.shape == (n, card.size, card.size, card.channels)
    if not fits or (n and not 0 <= split.y.min() <= split.y.max() < classes):
        raise InputError(
            f"{WHERE} {folder}: {X} holds {split.x.dtype} {split.x.shape}, and {CARD} tells of {n} images of "
            f"{card.size}x{card.size} pixels, {card.channels} channel(s), {classes} classes: fetch them again"
        )
    for name in (X, Y):
        if card.sha256.get(name) not in (None, sha256_of(folder / name)):
            raise InputError(f"{WHERE} {folder}: {name} is not the file that {CARD} tells of: fetch them again")
    return card


def _as_they_are(folder: Path, paths: Sequence[Path], *, sizes: bool) -> tuple[int, int]:
    """The size that all images have, if `sizes` are asked for (else 0), and 1 channel if all are grey, else 3."""
    first, grey = None, True
    for path in paths:
        try:
            with Image.open(path) as image:
                found, mode = image.size, image.mode
        except UNREADABLE as error:
            raise InputError(f"{path} cannot be read as an image ({error}): repair or remove it") from None
        grey &= mode in GREY or mode.startswith("I;16")
        first = first or found
        if sizes and (found != first or found[0] != found[1]):
            told = "which is no square" if found == first else f"another one {first[0]}x{first[1]}"
            raise InputError(
                f"{WHERE} {folder}: {path.relative_to(folder)} has {found[0]}x{found[1]} pixels, {told}: give --size "
                "with the height and width of the network's images, and all are brought to it"
            )
    return (first[0] if first and sizes else 0), (1 if grey else 3)
