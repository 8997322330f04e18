"""BatchNorm over the batch that several processes share: its statistics are those of all their rows.

    μ = Σ n_p·μ_p / n        σ² = Σ n_p·(σ_p² + (μ_p − μ)²) / n        over the processes p, each with n_p pixels

torch's own SyncBatchNorm computes the same, and refuses the CPU.
"""

from copy import deepcopy
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from absld import distributed

M = TypeVar("M", bound=nn.Module)


def synchronised(network: M) -> M:
    """The same network in training mode, its tensors shared, whose BatchNorms see the rows of all processes.

    A single process gets `network` itself.
    """
    if distributed.world() == 1:
        return network
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    view = deepcopy(network, shared)
    for name, layer in list(view.named_modules()):
        if isinstance(layer, nn.BatchNorm2d):
            view.set_submodule(name, _Synchronised(layer))
    return view.train()


class _Synchronised(nn.Module):
    """A BatchNorm in training mode, over the rows of all processes; its weights and statistics are the layer's own."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        mean, variance, count = _statistics(x)
        if layer.track_running_stats:
            _remember(layer, mean, variance * (count / (count - 1)))
        return _Normalise.apply(x, layer.weight, layer.bias, mean, variance, count, layer.eps)  # type: ignore[no-any-return]


@torch.no_grad()
def _statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel over the pixels of all processes, and their number."""
    exact = x if x.dtype == torch.float64 else x.float()
    variance, mean = torch.var_mean(exact, (0, 2, 3), correction=0)
    count = mean.new_full((1,), x.numel() // x.shape[1])
    found = distributed.gathered(torch.cat([mean, variance, count]))
    means, variances, counts = found.tensor_split([len(mean), 2 * len(mean)], dim=1)
    count = counts.sum(0)
    mean = (counts * means).sum(0) / count
    return mean, (counts * (variances + (means - mean) ** 2)).sum(0) / count, count


@torch.no_grad()
def _remember(layer: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    assert layer.running_mean is not None and layer.running_var is not None
    assert layer.num_batches_tracked is not None and layer.momentum is not None
    layer.num_batches_tracked.add_(1)
    layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), layer.momentum)
    layer.running_var.lerp_(variance.to(layer.running_var.dtype), layer.momentum)


class _Normalise(torch.autograd.Function):
    """y = γ·(x − μ)/σ + β; the gradient knows that μ and σ come from all rows."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """With constant μ and σ first, then what flows through them: −γ/σ·(mean ∂y + (x − μ)/σ·mean (∂y·(x − μ)/σ))."""
        x, weight, mean, variance, count = ctx.saved_tensors
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = distributed.gathered(torch.stack([by_weight, by_bias])).sum(0) / count
        inverse = (variance + ctx.eps).rsqrt()
        slope = weight * inverse * inverse * sums[0]
        constant = weight * inverse * sums[1] - slope * mean
        slope, constant = (values.to(x.dtype)[:, None, None] for values in (slope, constant))
        return by_x - torch.addcmul(constant, slope, x), by_weight, by_bias, None, None, None, None
