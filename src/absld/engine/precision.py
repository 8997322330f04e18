"""Whether to compute in bfloat16, and whether to compile: decided by the device and the job, never by a stopwatch.

A run that is started again on the same kind of machine decides the same, so it goes on bit for bit.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from absld.networks.zoo import Classifier

WORTH_COMPILING = {"cpu": 2e14, "cuda": 2e16}
"""Floating-point operations of a run from which on a minute of compilation is earned back: on a CPU measured
(docs/lab-book.md), on a GPU estimated."""
WORTH_REDUCING = 5e7
"""Operations of a forward pass, an image, from which on bfloat16 pays on a CPU (docs/lab-book.md)."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 faster than float32: a GPU from Ampere on; a CPU with AMX, or AMD's.

    AVX512-BF16 without AMX, as virtual machines on Intel's processors have it, takes 1.7 times as long as float32
    (docs/lab-book.md).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    tell: Callable[[], Mapping[str, Any]] | None = getattr(torch.cpu, "get_capabilities", None)
    if tell is None:  # before torch 2.11, which does not say whose processor it is
        return torch.cpu._is_amx_tile_supported()
    capabilities = tell()
    by_vectors = capabilities.get("avx512_bf16") and not str(capabilities.get("cpu_name", "")).startswith("Intel")
    return bool(capabilities.get("amx_bf16") or by_vectors)


def gains(network: Classifier, device: torch.device) -> bool:
    """Whether bfloat16 makes it faster: on a GPU always; on a CPU not where it is small or has grouped convolutions."""
    if device.type == "cuda":
        return True
    grouped = any(layer.groups > 1 for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return not grouped and forward_cost(network) >= WORTH_REDUCING


def forward_cost(network: Classifier) -> int:
    """Floating-point operations of a forward pass, an image: two for each product in a convolution or linear layer."""
    cost = 0

    def count(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal cost
        assert isinstance(module, nn.Conv2d | nn.Linear)
        cost += 2 * output.numel() * math.prod(module.weight.shape[1:])

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    spec, like, training = network.spec, next(network.parameters()), network.training
    with torch.no_grad():
        network.eval()(torch.zeros(1, spec.channels, spec.size, spec.size, dtype=like.dtype, device=like.device))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return cost
