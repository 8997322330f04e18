"""Networks, batches and a task so small that a slow oracle keeps up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from absld.data.task import Held, Task
from absld.methods.protocol import Batch, Evidence, Networks
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier, Spec, build
from absld.params.attacks import Walk
from absld.params.load import load
from absld.params.train import Augmentation
from absld.training.fit import begin
from absld.training.run import Run

PARAMS: Any = load(Path(__file__).parents[1] / "pipeline/profiles/cifar10.yaml")
NAMES = ("left", "right", "none")


def with_(block: Any, **changes: Any) -> Any:
    return block.model_copy(update=changes)


def network(classes: int = 4) -> Classifier:
    """In float64: the sign of a gradient is then the same however the sum is written.

    It knows the statistics of `batch`, and answers no class more than the others: so its images get different answers.
    """
    torch.manual_seed(1)
    student = build(Spec("tiny_resnet16", classes, 1, 8, None)).double().train()
    student.get_parameter("backbone.linear.weight").data *= 8
    with torch.no_grad():
        for _ in range(20):
            z = student(batch().x)
        student.get_parameter("backbone.linear.bias").sub_(z.mean(0))
    return student


def networks(student: Classifier) -> Networks:
    return Networks(student, frozen_view(student), None)


def batch(n: int = 8, classes: int = 4) -> Batch:
    """Random pixels, some of them black or white: there the range of the pixels ends the ball."""
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return Batch((1.2 * x - 0.1).clamp(0, 1), torch.arange(n) % classes)


def evidence(risk: Tensor, y: Tensor, epoch: int, decay: float = 1.0) -> Evidence:
    """An epoch that saw each example once, with the same risk on its clean and on its adversarial image."""
    classes = max(3, int(y.max()) + 1)
    total = torch.zeros(classes).index_add_(0, y, risk.float())
    count = torch.bincount(y, minlength=classes)
    return Evidence(epoch, decay, count, {"risk_adv": total, "risk_clean": total}, {})


def task(per_class: int = 8) -> Task:
    """Three classes: a bright left half, a bright right half, neither. Nothing is augmented."""
    y = torch.arange(3 * per_class) % 3
    x = torch.randint(0, 90, (len(y), 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x[y == 0, :, :, :4] += 100
    x[y == 1, :, :, 4:] += 100
    held = Held(x[:12].float() / 255, y[:12])
    return Task(
        classes=NAMES,
        x=x,
        y=y,
        validation=held,
        selection=held,
        augmentation=Augmentation(crop_padding=0, padding="zeros", horizontal_flip=False),
        attack=Walk(eps=0.1, step=0.05, steps=2, start="uniform"),
        seed=0,
    )


def begun(method: Any, block: Any, of: Task) -> tuple[Run, Networks]:
    """A run before its first epoch, and its networks."""
    torch.manual_seed(1)
    student = build(Spec("tiny_resnet16", len(of.classes), 1, 8, None))
    return begin(method, student, block.optimiser, of), networks(student)


@contextmanager
def inputs_of(student: Classifier) -> Iterator[list[Tensor]]:
    """What the student itself is asked; its frozen view, made before, is another module."""
    seen: list[Tensor] = []
    hook = student.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    yield seen
    hook.remove()
