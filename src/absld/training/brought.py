"""The networks that a method brings besides the pipeline's teacher: FRL's start, MTARD's clean teacher.

They are trained before the method itself, in the same stage and with the same seed, or read from a file. What was
trained stays in its folder, so that another setting of the method finds it again.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from absld import distributed
from absld.data.task import Task
from absld.engine.choose import PLAINLY, Speed
from absld.networks.checkpoints import read_verified
from absld.networks.weights import load, save
from absld.networks.zoo import Classifier, Spec
from absld.params.adversarial import FromFile, TrainedHere
from absld.params.agreement import brought, chosen_method
from absld.params.base import Section
from absld.params.distillation import CleanTeacher
from absld.params.recipe import Method
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run
from absld.training.session import refuse_a_last_batch, train_network

Watch = Callable[[str, int], AbstractContextManager[Callable[[Run], None]]]
"""Given a name and a number of epochs: who is told how a training stands."""


def spec_of(section: Section, student: Spec) -> Spec:
    """The network that is brought: the student's own, unless the section names another."""
    if isinstance(section, CleanTeacher):
        constants = section.normalisation
        pair = None if constants is None else (tuple(constants.mean), tuple(constants.std))
        return replace(student, architecture=section.architecture, normalisation=pair)
    return student


def origin_of(section: Section) -> TrainedHere | FromFile:
    """Where the network is from."""
    origin = section.origin if isinstance(section, CleanTeacher) else section
    assert isinstance(origin, TrainedHere | FromFile)
    return origin


def refuse_last_batches(block: Method, student: Spec, task: Task) -> None:
    """Refuse at once what would be found out only when what the method brings has been trained.

    Raises:
        InputError: the method, or one that trains what it brings, ends an epoch with a batch that cannot be trained on.

    """
    refuse_a_last_batch(student, task, block.optimiser.batch_size)
    for section in brought(block).values():
        if isinstance(origin := origin_of(section), TrainedHere):
            _, trainer = chosen_method(origin)
            refuse_a_last_batch(spec_of(section, student), task, trainer.optimiser.batch_size)


def bring(
    section: Section,
    student: Spec,
    task: Task,
    *,
    root: Path,
    folder: Path,
    epochs: int | None,
    watch: Watch,
    speed: Speed = PLAINLY,
) -> Classifier:
    """The network, in evaluation mode, on the task's device.

    Args:
        section: what the method's block says about it.
        student: the student's specification.
        task: what it is trained on, if it is.
        root: where a relative path starts.
        folder: belongs to exactly this training; keeps its checkpoint, then its weights.
        epochs: at most so many; None: as its block says.
        watch: is told about it.
        speed: how it is to be trained.

    Raises:
        InputError: the file is missing, another one, or does not fit.

    """
    spec, origin = spec_of(section, student), origin_of(section)
    if isinstance(origin, FromFile):
        return read_verified(root / origin.path, origin.sha256, spec).to(task.device)
    weights = folder / "weights.safetensors"
    if not weights.exists():
        name, block = chosen_method(origin)
        checkpoint, length = Checkpoint(folder), min(block.epochs, epochs or block.epochs)
        with watch(name, length) as show:
            run = train_network(spec, name, block, task, checkpoint, show, epochs=length, speed=speed)
        run.take(run.best_weights)
        if distributed.rank() == 0:
            save(weights, run.student, epoch=run.best_epoch)
            checkpoint.remove()
        distributed.wait(task.device)
    return load(weights, task.device)
