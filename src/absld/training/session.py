"""A network from its first epoch to its last, whatever stage asks for it."""

from collections.abc import Callable

import torch

from absld.methods.registry import make
from absld.networks.zoo import Spec, build
from absld.params import methods as settings
from absld.seeds import stream
from absld.shapes import Images, Logits
from absld.training.checkpoint import Checkpoint
from absld.training.fit import Run, begin, fit
from absld.training.task import Task


def train_network(
    spec: Spec,
    name: str,
    block: settings.Method,
    task: Task,
    checkpoint: Checkpoint,
    show: Callable[[Run], None],
    *,
    epochs: int,
    teacher: Callable[[Images], Logits] | None = None,
) -> Run:
    """Begin, or go on where the checkpoint ends, and train to the end.

    Args:
        spec: the network.
        name: the method.
        block: its settings.
        task: images, augmentation, validation and seed.
        checkpoint: where every finished epoch is kept.
        show: is told how the run stands: once before the first epoch of this process, then after each.
        epochs: how many to train in all.
        teacher: in evaluation mode, where the method needs one.

    """
    torch.manual_seed(stream(task.seed, "weights"))
    network = build(spec).to(task.device)
    method = make(name, block)
    run = begin(method, network, block.optimiser, task)
    if memory := checkpoint.load(task.device):
        run.recall(memory)
    show(run)
    for _ in fit(run, method, block, task, epochs=epochs, teacher=teacher, checkpoint=checkpoint):
        show(run)
    return run
