"""Who is compared: the published way to work, and the product's own loop with each of its engines."""

import sys
from collections.abc import Mapping
from typing import Literal, Protocol

from absld.data.task import Held, Task
from absld.device import limit_threads
from absld.engine.choose import Speed
from absld.methods.absld import Absld
from absld.training.fit import begin, train_epoch
from benchmarks.announcing import Announcing
from benchmarks.clock import Clock
from benchmarks.problem import SEED, Problem
from benchmarks.published import Published

Name = Literal["published", "plain", "fast"]
NAMES: tuple[Name, ...] = ("published", "plain", "fast")


class Contestant(Protocol):
    """A training run that goes on and on."""

    def train(self) -> None:
        """Take the problem's steps."""
        ...

    def report(self) -> Mapping[str, float | str]:
        """What is worth knowing about how it works; `precision` is that of most of its arithmetic."""
        ...


def entered(name: Name, problem: Problem, clock: Clock) -> Contestant:
    """A contestant, alone in its process."""
    if name == "published":
        return Published(problem, clock)
    limit_threads(problem.x.shape[-1])  # as the stage that trains does
    return Product(problem, Speed(engine=name), clock)


class Product:
    """The product's own loop."""

    def __init__(self, problem: Problem, speed: Speed, clock: Clock) -> None:
        self.method, self.recipe = Absld(problem.block), problem.block.optimiser
        nothing = Held(problem.x[:0].float(), problem.y[:0])
        self.task = Task(
            classes=tuple(map(str, range(problem.classes))),
            x=problem.x,
            y=problem.y,
            validation=nothing,
            selection=nothing,
            augmentation=problem.augmentation,
            attack=problem.block.attack,
            seed=SEED,
        )
        student, epochs = problem.student, problem.epochs
        self.engine = Announcing(speed.engine_of(self.task, problem.block, student, epochs=epochs, say=_warn), clock)
        self.nets = self.engine.networks(student, problem.teacher, None)
        self.run = begin(self.method, student, self.recipe, self.task, self.engine)

    def train(self) -> None:
        """Train an epoch. How good the student has become is not measured, and its temperatures stay."""
        self.run.epoch += 1
        epoch, lr, batch_size = self.run.epoch, self.recipe.lr, self.recipe.batch_size
        train_epoch(self.run, self.method, self.nets, self.task, self.engine, epoch, lr, batch_size)

    def report(self) -> Mapping[str, float | str]:
        """The engine's."""
        return {"precision": "float32", **self.engine.report()}


def _warn(line: str) -> None:
    print(line, file=sys.stderr)
