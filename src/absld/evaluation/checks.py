"""Signs that the numbers cannot be trusted. They are written down, and stop a promotion; they stop no evaluation."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypedDict

import torch

from absld.divergences import cross_entropy
from absld.evaluation.contest import Contest
from absld.evaluation.forward import Forward
from absld.evaluation.verdicts import Verdict
from absld.shapes import Images, Labels

WEAK_TO_STRONG = (("clean", "fgsm", "pgd", "aa"), ("clean", "cw", "aa"))
SQUARE_SHARE = 0.002
"""Share of the images by which AutoAttack's authors let Square lower the accuracy without a warning."""
SQUARE_IMAGES = 2
"""As many images are chance, where they are more than that share."""
ZERO_GRADIENTS = 0.01
"""Share of the images that may be out of a gradient attack's reach: as much of the accuracy may be unearned."""
HUGE_ACCURACY = 0.05
"""Share of the images that PGD may leave where it may make any image of them."""


class Check(TypedDict):
    """One entry of `checks`."""

    passed: bool
    detail: str


def attack_order(found: Mapping[str, Verdict], curves: Iterable[Sequence[str]] = ()) -> Check:
    """A stronger attack leaves no more images: clean ≥ FGSM ≥ PGD ≥ AutoAttack, CW ≥ AutoAttack, within paired noise.

    Nor does a larger ball or a longer walk: `curves` are such attacks' keys, the weakest first. FGSM below PGD is a
    sign of gradients that mislead.
    """
    orders = [[key for key in order if key in found] for order in (*WEAK_TO_STRONG, *curves)]
    contests = {
        (strong, weak): Contest.of(found[strong], found[weak]) for order in orders for weak, strong in pairwise(order)
    }
    wrong = [f"{s} leaves more than {w} ({contest})" for (s, w), contest in contests.items() if contest.reversed]
    shown = [key for key in ("clean", "fgsm", "pgd", "cw", "aa") if key in found]
    left = ", ".join(f"{key} {found[key].survived.mean():.4f}" for key in shown)
    return Check(passed=not wrong, detail=f"{'; '.join(wrong)}: {left}" if wrong else left)


def square_beats_apgd(square: Verdict, before: Verdict) -> Check:
    """Square, which needs no gradient, breaks next to nothing that the gradient attacks before it left."""
    broken = int((before.survived & ~square.survived).sum())
    images = len(square.rows)
    limit = max(SQUARE_IMAGES, math.floor(SQUARE_SHARE * images))
    detail = (
        f"Square broke {broken} of {images} images after the gradient attacks; up to {limit} are no sign of masking"
    )
    return Check(passed=broken <= limit, detail=detail)


def deterministic(net: Forward, x: Images) -> Check:
    """The network has no randomness, which gradient attacks would not see through: two passes, the same logits."""
    first, second = (net.with_room(lambda: net.judge(x), len(x)) for _ in range(2))
    differ = int((first != second).any(1).sum())
    return Check(passed=not differ, detail=f"{differ} of {len(x)} images had other logits in a second pass")


def gradient_not_zero(net: Forward, x: Images, y: Labels) -> Check:
    """The cross-entropy has a gradient at the images: one that is zero everywhere, or not finite, leads nowhere."""

    def gradient() -> Images:
        point = x.clone().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(cross_entropy(net(point), y).sum(), point, materialize_grads=True)
        return found

    flat = net.with_room(gradient, len(x)).flatten(1)
    useless = int(((flat == 0).all(1) | ~flat.isfinite().all(1)).sum())
    limit = math.floor(ZERO_GRADIENTS * len(x))
    detail = f"{useless} of {len(x)} images have a gradient that is zero or not finite; up to {limit} may"
    return Check(passed=useless <= limit, detail=detail)


def huge_eps(found: Verdict) -> Check:
    """PGD that may turn an image into any other leaves next to nothing."""
    left, images = int(found.survived.sum()), len(found.rows)
    limit = math.floor(HUGE_ACCURACY * images)
    walk = "PGD-20 from the image at eps 1"
    return Check(passed=left <= limit, detail=f"{walk} left {left} of {images} images; up to {limit} are near zero")


def logit_scale(white_box: Verdict, scaled: Verdict) -> Check:
    """PGD gains nothing when the logits are divided by their deviation: no scale hides the cross-entropy's gradient."""
    contest = Contest.of(white_box, scaled)
    return Check(
        passed=not contest.reversed, detail=f"PGD-20 on the logits, and on logits of unit deviation: {contest}"
    )


def transfer(white_box: Verdict, transferred: Verdict) -> Check:
    """PGD on the teacher does not beat PGD on the network itself, whose gradients it should know better."""
    contest = Contest.of(white_box, transferred)
    return Check(passed=not contest.reversed, detail=f"PGD-20 on the network, and on its teacher: {contest}")
