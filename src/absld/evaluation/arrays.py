"""Named arrays in one .npz file."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from absld.records.files import replacing

Arrays = dict[str, NDArray[Any]]


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write the arrays at once or not at all. The same arrays give the same bytes: numpy stores no times."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_npz(path: Path) -> Arrays:
    """What `write_npz` wrote.

    Raises:
        OSError: there is no such file.
        ValueError: it holds something else, or an end of it is missing.

    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from None
    except TypeError:  # numpy opens a single array as well
        raise ValueError("it is an .npy, a single array") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy hands out the bytes of what is no .npy
            raise ValueError(f"{name} in it is no array")
    return arrays
