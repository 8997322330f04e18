"""Attacks that are run for the checks alone, on a few images: none of them is in the table."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.evaluation.forward import Forward
from absld.evaluation.plan import Attack, Perturb, walked
from absld.evaluation.selection import Rows, balanced
from absld.shapes import Images, Labels, Logits

WHITE_BOX, SCALED, TRANSFER, HUGE = "check_white_box", "check_logit_scale", "check_transfer", "check_huge_eps"
IMAGES = 200
"""The first of each class in turn. Of 200, one half may be wrong by 7 percentage points (95 %); masking costs tens."""
STEPS, STEPS_ACROSS = 20, 4
"""PGD-20, each step a quarter of the radius: 2/255 at 8/255."""
HUGE_EPS = 1.0
"""The ball is every image there is, so accuracy 0 is possible for any network that ever gives two answers."""


def probes(net: Forward, teacher: Forward | None, eps: float, y: NDArray[np.int64]) -> list[Attack]:
    """PGD by itself, on rescaled logits, on the teacher where there is one, and in a huge ball.

    The first three begin at the same random points. The last begins at the image, so that what moves is moved by a
    gradient: a random start in so large a ball is no longer a picture of anything.
    """
    rows = probed(y)
    walk = LinfWalk(eps, eps / STEPS_ACROSS, STEPS, "uniform")
    white_box = walked(WHITE_BOX, pgd(walk), net, rows, keep=rows[:0])
    attacks = [white_box, replace(white_box, key=SCALED, perturb=_on_unit_logits(net, walk))]
    if teacher is not None:
        attacks.append(replace(white_box, key=TRANSFER, perturb=_on_teacher(net, teacher, walk)))
    huge = LinfWalk(HUGE_EPS, HUGE_EPS / STEPS_ACROSS, STEPS, "none")
    attacks.append(walked(HUGE, pgd(huge), net, rows, keep=rows[:0]))
    return [replace(attack, stream="check", measured=False) for attack in attacks]


def probed(y: NDArray[np.int64]) -> Rows:
    """The images that the checks look at."""
    return balanced(y, IMAGES)


def _on_unit_logits(net: Forward, walk: LinfWalk) -> Perturb:
    def perturb(x: Images, y: Labels, seed: int) -> Images:
        deviation = net.judge(x).std().clamp(min=torch.finfo(torch.float32).tiny)

        def unit(point: Images) -> Logits:
            z: Logits = net(point) / deviation
            return z

        return pgd(walk)(unit, x, y)

    return perturb


def _on_teacher(net: Forward, teacher: Forward, walk: LinfWalk) -> Perturb:
    def perturb(x: Images, y: Labels, seed: int) -> Images:
        teacher.pieces = net.pieces  # what is done about lack of memory, is done to `net`
        return pgd(walk)(teacher, x, y)

    return perturb
