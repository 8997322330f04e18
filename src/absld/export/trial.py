"""The images that the files of a student are judged on: of the test split, every one of them in the same way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import Arrays
from absld.evaluation.selection import Rows, balanced, chunks
from absld.evaluation.telling import Telling
from absld.export.attacked import Labelled, correct, share, square
from absld.export.parity import BATCH_SIZES, Array, Network
from absld.params.export import Square
from absld.statistics.metrics import ClassTable

CLEAN_IMAGES = 2000
"""Most clean images, balanced by class. On two cores a ResNet-18 takes a minute or two for them."""

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
    queries: int
    """Square's, for each of the hunted images."""
    telling: Telling = field(default_factory=Telling)
    """Hears of each image that a network looks at."""

    def square(self, network: Network, name: str) -> NDArray[np.bool_]:
        """Whether each of the hunted images survives Square on that very network, which `name` tells."""
        with self._heard(network, f"Square on {name}", self.square_passes) as heard:
            return square(heard, self.hunted, self.eps, self.classes, self.queries)

    def score(self, network: Network, name: str, hunted: NDArray[np.bool_]) -> Score:
        """All accuracies of one network; `hunted` is what `square` found."""
        table = ClassTable(np.zeros(self.classes, np.int64), np.zeros(self.classes, np.int64))
        with self._heard(network, f"accuracies of {name}", self.score_passes) as heard:
            for rows, x in zip(self._chunks(), self.clean(), strict=True):
                y = self.test.y[rows]
                table += ClassTable.of(correct(heard, (x, y)), y, self.classes)
            stored = [correct(heard, labelled) for labelled in self.stored.values()]
        return {
            "clean_average": table.average,
            "clean_worst": table.worst,
            "stored": share(np.concatenate([np.zeros(0, np.bool_), *stored])),
            "square": share(hunted),
        }

    def clean(self) -> Iterator[Array]:
        """The clean images, in batches."""
        return (to_images(self.test.x[rows]).numpy() for rows in self._chunks())

    def _chunks(self) -> list[Rows]:
        return chunks(self.rows, max(BATCH_SIZES))

    @property
    def images(self) -> dict[str, Any]:
        """How many there are of each."""
        stored = sum(len(y) for _, y in self.stored.values())
        return {"clean": len(self.rows), "stored": stored, "square": len(self.hunted[1])}

    @property
    def square_passes(self) -> int:
        """How often `square` has a network look at an image, at most."""
        return len(self.hunted[1]) * self.queries

    @property
    def score_passes(self) -> int:
        """The same of `score`."""
        return len(self.rows) + sum(len(y) for _, y in self.stored.values())

    @contextmanager
    def _heard(self, network: Network, text: str, passes: int) -> Iterator[Network]:
        self.telling.begin(text, passes)
        yield told_of(network, self.telling)
        self.telling.end(0, 0, told=False)


def told_of(network: Network, telling: Telling) -> Network:
    """The same network; `telling` hears how many images it has looked at."""

    def asked(images: Array) -> Array:
        z = network(images)
        telling.work(len(images))
        return z

    return asked


def trial_of(
    torch_network: Network,
    test: Split,
    adversarial: Arrays,
    eps: float,
    classes: int,
    wanted: Square,
    telling: Telling | None = None,
) -> Trial:
    """The trial of a student's files; `wanted` says how Square is run, `telling` hears how far it is."""
    some = balanced(test.y, 2 * wanted.n)
    x, y = to_images(test.x[some]).numpy(), test.y[some]
    right = np.flatnonzero(correct(torch_network, (x, y)))
    chosen = right[balanced(y[right], wanted.n)]
    hunted = x[chosen], y[chosen]
    rows, stored = balanced(test.y, CLEAN_IMAGES), stored_examples(adversarial)
    return Trial(test, rows, stored, hunted, eps, classes, wanted.queries, telling or Telling())


def stored_examples(adversarial: Arrays) -> dict[str, Labelled]:
    """All of adversarial.npz, by attack."""
    attacks = [name.removesuffix("_x") for name in adversarial if name.endswith("_x")]
    return {attack: (adversarial[f"{attack}_x"], adversarial[f"{attack}_y"]) for attack in attacks}
