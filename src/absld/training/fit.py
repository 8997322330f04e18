"""The loop: one for all methods, whole on one screen. It reports; who listens is not its business."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from absld.data.augmentation import batches
from absld.methods.protocol import Batch, Evidence, Method, Networks, State
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier
from absld.params import methods as settings
from absld.records.history import Row
from absld.seeds import stream
from absld.shapes import Images, Logits
from absld.training.checkpoint import Checkpoint
from absld.training.schedule import Schedule
from absld.training.task import Task
from absld.training.validate import Validation, class_sum, validate


class DivergedError(RuntimeError):
    """The weights are lost: going on would cost time and give nothing."""


@dataclass
class Run:
    """All that a run has become so far: what a checkpoint holds."""

    student: Classifier
    optimiser: torch.optim.Optimizer
    state: State
    epoch: int = 0
    """The last epoch that has ended, counted from 1."""
    rows: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best_score: tuple[float, float] = (-1.0, -1.0)
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    def memory(self) -> dict[str, Any]:
        """Plain tensors, numbers and lists."""
        return {
            "student": self.student.backbone.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "state": dict(self.state),
            "epoch": self.epoch,
            "rows": [tuple(row) for row in self.rows],
            "best": (self.best_epoch, self.best_score, self.best_weights),
        }

    def take_best(self) -> None:
        """Put the weights of the best epoch into the student: there is nothing to train afterwards."""
        self.student.backbone.load_state_dict(self.best_weights)

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Become what `memory` was taken from."""
        self.student.backbone.load_state_dict(memory["student"])
        self.optimiser.load_state_dict(memory["optimiser"])
        self.state = memory["state"]
        self.epoch = memory["epoch"]
        self.rows = [Row(*row) for row in memory["rows"]]
        self.best_epoch, self.best_score, self.best_weights = memory["best"]


def begin(method: Method, student: Classifier, recipe: settings.Optimiser, task: Task) -> Run:
    """A run before its first epoch."""
    optimiser = torch.optim.SGD(
        student.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    state = {name: values.to(task.device) for name, values in method.init(len(task.classes)).items()}
    return Run(student, optimiser, state)


def fit(
    run: Run,
    method: Method,
    recipe: settings.Method,
    task: Task,
    *,
    epochs: int,
    teacher: Callable[[Images], Logits] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Run]:
    """Train until `epochs` have ended; yields the run after each epoch, once it is safe in the checkpoint."""
    nets = Networks(run.student, frozen_view(run.student), teacher)
    schedule = Schedule(tuple(recipe.milestones), recipe.decay)
    for epoch in range(run.epoch + 1, epochs + 1):
        torch.manual_seed(stream(task.seed, "epoch", epoch))
        shuffle = torch.Generator(task.device).manual_seed(stream(task.seed, "data", epoch))
        lr = recipe.optimiser.lr * schedule.before(epoch)
        for group in run.optimiser.param_groups:
            group["lr"] = lr
        run.student.train()
        sums = _Sums(len(task.classes), task.device)
        for x, y in batches(task.x, task.y, recipe.optimiser.batch_size, task.augmentation, shuffle):
            step = method.step(nets, Batch(x, y), run.state)
            run.optimiser.zero_grad(set_to_none=True)
            step.loss.backward()  # type: ignore[no-untyped-call]
            run.optimiser.step()
            sums.add(step.loss.detach(), step.seen, y)
        if not sums.loss.isfinite():
            raise DivergedError(f"epoch {epoch}: the loss is no finite number any more; a lower learning rate may help")
        evidence = sums.evidence(epoch, schedule.after(epoch))
        trained_with, run.state = run.state, method.next_state(run.state, evidence)
        validation = validate(nets.frozen, task, epoch)
        run.epoch = epoch
        run.rows += _rows(epoch, lr, sums, evidence, trained_with, validation, task.classes)
        if validation.score > run.best_score:
            run.best_epoch, run.best_score = epoch, validation.score
            run.best_weights = {name: t.clone() for name, t in run.student.backbone.state_dict().items()}
        if checkpoint is not None:
            checkpoint.save(run.memory())
        yield run


class _Sums:
    """What an epoch adds up, on the device: nothing is read back before the epoch ends."""

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

    def evidence(self, epoch: int, decay: float) -> Evidence:
        return Evidence(epoch, decay, self.count, self.total)


def _rows(
    epoch: int,
    lr: float,
    sums: _Sums,
    evidence: Evidence,
    state: State,
    validation: Validation,
    classes: tuple[str, ...],
) -> Iterator[Row]:
    """An epoch in long form; `state` is the one that it was trained with."""
    yield Row(epoch, "train/loss", "", float(sums.loss / sums.count.sum()))
    yield Row(epoch, "train/lr", "", lr)
    for name, accuracy in validation.accuracy.items():
        yield Row(epoch, f"validation/{name}_average", "", float(accuracy.mean()))
        yield Row(epoch, f"validation/{name}_worst", "", float(accuracy.min()))
    by_class = {
        **{name: evidence.mean(name) for name in sorted(evidence.total)},
        **{name: state[name] for name in sorted(state)},
        **{f"validation_{name}": accuracy for name, accuracy in validation.accuracy.items()},
    }
    for name, values in by_class.items():
        for class_name, value in zip(classes, values.tolist(), strict=True):
            yield Row(epoch, name, class_name, value)
