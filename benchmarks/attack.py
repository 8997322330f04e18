"""AutoAttack as the evaluation runs it, against the reference implementation's own loop, on the same images."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split
from absld.evaluation.forward import Forward, float32
from absld.evaluation.plan import cascade, clean
from absld.evaluation.telling import Telling
from absld.evaluation.verdicts import Bench
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier, Spec, build
from absld.records.attacks import AUTOATTACK
from absld.seeds import stream
from absld.shapes import Flags, Images, Labels
from benchmarks.problem import SEED, settled
from benchmarks.timing import Spread, in_turns, times_faster

CLASSES = 10
COARSE = 4
"""Patches along a side of a class's picture."""
NOISE = 0.25
"""Standard deviation of what is added to it: some images are harder than others."""
LESSONS, LESSON = 20, 32
"""Steps, and images a step, in which the network learns the pictures: untrained ones break at no distance at all."""
HALVINGS = 10
LARGEST_EPS = 0.25
WHOLE = 10_000
"""Test images of CIFAR-10: an evaluation compiles, or not, for as much work as these are."""


@dataclass(frozen=True)
class Target:
    """A network, images that it classifies correctly, and a radius at which about half of them survive."""

    network: Classifier
    x: Tensor
    """uint8, (N, 3, 32, 32)."""
    y: Labels
    eps: float


def target(architecture: str, count: int, device: torch.device) -> Target:
    """Ten random pictures with noise, and a network that has briefly learnt to tell them apart."""
    torch.manual_seed(SEED)
    pictures = F.interpolate(torch.rand(CLASSES, 3, COARSE, COARSE, device=device), size=32)
    network = build(Spec(architecture, CLASSES, 3, 32, None)).to(device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for _ in range(LESSONS):
        y = torch.randint(CLASSES, (LESSON,), device=device)
        loss = F.cross_entropy(network(_noisy(pictures[y])), y)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    x = (255 * _noisy(pictures[torch.arange(count, device=device) % CLASSES])).round().to(torch.uint8)
    settled(network, _floats(x)).eval()
    with torch.no_grad():
        y = network(_floats(x)).argmax(1)
    return Target(network, x, y, half_surviving(network, _floats(x), y))


def half_surviving(network: Classifier, x: Images, y: Labels) -> float:
    """The radius at which PGD-20 leaves about half of the images."""
    net, low, high = frozen_view(network), 0.0, LARGEST_EPS
    for _ in range(HALVINGS):
        eps = (low + high) / 2
        points = pgd(LinfWalk(eps=eps, step=eps / 4, steps=20, start="uniform"))(net, x, y)
        with torch.no_grad():
            survived = (net(points).argmax(1) == y).float().mean()
        low, high = (eps, high) if survived > 0.5 else (low, eps)
    return (low + high) / 2


class Ours:
    """The evaluation's cascade, chunk by chunk, as it is executed where it has 10,000 images."""

    def __init__(self, given: Target, chunk: int) -> None:
        self.survived = torch.zeros(0, dtype=torch.bool)
        split = Split(given.x.permute(0, 2, 3, 1).cpu().numpy(), given.y.cpu().numpy())
        net = Forward(given.network)
        rows = np.arange(len(given.y))
        self.plan = [clean(rows), *cascade(net, given.eps, CLASSES, rows)]
        net.quicken(chunk, WHOLE * sum(attack.passes for attack in self.plan))
        self.compiler = None if net.fixed is None else net.fixed.compiler
        self.bench = Bench(net, split, CLASSES, SEED, chunk, 1, Telling(), None)

    def __call__(self) -> float:
        """Seconds of a whole attack, without those of compiling; the verdicts stay in `survived`."""
        start = time.perf_counter() - self.seconds_compiling
        with float32():
            found = self.bench.verdicts(self.plan)
        self.survived = torch.from_numpy(found[self.plan[-1].key].survived)
        return time.perf_counter() - self.seconds_compiling - start

    @property
    def seconds_compiling(self) -> float:
        """So far; so few images do not earn them back, and 10,000 do."""
        return self.compiler.seconds if self.compiler else 0.0


class Reference:
    """The reference implementation's standard evaluation of the network as it is."""

    def __init__(self, given: Target, chunk: int) -> None:
        from pyautoattack import AutoAttack

        self.given, self.chunk = given, chunk
        self.net = frozen_view(given.network)
        device = given.x.device
        self.attack = AutoAttack(self.net, norm="Linf", eps=given.eps, seed=SEED, version="standard", device=device)
        self.survived: Flags = torch.zeros(0, dtype=torch.bool)

    def __call__(self) -> float:
        """Seconds of a whole attack, with the seeds of ours; the verdicts stay in `survived`."""
        self.attack.get_seed = partial(next, (stream(SEED, part, 0) for part in AUTOATTACK))
        start = time.perf_counter()
        with float32(), torch.no_grad():
            x_adv, _ = self.attack.run_standard_evaluation(_floats(self.given.x), self.given.y, batch_size=self.chunk)
            self.survived = (self.net(x_adv).argmax(1) == self.given.y).cpu()
        return time.perf_counter() - start


def _noisy(x: Images) -> Images:
    return (x + NOISE * torch.randn_like(x)).clamp(0, 1)


def _floats(x: Tensor) -> Images:
    return x.float() / 255


def compared(
    architecture: str, count: int, device: torch.device, rounds: int, each: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], Spread]:
    """Attack `count` images with both, in turns, `rounds` times; `each` is called after every turn.

    Returns a block for the history, and how many times as fast ours was.
    """
    given = target(architecture, count, device)
    ours, reference = Ours(given, count), Reference(given, count)
    seconds = in_turns({"ours": ours, "reference": reference}, rounds, each)
    block = {
        "architecture": architecture,
        "images": count,
        "eps": given.eps,
        "rounds": rounds,
        "survived": int(ours.survived.sum()),
        "verdicts_that_differ": int((ours.survived != reference.survived).sum()),
        "seconds": {name: Spread.of(took).median for name, took in seconds.items()},
        "seconds_compiling": ours.seconds_compiling,
    }
    return block, times_faster(seconds, "ours", "reference")
