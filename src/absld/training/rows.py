"""What an epoch leaves in history.csv."""

from collections.abc import Iterator

from torch import Tensor

from absld.methods.protocol import Evidence, State
from absld.records.history import Row
from absld.training.averaging import Gate
from absld.training.validate import Validation


def rows(
    classes: tuple[str, ...],
    lr: float,
    loss: Tensor,
    evidence: Evidence,
    state: State,
    validation: Validation,
    gate: Gate | None,
) -> Iterator[Row]:
    """An epoch in long form.

    Args:
        classes: their names.
        lr: the learning rate that it was trained with.
        loss: the mean over its images.
        evidence: what it showed of the student that was trained.
        state: the one that it was trained with.
        validation: of the weights that the run reports, on the images that select.
        gate: how its weights fared at the average's gate; None where nothing is averaged.

    """
    epoch = evidence.epoch
    yield Row(epoch, "train/loss", "", float(loss))
    yield Row(epoch, "train/lr", "", lr)
    for name, accuracy in validation.accuracy.items():
        yield Row(epoch, f"validation/{name}_average", "", float(accuracy.mean()))
        yield Row(epoch, f"validation/{name}_worst", "", float(accuracy.min()))
    if gate is not None:
        yield Row(epoch, "averaging/accepted", "", float(gate.accepted))
        yield Row(epoch, f"averaging/pgd_{gate.measure}", "", gate.value)
    for name, value in sorted(state.items()):
        if not value.dim():
            yield Row(epoch, f"state/{name}", "", float(value))
    by_class = {
        **{name: evidence.mean(name) for name in sorted(evidence.total)},
        **{name: value for name, value in sorted(state.items()) if value.dim()},
        **{f"validation_{name}": accuracy for name, accuracy in validation.accuracy.items()},
    }
    for name, values in by_class.items():
        for class_name, value in zip(classes, values.tolist(), strict=True):
            yield Row(epoch, name, class_name, value)
