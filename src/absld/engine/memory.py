"""The teacher's logits, remembered: they depend on an image and its variant, and on nothing that training moves.

At a padding of 4 an image has 9·9·2 = 162 variants, so of 300 epochs 162·(1 − (161/162)^300) ≈ 137 ask the teacher.
"""

import time
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from absld import distributed
from absld.data.augmentation import Plan, Variants, offsets
from absld.data.task import Task
from absld.shapes import Images, Logits


class Memory:
    """A teacher that is asked about an image and its variant once. About other images it is asked as ever."""

    def __init__(self, ask: Callable[[Images], Logits], task: Task, rows: int) -> None:
        """`ask` is asked about `rows` images at a time."""
        self.ask, self.task, self.rows = ask, task, rows
        self.epoch: Plan | None = None
        self.x: Images | None = None
        self.batch: Plan | None = None
        self.asked = self.remembered = 0
        self.seconds = 0.0

    @cached_property
    def logits(self) -> Tensor:
        """What is remembered. A teacher that is never asked about training images takes no room."""
        return torch.empty(len(self.task.x), variants_of(self.task), len(self.task.classes), device=self.task.device)

    @cached_property
    def known(self) -> Tensor:
        """Which of it."""
        return torch.zeros(len(self.task.x), variants_of(self.task), dtype=torch.bool, device=self.task.device)

    def begin(self, epoch: Plan) -> None:
        """These images will come in this epoch. The teacher is asked about the unknown ones when it is first needed."""
        self.epoch = epoch

    def show(self, batch: Plan, x: Images) -> None:
        """These images come now, and this is the tensor that holds them."""
        self.batch, self.x = batch, x

    def __call__(self, x: Images) -> Logits:
        """The teacher's logits; no gradient flows through what is remembered."""
        if x is not self.x or self.batch is None:
            return self.ask(x)
        if self.epoch is not None:
            self._learn(self.epoch)
            self.epoch = None
        return self.logits[self._places(self.batch)]

    @property
    def saved(self) -> float:
        """Seconds that the teacher would have taken for what was remembered."""
        return self.seconds / self.asked * self.remembered if self.asked else 0.0

    @torch.no_grad()
    def _learn(self, epoch: Plan) -> None:
        """The one place in an epoch that waits for the device: how many are unknown."""
        unknown = epoch.take(~self.known[self._places(epoch)])
        self.asked += len(unknown.rows)
        self.remembered += len(epoch.rows) - len(unknown.rows)
        if not self.seconds and len(unknown.rows):  # what is compiled at the first question is not the teacher's time
            self.ask(unknown.take(slice(0, 1)).images(self.task.x, self.task.augmentation))
        started = time.perf_counter()
        places, ours = self._places(unknown), distributed.rows(len(unknown.rows))
        learned = self.logits.new_zeros(len(unknown.rows), self.logits.shape[-1])
        for start in range(ours.start, ours.stop, self.rows):
            piece = slice(start, min(start + self.rows, ours.stop))
            learned[piece] = self.ask(unknown.take(piece).images(self.task.x, self.task.augmentation)).float()
        self.logits[places], self.known[places] = distributed.total(learned), True
        if self.task.device.type == "cuda":
            torch.cuda.synchronize(self.task.device)
        self.seconds += time.perf_counter() - started

    def _places(self, plan: Plan) -> tuple[Tensor, Tensor]:
        return plan.rows, _number(plan.variants, offsets(self.task.augmentation))


def variants_of(task: Task) -> int:
    """How many variants an image has."""
    return offsets(task.augmentation) ** 2 * (2 if task.augmentation.horizontal_flip else 1)


def bytes_of(task: Task) -> int:
    """What the memory of a teacher takes."""
    return len(task.x) * variants_of(task) * (4 * len(task.classes) + 1)


def _number(variants: Variants, offsets: int) -> Tensor:
    top, left, mirrored = variants
    return (mirrored.long() * offsets + top) * offsets + left
