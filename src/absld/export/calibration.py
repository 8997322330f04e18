"""The images that set the scales of a quantised file: of the validation split, clean and attacked. None judges it."""

import torch
from torch import nn

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.evaluation.forward import GRADIENT_COST, Forward, seeded
from absld.evaluation.selection import balanced
from absld.evaluation.telling import Telling
from absld.export.parity import Array
from absld.seeds import stream

IMAGES = 100
"""Most clean images, balanced by class; there are as many attacked ones."""
STEPS, STEPS_ACROSS = 10, 4
"""PGD-10 from a uniform start, each step a quarter of the radius: they need not be the worst, only look like them."""
SEED = stream("export", "calibration")


def calibration(student: nn.Module, validation: Split, eps: float, telling: Telling) -> list[Array]:
    """Images that stand for all that a file will meet: a clean batch, and the same after PGD on the torch student.

    Args:
        student: In evaluation mode, on the CPU; its parameters get no gradient.
        validation: The images that chose the best epoch; no test image may be among them.
        eps: Radius of the L∞ ball, on pixels in [0, 1].
        telling: Is told of each pass.

    """
    rows = balanced(validation.y, IMAGES)
    x, y = to_images(validation.x[rows]), torch.from_numpy(validation.y[rows])
    telling.begin("calibration of int8", passes(validation))
    with seeded(SEED, torch.device("cpu")):
        x_adv = pgd(LinfWalk(eps, eps / STEPS_ACROSS, STEPS, "uniform"))(Forward(student, telling.work), x, y)
    telling.end(0, 0, told=False)
    return [x.numpy(), x_adv.numpy()]


def passes(validation: Split) -> int:
    """How often the student looks at an image."""
    return min(IMAGES, len(validation)) * STEPS * GRADIENT_COST
