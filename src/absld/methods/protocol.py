"""What a method is: a state, a step on a batch, and what an epoch does to the state.

    state = method.init(classes)
    step  = method.step(nets, batch, state)           for each batch: a loss, and what was seen of each example
    state = method.next_state(state, evidence)        after each epoch: pure, same inputs, same state

The loop (absld.training.fit) owns everything else: data, optimiser, validation, checkpoints.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from absld.divergences import cross_entropy
from absld.params.attacks import BatchNorm
from absld.shapes import Counts, Images, Labels, Logits, PerClass, PerSample, Scalar


class Batch(NamedTuple):
    """Augmented training images and their labels."""

    x: Images
    y: Labels


@dataclass(frozen=True)
class Networks:
    """The networks of a step."""

    student: Callable[[Images], Logits]
    """In training mode: every forward updates the BatchNorm statistics."""
    frozen: Callable[[Images], Logits]
    """The same student as it is attacked: evaluation mode, no parameter gradients, nothing is updated."""
    teacher: Callable[[Images], Logits] | None
    """Evaluation mode, no parameter gradients; None where a method needs none."""
    clean_teacher: Callable[[Images], Logits] | None = None
    """A second one, for clean images, of a method that brings it (MTARD)."""

    def attacked(self, batchnorm: BatchNorm) -> Callable[[Images], Logits]:
        """The student as it is attacked; with `train` every forward of the attack moves its BatchNorm statistics."""
        return self.frozen if batchnorm == "eval" else self.student


class Step(NamedTuple):
    """What a batch gave."""

    loss: Scalar
    """What is minimised."""
    seen: Mapping[str, PerSample]
    """Named, detached, per example. The loop sums each class by class: no synchronisation with the device."""
    state: "State | None" = None
    """The memory after this batch, where it moves with every batch and not with every epoch (MTARD)."""
    forward_after: Images | None = None
    """Images that pass through the student once more when its weights have moved: for its BatchNorm alone (CFA)."""


Accuracies = Mapping[str, PerClass]
"""Accuracy in [0, 1] of each class on the validation images, `clean` and under the validation's attack, `pgd`."""


@dataclass(frozen=True)
class Evidence:
    """What one epoch showed."""

    epoch: int
    """Counted from 1."""
    decay: float
    """Product of the schedule's factors up to the end of this epoch: the learning rate's of the next one."""
    count: Counts
    """Training images of each class that were seen."""
    total: Mapping[str, PerClass]
    """Sum over the epoch of each quantity in `Step.seen`, class by class."""
    validation: Accuracies
    """Of the student after the epoch."""

    def mean(self, name: str) -> PerClass:
        """Mean of a quantity over the examples of each class; 0 for a class without examples."""
        return self.total[name] / self.count.clamp(min=1)


State = Mapping[str, PerClass | Scalar]
"""A method's memory, by name: checkpointed, logged and shown as it is. A value, never changed."""


class Method(Protocol):
    """A way to train."""

    def init(self, classes: int) -> State:
        """The state before the first epoch, on the CPU. The loop moves it to the student's device."""
        ...

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        """The loss of a batch."""
        ...

    def next_state(self, state: State, evidence: Evidence) -> State:
        """The state for the next epoch."""
        ...


@runtime_checkable
class LooksFirst(Protocol):
    """A method that measures the student before its first epoch (FRL)."""

    def first_state(self, state: State, validation: Accuracies) -> State:
        """The state for the first epoch."""
        ...


class Stateless:
    """The memory of a method that has none."""

    def init(self, classes: int) -> State:
        """Nothing to remember."""
        del classes
        return {}

    def next_state(self, state: State, evidence: Evidence) -> State:
        """Nothing to learn from an epoch."""
        del evidence
        return state


def risks(y: Labels, **logits: Logits) -> dict[str, PerSample]:
    """Cross-entropy of each example, `adv` and `clean`: the error risks of the paper's Eq. 6 and Figure 5."""
    return {f"risk_{images}": cross_entropy(z.detach(), y) for images, z in logits.items()}
