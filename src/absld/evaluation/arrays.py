"""Named arrays in one .npz file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.records.files import replacing

Arrays = dict[str, NDArray[Any]]


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays at once or not at all. The same arrays give the same bytes: numpy stores no times."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_npz(path: Path) -> Arrays:
    """What `write_npz` wrote."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)
