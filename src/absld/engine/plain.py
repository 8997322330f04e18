"""The plain engine: float32, one operation after the other, as the equations are written. The fast one must agree."""

from collections.abc import Iterator, Mapping
from itertools import starmap

import torch

from absld.data.augmentation import batches
from absld.data.task import Task
from absld.methods.protocol import Batch, Networks
from absld.networks.frozen import frozen_view
from absld.networks.synchronised import synchronised
from absld.networks.zoo import Classifier
from absld.params.recipe import Optimiser


class Plain:
    """See absld.engine.protocol."""

    def networks(self, student: Classifier, teacher: Classifier | None, clean_teacher: Classifier | None) -> Networks:
        """The modules themselves, and the student's frozen view."""
        teachers = (None if network is None else frozen_view(network) for network in (teacher, clean_teacher))
        return Networks(synchronised(student), self.attacked(student), *teachers)

    def attacked(self, network: Classifier) -> Classifier:
        """The network's frozen view."""
        return frozen_view(network)

    def optimiser(self, student: Classifier, recipe: Optimiser) -> torch.optim.SGD:
        """SGD, a tensor at a time."""
        return sgd(student, recipe, foreach=False)

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """One epoch."""
        return starmap(Batch, batches(task.x, task.y, batch_size, task.augmentation, generator))

    def refresh(self) -> None:
        """Nothing is derived from the student's weights."""

    def report(self) -> Mapping[str, float | str]:
        """Its name."""
        return {"engine": "plain", "precision": "float32"}


def sgd(student: Classifier, recipe: Optimiser, **how: bool) -> torch.optim.SGD:
    """SGD as the method's block says; `how` chooses among torch's implementations of it."""
    return torch.optim.SGD(
        student.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        **how,
    )


PLAIN = Plain()
"""It has no state."""
