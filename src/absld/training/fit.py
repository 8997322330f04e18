"""The loop: one for all methods, whole on one screen. It reports; who listens is not its business."""

from collections.abc import Iterator, Mapping
from copy import deepcopy

import torch
from torch import Tensor

from absld.data.augmentation import batches
from absld.methods.protocol import Batch, Evidence, LooksFirst, Method, Networks
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier
from absld.params.recipe import Method as Block
from absld.params.recipe import Optimiser
from absld.seeds import stream
from absld.training.averaging import average, judged
from absld.training.checkpoint import Checkpoint
from absld.training.rows import rows
from absld.training.run import Run, on
from absld.training.schedule import Schedule
from absld.training.task import Task
from absld.training.validate import Validation, class_sum, validate


class DivergedError(RuntimeError):
    """The weights are lost: going on would cost time and give nothing."""


def begin(method: Method, student: Classifier, recipe: Optimiser, task: Task) -> Run:
    """A run before its first epoch."""
    optimiser = torch.optim.SGD(
        student.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    return Run(student, optimiser, on(task.device, method.init(len(task.classes))))


def fit(
    run: Run,
    method: Method,
    block: Block,
    task: Task,
    nets: Networks,
    *,
    epochs: int,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Run]:
    """Train until `epochs` have ended; yields the run after each epoch, once it is safe in the checkpoint."""
    schedule = Schedule(tuple(block.milestones), block.decay)
    reported = deepcopy(run.student).eval() if block.averaging else run.student
    if run.epoch == 0 and isinstance(method, LooksFirst):
        run.state = method.first_state(run.state, validate(nets.frozen, task, task.validation, epoch=0).accuracy)
    for epoch in range(run.epoch + 1, epochs + 1):
        lr = block.optimiser.lr * schedule.before(epoch)
        trained_with = run.state
        sums = _epoch(run, method, nets, task, epoch, lr, block.optimiser.batch_size)
        run.epoch = epoch
        validation = validate(nets.frozen, task, task.validation, epoch)
        evidence = sums.evidence(epoch, schedule.after(epoch), validation)
        run.state = on(task.device, method.next_state(run.state, evidence))
        gate = None
        if block.averaging:
            gate = judged(block.averaging, epoch, validation.accuracy["pgd"])
            if gate.accepted:
                run.average = average(run.average, run.student.backbone.state_dict(), block.averaging.decay)
        chosen = _chosen(run, nets, reported, task, validation)
        run.rows += rows(task.classes, lr, sums.loss / sums.count.sum(), evidence, trained_with, chosen, gate)
        run.judge(chosen.score, keep_last=block.keep == "last")
        if checkpoint is not None:
            checkpoint.save(run.memory())
        yield run


def _epoch(run: Run, method: Method, nets: Networks, task: Task, epoch: int, lr: float, batch_size: int) -> "_Sums":
    """Train one epoch. Nothing is read back from the device before it ends."""
    torch.manual_seed(stream(task.seed, "epoch", epoch))
    shuffle = torch.Generator(task.device).manual_seed(stream(task.seed, "data", epoch))
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    run.student.train()
    sums = _Sums(len(task.classes), task.device)
    for x, y in batches(task.x, task.y, batch_size, task.augmentation, shuffle):
        step = method.step(nets, Batch(x, y), run.state)
        run.optimiser.zero_grad(set_to_none=True)
        step.loss.backward()  # type: ignore[no-untyped-call]
        run.optimiser.step()
        if step.state is not None:
            run.state = step.state
        if step.forward_after is not None:
            with torch.no_grad():
                nets.student(step.forward_after)
        sums.add(step.loss.detach(), step.seen, y)
    if not sums.loss.isfinite():
        raise DivergedError(f"epoch {epoch}: the loss is no finite number any more; a lower learning rate may help")
    return sums


def _chosen(run: Run, nets: Networks, reported: Classifier, task: Task, validation: Validation) -> Validation:
    """How good the weights are that the run reports, on the images that select the epoch."""
    if task.selection is task.validation and not run.average:
        return validation
    if not run.average:
        return validate(nets.frozen, task, task.selection, run.epoch)
    reported.backbone.load_state_dict(run.average)
    return validate(frozen_view(reported), task, task.selection, run.epoch)


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

    def evidence(self, epoch: int, decay: float, validation: Validation) -> Evidence:
        return Evidence(epoch, decay, self.count, self.total, validation.accuracy)
