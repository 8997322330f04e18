"""A network from its first epoch to its last, whatever stage asks for it."""

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch

from absld.errors import InputError
from absld.methods.protocol import Networks
from absld.methods.registry import make
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier, Spec, build
from absld.params.recipe import Method as Block
from absld.seeds import stream
from absld.shapes import Images, Logits
from absld.training.checkpoint import Checkpoint
from absld.training.fit import begin, fit
from absld.training.run import Run
from absld.training.task import Task


def train_network(
    spec: Spec,
    name: str,
    block: Block,
    task: Task,
    checkpoint: Checkpoint,
    show: Callable[[Run], None],
    *,
    epochs: int,
    teacher: Callable[[Images], Logits] | None = None,
    brought: Mapping[str, Classifier] | None = None,
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
        brought: the networks that the method brings (absld.training.brought), by name.

    Raises:
        InputError: the last batch of an epoch is one that the network cannot be trained with.
        DivergedError: the loss became infinite or no number.

    """
    brought = brought or {}
    torch.manual_seed(stream(task.seed, "weights"))
    network = build(spec).to(task.device)
    if "start" in brought:
        network.backbone.load_state_dict(brought["start"].backbone.state_dict())
    _refuse_a_last_batch_of_one(network, task, block.optimiser.batch_size)
    method = make(name, block)
    run = begin(method, network, block.optimiser, task)
    if memory := checkpoint.load(task.device):
        run.recall(memory)
    clean_teacher = frozen_view(brought["clean_teacher"]) if "clean_teacher" in brought else None
    nets = Networks(run.student, frozen_view(run.student), teacher, clean_teacher)
    show(run)
    for _ in fit(run, method, block, task, nets, epochs=epochs, checkpoint=checkpoint):
        show(run)
    return run


def _refuse_a_last_batch_of_one(network: Classifier, task: Task, batch_size: int) -> None:
    """BatchNorm has nothing to normalise where a single image is a single pixel in the end."""
    if len(task.x) % batch_size != 1:
        return
    try:
        deepcopy(network).train()(task.x[:1].float() / 255)
    except ValueError:
        raise InputError(
            f"optimiser.batch_size: {len(task.x)} training images in batches of {batch_size} leave one over, "
            f"and {network.spec.architecture} cannot be trained with a last batch of one at this size: change it by one"
        ) from None
