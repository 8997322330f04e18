"""What a source of images gives, before the validation split is taken."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from absld.data.images import read_images


class Reader(Protocol):
    """The images of a part, read when they are asked for: they need not fit into memory."""

    def read_into(self, out: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Write the images of `rows` to `out`, (rows, size, size, channels)."""


class Part(NamedTuple):
    """The training or the test part as its authors cut it."""

    x: Reader
    y: NDArray[np.int64]


class Source(NamedTuple):
    """A data set as its authors cut it; the words are those of `absld.data.card.Card`."""

    name: str
    classes: list[str]
    class_names: str
    channels: int
    size: int
    train: Part
    test: Part
    source: str
    licence: str
    folder_sha256: str | None = None


class InMemory(NamedTuple):
    """Images that are there already."""

    array: NDArray[np.uint8]
    """(N, size, size, channels)."""

    def read_into(self, out: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """See `Reader`."""
        out[:] = self.array[rows]


class InFiles(NamedTuple):
    """Images that lie in a file each."""

    paths: Sequence[Path]

    def read_into(self, out: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """See `Reader`."""
        read_images([self.paths[row] for row in rows], out)
