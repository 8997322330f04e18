"""Is the exported file the network that was attacked? Measured on real images, clean and adversarial.

Two float32 programs of the same network differ by rounding. Logits may therefore differ by

    bound(z) = 1e-5 + 1e-4 · max_k |z_k|

per image, and a label may differ only where torch's two highest logits lie within that bound of each other: attacks
such as FAB leave points on the decision boundary on purpose. Such labels are counted; anything more is a ParityError.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from absld.errors import ParityError
from absld.export.onnx_file import INPUT, OUTPUT
from absld.export.session import open_session

Array = NDArray[np.float32]
"""Images, (batch, channels, height, width) in [0, 1], or logits, (batch, classes)."""
Network = Callable[[Array], Array]
"""From images to logits."""

RELATIVE = 1e-4
ABSOLUTE = 1e-5
BATCH_SIZES = (1, 2, 7, 256)
"""Batch sizes that a set's first images are classified at; all images are classified in batches of the largest."""
FEW = 16
"""Images of each set that are classified at the small batch sizes."""


@dataclass(frozen=True)
class Agreement:
    """How near the file's logits are to torch's."""

    images: int = 0
    labels_tolerated: int = 0
    """Labels that differ where torch's own margin is within rounding."""
    max_difference: float = 0.0
    """Largest absolute difference of two logits."""

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.images + other.images,
            self.labels_tolerated + other.labels_tolerated,
            max(self.max_difference, other.max_difference),
        )


def compare(expected: Array, found: Array) -> Agreement:
    """Compare the file's logits `found` with torch's `expected`, both (batch, classes).

    Raises:
        ParityError: a logit differs by more than rounding, or is not finite; or a label differs that is no tie.

    """
    if expected.shape != found.shape:
        raise ParityError(f"torch gives logits of shape {expected.shape}, the file {found.shape}")
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        raise ParityError("logits that are not finite")
    bound = ABSOLUTE + RELATIVE * np.abs(expected).max(axis=1)
    difference = np.abs(expected - found).max(axis=1)
    second, first = np.partition(expected, -2, axis=1)[:, -2:].T
    differs = expected.argmax(axis=1) != found.argmax(axis=1)
    wrong = int((differs & (first - second > bound)).sum())
    if wrong or (difference > bound).any():
        raise ParityError(
            f"{wrong} of {len(expected)} labels differ and the largest difference of two logits is "
            f"{difference.max():.2g}, where rounding explains {bound[difference.argmax()]:.2g}"
        )
    return Agreement(len(expected), int(differs.sum()), float(difference.max(initial=0)))


def measure(torch_network: Network, file: Network, sets: Mapping[str, Iterable[Array]]) -> dict[str, Any]:
    """Compare on every set of images, given in batches of at most 256; the result is the card's `parity`.

    Raises:
        ParityError: they do not agree; the message names the set and the batch size.

    """
    agreements = {name: _on(name, batches, torch_network, file) for name, batches in sets.items()}
    whole = sum(agreements.values(), Agreement())
    return {
        "runtime": "onnxruntime, CPUExecutionProvider",
        "tolerance": {"relative": RELATIVE, "absolute": ABSOLUTE},
        "batch_sizes": list(BATCH_SIZES),
        **vars(whole),
        "sets": {name: vars(agreement) for name, agreement in agreements.items()},
    }


def _on(name: str, batches: Iterable[Array], torch_network: Network, file: Network) -> Agreement:
    agreement = Agreement()
    for position, images in enumerate(batches):
        expected = torch_network(images)
        try:
            if position == 0:
                _at_every_batch_size(images, expected, file)
            agreement += compare(expected, file(images))
        except ParityError as error:
            raise ParityError(f"student.onnx disagrees with the torch student on {name} images: {error}") from None
    return agreement


def _at_every_batch_size(images: Array, expected: Array, file: Network) -> None:
    """Each batch is full: too few images are repeated. The images are counted elsewhere, once."""
    for size in BATCH_SIZES:
        rows = np.arange(-(-min(FEW, len(images)) // size) * size) % len(images)
        found = np.concatenate([file(images[rows[start : start + size]]) for start in range(0, len(rows), size)])
        try:
            compare(expected[rows], found)
        except ParityError as error:
            raise ParityError(f"in batches of {size}: {error}") from None


def onnx_network(model: bytes, threads: int) -> Network:
    """The file as ONNX Runtime computes it on the CPU."""
    session = open_session(model, threads)
    return lambda images: session.run([OUTPUT], {INPUT: images})[0]
