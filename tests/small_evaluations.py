"""A network, images and settings so small that a whole evaluation takes a moment."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.evaluation.evaluate import Evaluation
from absld.params.evaluate import Evaluate
from absld.records.attacks import AUTOATTACK

STANDARD = autoattack.standard
CLASSES = ["round", "square", "star", "cross"]
WALKS = ("clean", "fgsm", "pgd", "cw")
EPS = 0.12


class Net(nn.Module):
    """Small enough to be attacked in a moment, and with a BatchNorm."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.bn(self.conv(x))).flatten(1))


def images(n: int, seed: int = 0) -> Split:
    """Four noisy patterns; the classes are unbalanced: half of the images belong to the first."""
    random = np.random.default_rng(seed)
    y = random.choice(4, n, p=(0.5, 0.2, 0.2, 0.1))
    y[:4] = range(4)
    patterns = np.random.default_rng(9).integers(60, 195, (4, 6, 6, 1))
    return Split((patterns[y] + random.normal(0, 40, (n, 6, 6, 1))).clip(0, 255).astype(np.uint8), y.astype(np.int64))


def labelled() -> Split:
    """44 images. Two of the labels are wrong, so that clean accuracy is below 1."""
    found = images(44)
    found.y[[20, 30]] = (found.y[[20, 30]] + 1) % 4
    return found


def trained(*, steps: int = 0) -> Net:
    """A network that knows the patterns and can be fooled; with `steps`, one that was trained to withstand so long a walk."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, train = Net(), images(300, seed=5)
        x, y = to_images(train.x), torch.from_numpy(train.y)
        attack = pgd(LinfWalk(EPS, EPS / 2, steps, "uniform"))
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(80):
            x_adv = attack(model, x, y) if steps else x
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x_adv), y).backward()
            optimiser.step()
    model.zero_grad()
    return model.eval()


def settings(
    *,
    eps: float = EPS,
    aa: bool | Sequence[str] = False,
    chunk: int = 10,
    keep: int = 6,
    curves: Any = None,
    **n: int,
) -> Evaluate:
    """`n` caps an attack, by its key; `aa` may be some of AutoAttack's parts."""
    parts = list(AUTOATTACK if aa is True else aa or ())
    walk = {"steps": 5, "step": 0.03, "start": "uniform"}
    attacks = {
        "fgsm": {"n": n.get("fgsm"), "start": "none"},
        "pgd": {"n": n.get("pgd"), **walk},
        "cw": {"n": n.get("cw"), **walk, "kappa": 50},
        "aa": {"n": n.get("aa"), "parts": parts} if parts else None,
    }
    return Evaluate.model_validate(
        {"eps": eps, "seed": 0, "chunk": chunk, "keep": keep, "attacks": attacks, "curves": curves}
    )


@contextmanager
def small_budgets() -> Iterator[None]:
    """AutoAttack's own parts, with a tenth of their iterations."""

    def smaller(*arguments: Any) -> dict[str, Any]:
        parts = STANDARD(*arguments)
        for part in parts.values():
            part.n_iter, part.n_queries = 10, 100
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoattack, "standard", smaller)
        yield


class Killed(BaseException):
    pass


class KilledAfter:
    """A watcher that lets so many messages pass."""

    def __init__(self, messages: int) -> None:
        self.left = messages

    def __call__(self, text: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


def assert_same(first: Evaluation, second: Evaluation) -> None:
    """All that is written is the same."""
    for one, other in ((first.verdicts, second.verdicts), (first.adversarial, second.adversarial)):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    assert (first.attacks, first.last, first.checks) == (second.attacks, second.last, second.checks)
    assert first.curves == second.curves
