"""The walk inside the ball that the methods train against and the validation measures with."""

from typing import Literal

from absld.params.base import Count, PixelDistance, Section

Start = Literal["none", "gaussian", "uniform"]


class Walk(Section):
    """Projected gradient ascent in the L∞ ball (Madry et al. 2018)."""

    eps: PixelDistance
    """Radius of the ball, on pixels in [0, 1]."""
    step: PixelDistance
    """Length of one step."""
    steps: Count
    """Number of steps."""
    start: Start
    """none: the image; gaussian: 0.001 times normal noise, not clipped; uniform: anywhere in the ball, clipped."""
