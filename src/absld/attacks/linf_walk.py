"""The projected-gradient walk that every method and every gradient attack shares.

    x_{t+1} = Π_{‖·−x‖∞ ≤ ε, [0,1]} ( x_t + η · sign ∇_{x_t} Σ_i ascend(x_t, z(x_t))_i )      (Madry et al. 2018, Eq. 2)

"PGD" is where the walk ends. Some methods look at every visit on the way, so the walk is an iterator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from absld.distributed import drawn
from absld.params.attacks import Start, Walk
from absld.shapes import Images, Logits, PerSample, Scalar

Ascend = Callable[[Images, Logits], PerSample]
"""What to increase, given a point and the network's logits there. Only its input gradient's sign matters."""
Net = Callable[[Images], Logits]

GAUSSIAN_START = 0.001
"""Standard deviation of the gaussian start, as in all published distillation scripts."""


class Visit(NamedTuple):
    """A point of the walk."""

    x: Images
    """Detached; inside the ball and [0, 1], but for a start that is not clipped (see absld.params.attacks.Walk)."""
    z: Logits | None
    """The network's logits at x, detached; None at the last point, which is not evaluated."""


@dataclass(frozen=True)
class LinfWalk:
    """`steps` steps of length `step` in the L∞ ball of radius `eps`; distances are on pixels in [0, 1]."""

    eps: float
    step: float
    steps: int
    start: Start

    @classmethod
    def of(cls, walk: Walk) -> "LinfWalk":
        """The walk that a section of params.yaml describes."""
        return cls(eps=walk.eps, step=walk.step, steps=walk.steps, start=walk.start)

    def __call__(
        self, net: Net, x: Images, ascend: Ascend, radius: PerSample | None = None, step: Scalar | None = None
    ) -> Iterator[Visit]:
        """Visit `steps` + 1 points, the start first.

        `radius` gives each example a ball of its own (default: `eps`), `step` another length (default: `step`).
        """
        eps = self.eps if radius is None else radius[:, None, None, None]
        low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        point = self._started(x, low, high, eps)
        for _ in range(self.steps):
            point.requires_grad_()
            with torch.enable_grad():
                z = net(point)
                # only the sign is kept: a CUDA graph's own output would hold up the next replay
                way = torch.autograd.grad(ascend(point, z).sum(), point)[0].sign()
            point = point.detach()
            yield Visit(point, z.detach())
            stride = self.step if step is None else step
            point = torch.minimum(torch.maximum(point + stride * way, low), high)
        yield Visit(point, None)

    def _started(self, x: Images, low: Images, high: Images, eps: "float | Images") -> Images:
        match self.start:
            case "gaussian":
                return x + GAUSSIAN_START * drawn(torch.randn_like, x)
            case "gaussian_clipped":
                return (x + GAUSSIAN_START * drawn(torch.randn_like, x)).clamp(0, 1)
            case "uniform":
                return torch.minimum(torch.maximum(x + eps * (2 * drawn(torch.rand_like, x) - 1), low), high)
            case "uniform_unclipped":
                return x + eps * (2 * drawn(torch.rand_like, x) - 1)
            case "none":
                return x.clone()


def end_of(walk: Iterator[Visit]) -> Images:
    """The walk's last point."""
    *_, last = walk
    return last.x
