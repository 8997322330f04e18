"""BAT, balance adversarial training (Sun, Xu, Yao, Liang, Wu, Liang, Liu, Liu: AAAI 2023).

    min_θ  CE(s(x_lc), y) + β·KL(s(x) ‖ s(x_fa)) + u·KL(s(x_lc) ‖ U) + u·KL(s(x_fa) ‖ U)      s = softmax of the student

Two walks up KL(s(x) ‖ s(·)), each stopped for every image on its own: x_lc is its last point before the first mistake,
x_fa its first mistake, or `tolerance` mistakes later. U is uniform over all classes, or over the wrong ones.
"""

from collections.abc import Iterator
from math import log

import torch
import torch.nn.functional as F

from absld.attacks.linf_walk import LinfWalk, Visit
from absld.divergences import cross_entropy, kl, kl_of_logits
from absld.methods.protocol import Batch, Networks, State, Stateless, Step, risks
from absld.params import adversarial as settings
from absld.shapes import Images, Labels, Logits, PerSample

MASKED = -1e9
"""A logit whose probability is exactly 0 and whose gradient is finite."""


class Bat(Stateless):
    """Balance the classes from which and towards which adversarial examples go."""

    def __init__(self, block: settings.Bat) -> None:
        self.block = block
        self.walk = LinfWalk.of(block.attack)

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """Train-mode forwards: last clean, first adversarial, clean, as published."""
        del state
        x, y = batch
        with torch.no_grad():
            p = nets.frozen(x).softmax(-1)
        x_lc, x_fa = (
            stopped(self.walk(nets.frozen, x, lambda _, z: kl(p, z)), y) for stopped in (last_clean, self._first_adv)
        )
        z_lc, z_fa, z = nets.student(x_lc), nets.student(x_fa), nets.student(x)
        loss = cross_entropy(z_lc, y) + self.block.beta * kl_of_logits(z, z_fa)
        loss = loss + self.block.uniform * (self._from_uniform(z_lc, y) + self._from_uniform(z_fa, y))
        return Step(loss.mean(), risks(y, adv=z_fa, clean=z))

    def _first_adv(self, walk: Iterator[Visit], y: Labels) -> Images:
        return first_adv(walk, y, self.block.tolerance)

    def _from_uniform(self, z: Logits, y: Labels) -> PerSample:
        """KL(s ‖ U) = log n − H(s), over all n classes or over the wrong ones."""
        classes = z.shape[1]
        if self.block.uniform_over == "others":
            z, classes = z.masked_fill(F.one_hot(y, classes).bool(), MASKED), classes - 1
        log_p = z.log_softmax(-1)
        return log(classes) + (log_p.exp() * log_p).sum(-1)


def last_clean(walk: Iterator[Visit], y: Labels) -> Images:
    """The point before an image's first mistake: the start if that is one, the last point if there is none."""
    x_lc, z = next(walk)
    standing = torch.ones_like(y, dtype=torch.bool) if z is None else z.argmax(1) == y
    for x, z in walk:
        if z is not None:
            standing = standing & (z.argmax(1) == y)
        x_lc = torch.where(standing[:, None, None, None], x, x_lc)
    return x_lc


def first_adv(walk: Iterator[Visit], y: Labels, tolerance: int) -> Images:
    """The point of an image's mistake number `tolerance` + 1; the last point if there are not so many."""
    mistakes = torch.zeros_like(y)
    x_fa: Images | None = None
    for x, z in walk:
        open_ = (mistakes <= tolerance)[:, None, None, None]
        x_fa = x if x_fa is None else torch.where(open_, x, x_fa)
        if z is not None:
            mistakes = mistakes + (z.argmax(1) != y)
    assert x_fa is not None
    return x_fa
