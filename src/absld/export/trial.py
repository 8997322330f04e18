"""The images that the files of a student are judged on, and those that a quantised one is calibrated with.

No image is both: not even one of them clean and the other attacked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays
from absld.evaluation.selection import Rows, balanced, chunks
from absld.export import attacked
from absld.export.attacked import Labelled, correct, share, square
from absld.export.parity import BATCH_SIZES, Array, Network
from absld.metrics import ClassTable

CLEAN_IMAGES = 2000
"""Most clean images, balanced by class. On two cores a ResNet-18 takes a minute or two for them."""
CALIBRATION_IMAGES = 100
"""Most clean images that calibrate; their stored adversarial examples do too."""

Score = dict[str, float | None]
"""Accuracies as fractions, None of no image: `clean_average`, `clean_worst`, `stored`, `square`."""


@dataclass(frozen=True)
class Trial:
    """What one file is put through, and the next one in the same way."""

    test: Split
    rows: Rows
    """Of the clean images."""
    stored: Mapping[str, Labelled]
    """Adversarial examples of the torch student, by attack."""
    hunted: Labelled
    """What Square begins with: clean images that the torch student classifies correctly."""
    eps: float
    classes: int

    def square(self, network: Network) -> NDArray[np.bool_]:
        """Whether each of the hunted images survives Square on that very network."""
        return square(network, self.hunted, self.eps, self.classes)

    def score(self, network: Network, hunted: NDArray[np.bool_]) -> Score:
        """All accuracies of one network; `hunted` is what `square` found."""
        table = sum(
            (ClassTable.of(correct(network, of), of[1], self.classes) for of in self._clean()),
            ClassTable(np.zeros(self.classes, np.int64), np.zeros(self.classes, np.int64)),
        )
        stored = [correct(network, labelled) for labelled in self.stored.values()]
        return {
            "clean_average": table.average,
            "clean_worst": table.worst,
            "stored": share(np.concatenate([np.zeros(0, np.bool_), *stored])),
            "square": share(hunted),
        }

    @property
    def images(self) -> dict[str, Any]:
        """How many there are of each."""
        stored = sum(len(y) for _, y in self.stored.values())
        return {"clean": len(self.rows), "stored": stored, "square": len(self.hunted[1])}

    def _clean(self) -> list[Labelled]:
        return [_labelled(self.test, rows) for rows in chunks(self.rows, max(BATCH_SIZES))]


def trial_of(torch_network: Network, test: Split, adversarial: Arrays, eps: float, classes: int) -> Trial:
    """The trial of a student's files. All of its images are none that `calibration` gives."""
    others = np.setdiff1d(np.arange(len(test)), calibrating(test.y))
    rows = others[balanced(test.y[others], CLEAN_IMAGES)]
    some = _labelled(test, others[balanced(test.y[others], 2 * attacked.IMAGES)])
    right = np.flatnonzero(correct(torch_network, some))
    chosen = right[balanced(some[1][right], attacked.IMAGES)]
    hunted = some[0][chosen], some[1][chosen]
    return Trial(test, rows, _of_rows(adversarial, others), hunted, eps, classes)


def stored_examples(adversarial: Arrays) -> dict[str, Labelled]:
    """All of adversarial.npz, by attack."""
    return _of_rows(adversarial, None)


def calibration(test: Split, adversarial: Arrays) -> list[Array]:
    """Images that stand for all that a file will meet, clean and adversarial, in batches."""
    rows = calibrating(test.y)
    return [_labelled(test, rows)[0], *(x for x, _ in _of_rows(adversarial, rows).values() if len(x))]


def calibrating(y: NDArray[np.int64]) -> Rows:
    """The second, fourth, ... image of each class, so that every class keeps some for the trial."""
    rows = np.sort(np.concatenate([np.flatnonzero(y == label)[1::2] for label in np.unique(y)]))
    return rows[balanced(y[rows], CALIBRATION_IMAGES)]


def _of_rows(adversarial: Arrays, rows: Rows | None) -> dict[str, Labelled]:
    """The examples of adversarial.npz that were made of `rows` of the test set; None: all."""
    found = {}
    for attack in (name.removesuffix("_x") for name in adversarial if name.endswith("_x")):
        x, y, index = (adversarial[f"{attack}_{axis}"] for axis in ("x", "y", "index"))
        chosen = slice(None) if rows is None else np.isin(index, rows)
        found[attack] = x[chosen], y[chosen]
    return found


def _labelled(test: Split, rows: Rows) -> Labelled:
    return to_images(test.x[rows]).numpy(), test.y[rows]
