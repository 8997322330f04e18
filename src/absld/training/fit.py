"""The loop: one for all methods, whole on one screen. It reports; who listens is not its business."""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor

from absld import distributed
from absld.data.task import Task
from absld.engine.plain import PLAIN
from absld.engine.protocol import Engine
from absld.errors import DivergedError
from absld.methods.protocol import Evidence, LooksFirst, Method, Networks
from absld.networks.zoo import Classifier
from absld.params.recipe import Method as Block
from absld.params.recipe import Optimiser
from absld.seeds import stream
from absld.shapes import Images, Logits
from absld.training.averaging import average, judged
from absld.training.checkpoint import Checkpoint
from absld.training.rows import rows
from absld.training.run import Run, on
from absld.training.schedule import Schedule
from absld.training.validate import Validation, class_sum, validate


def begin(method: Method, student: Classifier, recipe: Optimiser, task: Task, engine: Engine = PLAIN) -> Run:
    """A run before its first epoch."""
    return Run(student, engine.optimiser(student, recipe), on(task.device, method.init(len(task.classes))))


def fit(
    run: Run,
    method: Method,
    block: Block,
    task: Task,
    nets: Networks,
    engine: Engine = PLAIN,
    *,
    epochs: int,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Run]:
    """Train until `epochs` have ended; yields the run after each epoch, once it is safe in the checkpoint."""
    schedule = Schedule(tuple(block.milestones), block.decay)
    twin = deepcopy(run.student).eval() if block.averaging else run.student
    reported = Reported(twin, engine.attacked(twin) if block.averaging else nets.frozen)
    engine.refresh()
    if run.epoch == 0 and isinstance(method, LooksFirst):
        run.state = method.first_state(run.state, validate(nets.frozen, task, task.validation, epoch=0).accuracy)
    for epoch in range(run.epoch + 1, epochs + 1):
        lr = block.optimiser.lr * schedule.before(epoch)
        trained_with = run.state
        sums = train_epoch(run, method, nets, task, engine, epoch, lr, block.optimiser.batch_size)
        run.epoch = epoch
        engine.refresh()
        validation = validate(nets.frozen, task, task.validation, epoch)
        evidence = sums.evidence(epoch, schedule.after(epoch), validation)
        run.state = on(task.device, method.next_state(run.state, evidence))
        distributed.agree(f"epoch {epoch}: state and weights", _held(run), task.device)
        gate = None
        if block.averaging:
            gate = judged(block.averaging, epoch, validation.accuracy["pgd"])
            if gate.accepted:
                run.average = average(run.average, run.student.backbone.state_dict(), block.averaging.decay)
        chosen = _chosen(run, reported, task, engine, validation)
        run.rows += rows(task.classes, lr, sums.loss / sums.count.sum(), evidence, trained_with, chosen, gate)
        run.judge(chosen.score, keep_last=block.keep == "last")
        if checkpoint is not None and distributed.rank() == 0:
            checkpoint.save(run.memory())
        yield run


def train_epoch(
    run: Run, method: Method, nets: Networks, task: Task, engine: Engine, epoch: int, lr: float, batch_size: int
) -> "_Sums":
    """Train one epoch. Nothing is read back from the device before it ends, but once by a teacher's memory."""
    torch.manual_seed(stream(task.seed, "epoch", epoch))
    shuffle = torch.Generator(task.device).manual_seed(stream(task.seed, "data", epoch))
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    run.student.train()
    sums = _Sums(len(task.classes), task.device)
    for number, batch in enumerate(engine.batches(task, batch_size, shuffle)):
        whole = min(batch_size, len(task.x) - number * batch_size)
        engine.refresh()
        with distributed.part_of(whole):
            step = method.step(nets, batch, run.state)
        run.optimiser.zero_grad(set_to_none=True)
        (step.loss * (len(batch.y) / whole)).backward()  # type: ignore[no-untyped-call]
        distributed.add_gradients(run.student)
        run.optimiser.step()
        if step.state is not None:
            run.state = step.state
        if step.forward_after is not None:
            with torch.no_grad():
                nets.student(step.forward_after)
        sums.add(step.loss.detach(), step.seen, batch.y)
    sums.add_others()
    if not sums.loss.isfinite():
        raise DivergedError(f"epoch {epoch}: the loss is no finite number any more; a lower learning rate may help")
    return sums


def _held(run: Run) -> list[Tensor]:
    """What all processes hold in common: the state, and the sum of each of the student's tensors."""
    return [*run.state.values(), *(tensor.detach().double().sum() for tensor in run.student.state_dict().values())]


class Reported(NamedTuple):
    """A network for the weights that a run reports, its own where it averages; and as it is attacked."""

    network: Classifier
    frozen: Callable[[Images], Logits]


def _chosen(run: Run, reported: Reported, task: Task, engine: Engine, validation: Validation) -> Validation:
    """How good the weights are that the run reports, on the images that select the epoch."""
    if task.selection is task.validation and not run.average:
        return validation
    reported.network.backbone.load_state_dict(run.weights)
    engine.refresh()
    return validate(reported.frozen, task, task.selection, run.epoch)


class _Sums:
    """What an epoch adds up, on the device."""

    def __init__(self, classes: int, device: torch.device) -> None:
        self.count = torch.zeros(classes, dtype=torch.int64, device=device)
        self.total: dict[str, Tensor] = {}
        self.loss = torch.zeros((), device=device)

    def add(self, loss: Tensor, seen: Mapping[str, Tensor], y: Tensor) -> None:
        classes = len(self.count)
        self.count += class_sum(torch.ones_like(y), y, classes)
        self.loss += loss * len(y)
        for name, values in seen.items():
            self.total[name] = self.total.get(name, 0) + class_sum(values, y, classes)

    def add_others(self) -> None:
        """What the other processes have seen of the same batches."""
        self.count, self.loss = distributed.total(self.count), distributed.total(self.loss)
        self.total = {name: distributed.total(values.double()).to(values) for name, values in self.total.items()}

    def evidence(self, epoch: int, decay: float, validation: Validation) -> Evidence:
        return Evidence(epoch, decay, self.count, self.total, validation.accuracy)
