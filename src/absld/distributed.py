"""Several processes train one network: each has its rows of every batch, and what a batch adds up is added up over all.

Every process draws the same batches, and the noise of the whole batch, and keeps its own rows of both: so a batch means
the same however many share it. A single process has all rows, and then nothing here costs or changes anything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from absld.errors import InputError

_whole: ContextVar[int | None] = ContextVar("_whole", default=None)
AGREE = 1e-4
"""Relative difference from which on two processes do not hold the same numbers; those of one machine are equal."""


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0. The first one writes the files and speaks."""
    return dist.get_rank() if dist.is_initialized() else 0


def rows(count: int) -> slice:
    """Our rows of a batch of `count`: shares of equal length but for one."""
    return slice(rank() * count // world(), (rank() + 1) * count // world())


def largest(count: int) -> int:
    """Rows of the largest share of a batch of `count`."""
    return -(-count // world())


@contextmanager
def part_of(count: int) -> Iterator[None]:
    """What is `drawn` inside is drawn for a batch of `count`, of which this process has its rows."""
    token = _whole.set(count)
    try:
        yield
    finally:
        _whole.reset(token)


def drawn(draw: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`draw(x)`, noise of the shape of `x`; where `x` is part of a batch, that part of the whole batch's noise."""
    count = _whole.get()
    if count is None or world() == 1:
        return draw(x)
    return draw(x.new_empty((count, *x.shape[1:])))[rows(count)]


def total(values: Tensor) -> Tensor:
    """Σ over all processes. Gradients flow back to the values of all of them."""
    return values if world() == 1 else _Total.apply(values)


def highest(values: Tensor) -> Tensor:
    """The maximum over all processes, without a gradient."""
    return values if world() == 1 else _reduced(values.detach(), dist.ReduceOp.MAX)


def mean(values: Tensor) -> Tensor:
    """The mean of our values and those of all others."""
    return values.mean() if world() == 1 else total(values.sum()) / total(values.new_tensor(len(values)))


def add_gradients(network: nn.Module) -> None:
    """Σ of the gradients over all processes, all at once. Each has to weigh its loss with its share of the batch."""
    if world() == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def agree(what: str, values: Iterable[Tensor], device: torch.device) -> None:
    """RuntimeError where another process holds other numbers than the first: `what` names them."""
    if world() == 1:
        return
    ours = torch.cat([torch.zeros(0, dtype=torch.float64, device=device), *(v.double().flatten() for v in values)])
    for number, theirs in enumerate(gathered(ours)):
        if not torch.allclose(ours, theirs, rtol=AGREE, atol=AGREE, equal_nan=True):
            raise RuntimeError(f"{what}: process {number} has other numbers than process {rank()}")


def gathered(values: Tensor) -> Tensor:
    """The values of all processes, in their order along a new first dimension; all have the same shape."""
    everyone = values.new_empty((world(), *values.shape))
    dist.all_gather(list(everyone), values.contiguous())
    return everyone


def wait(device: torch.device) -> None:
    """Until all have come as far as this."""
    if world() > 1:
        _reduced(torch.zeros(1, device=device)).item()


def refuse_different(device: torch.device) -> None:
    """InputError where not all compute on one kind of device: random numbers would differ, and batches with them."""
    if world() == 1:
        return
    names: list[Any] = [None] * world()
    dist.all_gather_object(names, torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU")
    if others := sorted(set(names) - {names[0]}):
        raise InputError(
            f"train.processes: {names[0]} and {others[0]} draw different random numbers and cannot train together: "
            "use one kind of device"
        )


class _Total(torch.autograd.Function):
    """Its gradient: what any process makes of the sum counts for the values of every process."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _reduced(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _reduced(gradient)


def _reduced(values: Tensor, operation: Any = dist.ReduceOp.SUM) -> Tensor:
    values = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(values, operation)
    return values
