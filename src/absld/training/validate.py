"""How robust the student is after an epoch, class by class: this chooses the best epoch."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from absld import distributed
from absld.attacks.linf_walk import LinfWalk, Net, end_of
from absld.data.task import Held, Task
from absld.divergences import cross_entropy
from absld.seeds import stream
from absld.shapes import Labels, PerClass, PerSample
from absld.statistics.metrics import overall

CHUNK = 512


def class_sum(values: PerSample, y: Labels, classes: int) -> PerClass:
    """Σ of `values` per class. A class absent from the batch gets 0, and keeps its place."""
    return values.new_zeros(classes).index_add_(0, y, values)


@dataclass(frozen=True)
class Validation:
    """Accuracies in [0, 1] per class, by attack: `clean` and `pgd`."""

    accuracy: Mapping[str, PerClass]

    @property
    def score(self) -> tuple[float, float]:
        """What selection maximises: `overall` under attack; equal ones are told apart by their clean average."""
        return float(overall(self.accuracy["pgd"].cpu().numpy())), float(self.accuracy["clean"].mean())


def validate(net: Net, task: Task, images: Held, epoch: int) -> Validation:
    """Measure `net`, which is in evaluation mode. The attack's noise depends on the epoch alone."""
    classes = len(task.classes)
    walk = LinfWalk.of(task.attack)
    right = {name: torch.zeros(classes, dtype=torch.float64, device=task.device) for name in ("clean", "pgd")}
    torch.manual_seed(stream(task.seed, "validation", epoch))
    for start in range(0, len(images.y), CHUNK):
        whole = min(CHUNK, len(images.y) - start)
        ours = distributed.rows(whole)
        if ours.start == ours.stop:
            continue
        x, y = images.x[start : start + whole][ours], images.y[start : start + whole][ours]
        with distributed.part_of(whole):
            adv = end_of(walk(net, x, lambda _, z, y=y: cross_entropy(z, y)))  # type: ignore[misc]
        points = {"clean": x, "pgd": adv}
        for name, point in points.items():
            with torch.no_grad():
                z = net(point)
            hit = ((z.argmax(1) == y) & z.isfinite().all(1)).double()  # weights that are lost answer nothing
            right[name] += class_sum(hit, y, classes)
    count = class_sum(torch.ones_like(images.y, dtype=torch.float64), images.y, classes)
    return Validation({name: distributed.total(hits) / count for name, hits in right.items()})
