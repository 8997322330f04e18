"""A network from its first epoch to its last, whatever stage asks for it."""

from collections.abc import Callable, Mapping

import torch

from absld import distributed
from absld.data.task import Task
from absld.engine.choose import PLAINLY, Speed
from absld.errors import InputError
from absld.methods.registry import make
from absld.networks.zoo import Classifier, Spec, build
from absld.params.recipe import Method as Block
from absld.seeds import stream
from absld.training.checkpoint import Checkpoint
from absld.training.fit import begin, fit
from absld.training.run import Run

SMALL = 0.25
"""Of a whole batch: a last one with fewer images is warned of."""


def train_network(
    spec: Spec,
    name: str,
    block: Block,
    task: Task,
    checkpoint: Checkpoint,
    show: Callable[[Run], None],
    *,
    epochs: int,
    speed: Speed = PLAINLY,
    teacher: Classifier | None = None,
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
        speed: how it is to be executed.
        teacher: where the method needs one.
        brought: the networks that the method brings (absld.training.brought), by name.

    Raises:
        InputError: the last batch of an epoch is one that the network cannot be trained with, or too small for as many
            processes; these compute on different kinds of devices.
        DivergedError: the loss became infinite or no number.

    """
    brought = brought or {}
    distributed.refuse_different(task.device)
    refuse_a_last_batch(spec, task, block.optimiser.batch_size)
    _warn_of_a_last_batch(len(task.x), block.optimiser.batch_size)
    torch.manual_seed(stream(task.seed, "weights"))
    network = build(spec).to(task.device)
    if "start" in brought:
        network.backbone.load_state_dict(brought["start"].backbone.state_dict())
    method = make(name, block)
    engine = speed.engine_of(task, block, network, epochs=epochs, say=_say)
    nets = engine.networks(network, teacher, brought.get("clean_teacher"))
    run = begin(method, network, block.optimiser, task, engine)
    if memory := checkpoint.load(task.device):
        run.recall(memory)
    distributed.agree("the checkpoint's epoch", [torch.tensor(run.epoch, device=task.device)], task.device)
    show(run)
    for _ in fit(run, method, block, task, nets, engine, epochs=epochs, checkpoint=checkpoint):
        show(run)
    run.report = engine.report()
    return run


def _warn_of_a_last_batch(images: int, batch_size: int) -> None:
    """Where a step has two passes in training mode, 19 % of BatchNorm's statistics are the last batch's."""
    last = images % batch_size
    if images > batch_size and 0 < last < batch_size * SMALL:
        _say(
            f"an epoch's last batch has {last} of {batch_size} images, too few for BatchNorm's statistics: single "
            "classes may jump from epoch to epoch. Change data.train_per_class, data.validation_per_class or "
            "optimiser.batch_size"
        )


def _say(line: str) -> None:
    if distributed.rank() == 0:
        print(line, flush=True)


def refuse_a_last_batch(spec: Spec, task: Task, batch_size: int) -> None:
    """Each process needs an image; and BatchNorm has nothing to normalise where one image is one pixel in the end.

    Raises:
        InputError: the last batch of an epoch is such a one.

    """
    smallest = len(task.x) % batch_size or batch_size
    if smallest < distributed.world():
        raise InputError(
            f"train.processes: {distributed.world()} processes cannot share a batch of {smallest}, and "
            f"{len(task.x)} training images in batches of {batch_size} (optimiser.batch_size) have one: change either"
        )
    if (len(task.x) - 1) % batch_size:
        return
    try:
        build(spec).to(task.device).train()(task.x[:1].float() / 255)
    except ValueError:
        raise InputError(
            f"optimiser.batch_size: {len(task.x)} training images in batches of {batch_size} leave one over, "
            f"and {spec.architecture} cannot be trained with a last batch of one at this size: change it by one"
        ) from None
