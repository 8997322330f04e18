"""The validation split, and what is trained on: so many images of every class, chosen by a seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from absld.errors import InputError


class HeldOut(NamedTuple):
    """Which rows of the original training set belong to which split, each in original order."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]


def hold_out(
    y: NDArray[np.int64], per_class: int, seed: int, classes: Sequence[str], train_per_class: int | None = None
) -> HeldOut:
    """Take `per_class` images of each class at random, and at most `train_per_class` of the others (None: all).

    The draws are the raw 64-bit words of PCG64, whose stream NumPy keeps the same on every platform and in every
    version. A larger `per_class` or `train_per_class` keeps the images of a smaller one.

    Raises:
        InputError: a class would keep no image for training.

    """
    words = np.random.PCG64(seed)
    train, validation = (np.zeros(len(y), dtype=bool) for _ in range(2))
    for label, name in enumerate(classes):
        rows = np.flatnonzero(y == label)
        if len(rows) <= per_class:
            raise InputError(
                f"data.validation_per_class: {per_class} images of each class are to be taken, but the class {name!r} "
                f"has {len(rows)} training images; take at most {max(len(rows) - 1, 0)}"
            )
        order = np.argsort(words.random_raw(len(rows)), kind="stable")
        validation[rows[order[:per_class]]] = True
        train[rows[order[per_class:][:train_per_class]]] = True
    return HeldOut(train=np.flatnonzero(train), validation=np.flatnonzero(validation))
