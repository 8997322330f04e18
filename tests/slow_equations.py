"""The pieces of the methods' equations, written slowly and from the papers: one example after the other."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def ce(z: Tensor, label: int) -> Tensor:
    """−log softmax(z)[label] of one example."""
    return z.exp().sum().log() - z[label]


def softmax(z: Tensor) -> Tensor:
    """exp(z_j) / Σ exp(z) of one example."""
    return z.exp() / z.exp().sum()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Σ_j p_j·(log p_j − log q_j) of one example."""
    return (p * (p.log() - q.log())).sum()


def total(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum()


def mean(values: Sequence[Tensor]) -> Tensor:
    return total(values) / len(values)


def walk(
    net: nn.Module,
    x: Tensor,
    first: Tensor,
    climbed: Callable[[Tensor], Tensor],
    *,
    eps: Sequence[float],
    step: float,
    steps: int,
) -> list[Tensor]:
    """x_0 … x_K from `first`, in the ball eps[i] of image i; `net` stays in the mode that it is in."""
    points = [first]
    for _ in range(steps):
        point = points[-1].detach().requires_grad_()
        (gradient,) = torch.autograd.grad(climbed(net(point)), point)
        moved = point.detach() + step * gradient.sign()
        inside = [torch.min(torch.max(m, i - e), i + e) for m, i, e in zip(moved, x, eps, strict=True)]
        points.append(torch.stack(inside).clamp(0, 1))
    return points


def climbed_kl(targets: Tensor) -> Callable[[Tensor], Tensor]:
    """Σ_i KL(targets_i ‖ softmax(z_i))."""
    return lambda z: total([kl(p, softmax(row)) for p, row in zip(targets, z, strict=True)])


def climbed_ce(y: Tensor) -> Callable[[Tensor], Tensor]:
    """Σ_i CE(z_i, y_i)."""
    return lambda z: total([ce(row, label) for row, label in zip(z, y.tolist(), strict=True)])


def clean_targets(net: nn.Module, x: Tensor) -> Tensor:
    """softmax of the network's answers in evaluation mode, as a constant; the network stays in evaluation mode."""
    net.eval()
    return torch.stack([softmax(row) for row in net(x)]).detach()


def gradients(loss: Tensor, net: nn.Module) -> dict[str, Tensor]:
    names, parameters = zip(*net.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


def assert_same_step(loss: Tensor, student: nn.Module, expected: Tensor, reference: nn.Module) -> None:
    """Equal losses, gradients and BatchNorm statistics. The states are float32: hence the tolerance."""
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(gradients(loss, student), gradients(expected, reference), rtol=1e-5, atol=1e-7)
    buffers = dict(reference.named_buffers())
    torch.testing.assert_close(dict(student.named_buffers()), buffers, rtol=1e-6, atol=1e-8)
