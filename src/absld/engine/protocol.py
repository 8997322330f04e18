"""What an engine gives the loop (absld.training.fit): networks to ask, an optimiser, the batches of an epoch."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import torch

from absld.data.task import Task
from absld.methods.protocol import Batch, Networks
from absld.networks.zoo import Classifier
from absld.params.recipe import Optimiser
from absld.shapes import Images, Logits


class Engine(Protocol):
    """How a run is executed. It belongs to one run."""

    def networks(self, student: Classifier, teacher: Classifier | None, clean_teacher: Classifier | None) -> Networks:
        """The networks as a step meets them; the teachers are in evaluation mode."""
        ...

    def attacked(self, network: Classifier) -> Callable[[Images], Logits]:
        """Any network in evaluation mode, as it is attacked; it follows the network at each `refresh`."""
        ...

    def optimiser(self, student: Classifier, recipe: Optimiser) -> torch.optim.Optimizer:
        """SGD on the student's parameters."""
        ...

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch: every image once, in random order and in a random variant; the last batch may be smaller."""
        ...

    def refresh(self) -> None:
        """The student has moved: before each step, and before it is measured."""
        ...

    def report(self) -> Mapping[str, float | str]:
        """What is worth knowing about how the run was executed, for its log."""
        ...
