"""The file under attack, as whoever meets it can attack it: ONNX Runtime has no gradients.

Square asks for nothing but logits, so it runs on the file itself; and the examples that were made with the gradients of
the torch student are shown to the file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from absld.attacks import autoattack
from absld.evaluation.forward import seeded
from absld.evaluation.refusals import refuse_escape
from absld.export.parity import BATCH_SIZES, Array, Network
from absld.seeds import stream
from absld.shapes import Images, Logits

SEED = stream("export", "square")
Labelled = tuple[Array, NDArray[np.int64]]
"""Images and their labels."""


class Asked(nn.Module):
    """A network that answers questions, in the form in which pyautoattack asks them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, x: Images) -> Logits:
        """The logits. They cannot be differentiated."""
        return torch.from_numpy(self.network(x.numpy()))


def correct(network: Network, labelled: Labelled) -> NDArray[np.bool_]:
    """Whether each image gets its label."""
    x, y = labelled
    size = max(BATCH_SIZES)
    parts = [network(x[start : start + size]).argmax(axis=1) for start in range(0, len(x), size)]
    return np.asarray(np.concatenate([np.zeros(0, np.int64), *parts]) == y)


def square(network: Network, labelled: Labelled, eps: float, classes: int, queries: int) -> NDArray[np.bool_]:
    """Whether each image still gets its label after Square with so many `queries` (Andriushchenko et al. 2020).

    AutoAttack's own asks 5,000, but only about what three attacks with gradients have left. Here each costs a pass of
    the network on the CPU for every image that holds out.

    Raises:
        EvaluationRefusedError: the attack left the ball or the range of pixels.

    """
    if not len(labelled[0]):
        return np.zeros(0, np.bool_)
    cpu = torch.device("cpu")
    x, y = map(torch.from_numpy, labelled)
    part = autoattack.standard(Asked(network), eps, classes, cpu)["square"]
    part.n_queries = queries
    with seeded(SEED, cpu):
        x_adv = autoattack.perturb(part, x, y, SEED)
    refuse_escape(x, x_adv, eps, "square")
    return correct(network, (x_adv.numpy(), labelled[1]))


def transfer(torch_network: Network, file: Network, stored: Mapping[str, Labelled]) -> dict[str, Any]:
    """By attack: how many of the examples made against torch the two classify correctly, as fractions."""
    return {
        attack: {
            "n": len(labelled[1]),
            "torch": share(correct(torch_network, labelled)),
            "file": share(correct(file, labelled)),
        }
        for attack, labelled in stored.items()
    }


def share(flags: NDArray[np.bool_]) -> float | None:
    """The fraction that is true; None of nothing."""
    return int(flags.sum()) / len(flags) if len(flags) else None
