"""What a teacher's memory saves: it need not be asked twice about the same variant of an image."""

from collections.abc import Callable
from typing import Any

import torch

from absld.data.augmentation import offsets
from absld.device import limit_threads
from absld.engine.choose import Speed
from absld.params.data import FACTS
from absld.params.train import Augmentation
from benchmarks.cases import CASES
from benchmarks.clock import Clock
from benchmarks.contestants import Product
from benchmarks.problem import WHOLE, posed, settings_of
from benchmarks.timing import Spread, in_turns, times_faster

GIB = 1.0
"""More than the teacher of the digits needs."""


def share_remembered(variants: int, epochs: int) -> float:
    """Expected share of a run's questions that a memory answers which has room for all of them.

    An image is drawn once an epoch, each of its V variants with the same chance. After E epochs V(1 − (1 − 1/V)^E)
    different ones are expected to have come, and for each of these the teacher was asked once.
    """
    asked = variants * (1 - (1 - 1 / variants) ** epochs)
    return 1 - asked / epochs


def variants(augmentation: Augmentation) -> int:
    """In how many ways an image can be cropped and mirrored."""
    return offsets(augmentation) ** 2 * (2 if augmentation.horizontal_flip else 1)


class WholeRun:
    """All epochs of the digits with the fast engine, validation left out."""

    def __init__(self, device: torch.device, memory: float | None) -> None:
        self.device, self.memory = device, memory
        self.report: dict[str, float | str] = {}

    def __call__(self) -> float:
        """Seconds of a run from its beginning; what its engine says of it stays in `report`."""
        problem, clock = posed(CASES["digits_epoch"], self.device), Clock(self.device)
        product = Product(problem, Speed(engine="fast", teacher_memory=self.memory), clock)
        start = clock.now()
        for _ in range(problem.block.epochs):
            product.train()
        self.report = dict(product.report())
        return clock.now() - start


def saved(device: torch.device, rounds: int, each: Callable[[], None] = lambda: None) -> tuple[dict[str, Any], Spread]:
    """Run the digits with a memory and without, in turns, `rounds` times; `each` is called after every turn.

    Returns a block for the history, with what is expected elsewhere, and how many times as fast it was with a memory.
    """
    remembering, asking, threads = WholeRun(device, GIB), WholeRun(device, None), torch.get_num_threads()
    limit_threads(FACTS["digits"].size)
    seconds = in_turns({"remembering": remembering, "asking": asking}, rounds, each)
    torch.set_num_threads(threads)
    measured = {name: remembering.report[name] for name in ("teacher_hit_rate", "teacher_seconds_saved")}
    block = {profile: _expected(profile) for profile in WHOLE}
    block["digits"] |= {"rounds": rounds, "seconds": {n: Spread.of(s).median for n, s in seconds.items()}, **measured}
    return block, times_faster(seconds, "remembering", "asking")


def _expected(profile: str) -> dict[str, Any]:
    block, augmentation = settings_of(next(case for case in CASES.values() if case.profile == profile))
    return {
        "variants": variants(augmentation),
        "epochs": block.epochs,
        "expected_hit_rate": share_remembered(variants(augmentation), block.epochs),
    }
