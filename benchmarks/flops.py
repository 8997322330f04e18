"""How much arithmetic a step is, whoever does it: the plain step is counted, on no device at all."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from absld.methods.absld import Absld
from absld.methods.protocol import Batch, Networks
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.params import distillation as settings

IMAGES = 2


class Arithmetic(NamedTuple):
    """Floating-point operations of convolutions and matrix products."""

    student: int
    teacher: int


def of_an_image(student: Spec, teacher: Spec, block: settings.Absld) -> Arithmetic:
    """What a training step takes for one image."""
    own = _of_a_step(student, None, block)
    return Arithmetic(own, _of_a_step(student, teacher, block) - own)


def _of_a_step(student: Spec, teacher: Spec | None, block: settings.Absld) -> int:
    """With a teacher, or with one whose logits cost nothing."""
    with torch.device("meta"):
        network, method = build(student), Absld(block)
        free = torch.zeros(IMAGES, student.classes)
        asked = (lambda x: free) if teacher is None else frozen_view(build(teacher))
        nets = Networks(network, frozen_view(network), asked)
        x = torch.empty(IMAGES, student.channels, student.size, student.size)
        batch, state = Batch(x, torch.zeros(IMAGES, dtype=torch.int64)), method.init(student.classes)
        with _Counter() as counter:
            method.step(nets, batch, state).loss.backward()  # type: ignore[no-untyped-call]
    return int(counter.flops) // IMAGES


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Torch's own FlopCounterMode also asks which module an operation belongs to, and fails where inputs are leaves."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out
