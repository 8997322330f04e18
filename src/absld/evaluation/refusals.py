"""What makes an evaluation worthless. Each is an error, not a warning: no number comes out."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from absld.errors import EvaluationRefusedError
from absld.shapes import Images, Logits

TOLERANCE = 4 * torch.finfo(torch.float32).eps
"""How far beyond the radius rounding may carry a pixel: four units in the last place at 1."""
ROW_SUM_TOLERANCE = 2e-3
"""How far from 1 rounding may carry a sum of probabilities: bfloat16, the coarsest, rounds each by up to a 512th."""
REINSTALL = "this is no fault of the model: install the versions of requirements.lock"


@contextmanager
def naming(network: str) -> Iterator[None]:
    """What is refused inside says which network it is about."""
    try:
        yield
    except EvaluationRefusedError as error:
        raise EvaluationRefusedError(f"{network}: {error}") from None


def refuse_training_mode(network: nn.Module) -> None:
    """Dropout and batch statistics are for training."""
    if any(module.training for module in network.modules()):
        raise EvaluationRefusedError("the model is in training mode: call eval() before it is evaluated")


def refuse_range(x: Images) -> None:
    """Distances are on pixels in [0, 1]; normalisation belongs inside the model."""
    if not (x.dtype == torch.float32 and bool(((x >= 0) & (x <= 1)).all())):
        low, high = float(x.min()), float(x.max())
        raise EvaluationRefusedError(
            f"inputs must be float32 in [0, 1], these are {x.dtype} in [{low:g}, {high:g}]: give pixels, and let the "
            "model normalise them"
        )


def refuse_logits(z: Logits, classes: int) -> None:
    """There is one finite number for each class."""
    if z.shape[1] != classes:
        raise EvaluationRefusedError(
            f"the model has {z.shape[1]} outputs, the data set {classes} classes: choose two that belong together"
        )
    if not bool(z.isfinite().all()):
        raise EvaluationRefusedError(
            f"{int((~z.isfinite()).any(1).sum())} of {len(z)} rows of logits are not finite: the weights are damaged, "
            "or their training has diverged; make them anew"
        )


def refuse_probabilities(z: Logits) -> None:
    """Losses on logits see no gradient through a second softmax, and the model seems robust."""
    if bool((z >= 0).all()) and bool(((z.sum(1) - 1).abs() < ROW_SUM_TOLERANCE).all()):
        raise EvaluationRefusedError(
            "the model's outputs look like probabilities: take the softmax off, logits are needed"
        )


def refuse_escape(x: Images, x_adv: Images, eps: float, attack: str, mend: str = REINSTALL) -> None:
    """An adversarial example lies in the ball around its image, and is an image; `mend` says what to do if not."""
    distance = (x_adv - x).abs().max()
    if not bool(distance <= eps + TOLERANCE):
        raise EvaluationRefusedError(
            f"{attack} left the ball: a distance of {float(distance):.8g} at eps {eps:.8g}: {mend}"
        )
    if not bool(((x_adv >= 0) & (x_adv <= 1)).all()):
        raise EvaluationRefusedError(
            f"{attack} left the range of pixels: [{float(x_adv.min())}, {float(x_adv.max())}]: {mend}"
        )
