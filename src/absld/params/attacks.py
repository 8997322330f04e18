"""The walk inside the ball that the methods train against and the validation measures with."""

from typing import Literal

from absld.params.base import Count, PixelDistance, Section

Start = Literal["none", "gaussian", "gaussian_clipped", "uniform", "uniform_unclipped"]
BatchNorm = Literal["eval", "train"]
"""eval: the student is attacked with its running statistics; train: with the batch's, which moves the running ones."""
AutoAttackPart = Literal["apgd_ce", "apgd_t", "fab_t", "square"]
"""The attacks of AutoAttack's standard version, in the order of its cascade."""


class Walk(Section):
    """Projected gradient ascent in the L∞ ball (Madry et al. 2018)."""

    eps: PixelDistance
    """Radius of the ball, on pixels in [0, 1]."""
    step: PixelDistance
    """Length of one step."""
    steps: Count
    """Number of steps."""
    start: Start
    """none: the image; gaussian: 0.001 times normal noise; uniform: anywhere in the ball. Only uniform and
    gaussian_clipped are clipped to [0, 1] before the first step; every later point is."""
