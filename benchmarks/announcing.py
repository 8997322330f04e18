"""An engine that tells a clock which part of the step begins."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from absld.data.task import Task
from absld.engine.protocol import Engine
from absld.methods.protocol import Batch, Networks
from absld.networks.zoo import Classifier
from absld.params.recipe import Optimiser
from absld.shapes import Images, Logits
from benchmarks.clock import Clock, Part


@dataclass(frozen=True)
class Announcing:
    """Does nothing but that: all else is the engine's."""

    engine: Engine
    clock: Clock

    def networks(self, student: Classifier, teacher: Classifier | None, clean_teacher: Classifier | None) -> Networks:
        """The forwards of the student, in training and under attack, and of the teacher are announced."""
        nets = self.engine.networks(student, teacher, clean_teacher)
        assert nets.teacher is not None
        return Networks(
            self._announced("training", nets.student),
            self._announced("attack", nets.frozen),
            self._announced("teacher", nets.teacher),
            nets.clean_teacher,
        )

    def attacked(self, network: Classifier) -> Callable[[Images], Logits]:
        """The engine's."""
        return self.engine.attacked(network)

    def optimiser(self, student: Classifier, recipe: Optimiser) -> torch.optim.Optimizer:
        """What comes after its steps is bookkeeping."""
        optimiser = self.engine.optimiser(student, recipe)
        optimiser.register_step_post_hook(lambda *_: self.clock.enter("bookkeeping"))
        return optimiser

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Waiting for each of them is announced."""
        self.clock.enter("data")
        for batch in self.engine.batches(task, batch_size, generator):
            self.clock.enter("bookkeeping")
            yield batch
            self.clock.enter("data")
        self.clock.enter("bookkeeping")

    def refresh(self) -> None:
        """The engine's."""
        self.engine.refresh()

    def report(self) -> Mapping[str, float | str]:
        """The engine's."""
        return self.engine.report()

    def _announced(self, part: Part, net: Callable[[Images], Logits]) -> Callable[[Images], Logits]:
        def asked(x: Images) -> Logits:
            self.clock.enter(part)
            return net(x)

        return asked
