"""A 3x3 convolution of stride 1 with 16 multiplications in place of 36.

    y = Aᵀ [ (G w Gᵀ) ⊙ (Bᵀ x B) ] A

gives 2x2 pixels y from a tile x of 4x4: F(2x2, 3x3) of Lavin and Gray (2016, arXiv 1509.09308, section 4.1).
Neighbouring tiles overlap by two pixels. Summed over the input channels, ⊙ is sixteen matrix products, one for each
place in a tile: on a CPU faster than the convolution itself, and its equal to rounding.

The input gradient is such a convolution too, with w turned round and its channels exchanged. Turned round, (w₀, w₁, w₂)
becomes (w₂, w₁, w₀), and of G's four rows the first and the last change places. So B and A change theirs, and G w Gᵀ
stays as it is.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from absld.shapes import Features

B = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]).T
G = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]]).T
TURNED = [3, 1, 2, 0]
FEWEST = 128
"""Channels: with fewer, carrying tiles about costs more than the multiplications saved."""
AT_ONCE = 65_536
"""Tiles times channels of one piece of a batch: its sixteen products then stay in the processor's caches."""


class _Places(NamedTuple):
    """What tiles are multiplied with, all places at once."""

    tile: Tensor
    """(16, 16), x ↦ Bᵀ x B."""
    pixels: Tensor
    """(4, 16), m ↦ Aᵀ m A."""


FORWARD = _Places(torch.kron(B.T, B.T), torch.kron(A.T, A.T))
BACKWARD = _Places(torch.kron(B.T[TURNED], B.T[TURNED]), torch.kron(A.T[:, TURNED], A.T[:, TURNED]))


def fits(convolution: nn.Conv2d) -> bool:
    """Whether it is of this kind, and `Winograd` is faster."""
    form = (convolution.kernel_size, convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
    usual = form == ((3, 3), (1, 1), (1, 1), (1, 1), 1) and convolution.padding_mode == "zeros"
    wide = min(convolution.in_channels, convolution.out_channels) >= FEWEST
    return usual and wide and convolution.weight.dtype == torch.float32 and convolution.weight.device.type == "cpu"


class Winograd(nn.Module):
    """Stands for a convolution that `fits`, without parameter gradients."""

    u: Tensor
    """G w Gᵀ: (16, inputs, outputs)."""
    bias: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("u", torch.zeros(16, inputs, outputs))
        self.register_buffer("bias", torch.zeros(outputs))

    @torch.no_grad()
    def take(self, weight: Tensor, bias: Tensor | None) -> None:
        """Compute with `weight`, (outputs, inputs, 3, 3), and `bias` from now on."""
        self.u.copy_(torch.einsum("ai,bj,ocij->abco", G, G, weight).flatten(0, 1))
        if bias is not None:
            self.bias.copy_(bias)

    def forward(self, x: Features) -> Features:
        """Map (N, inputs, height, width) to (N, outputs, height, width)."""
        return _Convolution.apply(x, self.u, self.bias)  # type: ignore[no-any-return]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, bias: Tensor) -> Tensor:
        ctx.u = u
        return _convolved(x, u, bias, FORWARD)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _convolved(gradient, ctx.u.mT, ctx.u.new_zeros(1), BACKWARD), None, None


def _convolved(x: Tensor, u: Tensor, bias: Tensor, places: _Places) -> Tensor:
    (n, inputs, height, width), outputs = x.shape, u.shape[2]
    down, across = -(-height // 2), -(-width // 2)
    y = x.new_empty(n, down, 2, across, 2, outputs)
    rows = max(1, AT_ONCE // (down * across * max(inputs, outputs)))
    for piece, made in zip(torch.split(x.permute(0, 2, 3, 1), rows), torch.split(y, rows), strict=True):
        padded = x.new_zeros(len(piece), 2 * down + 2, 2 * across + 2, inputs)
        padded[:, 1 : height + 1, 1 : width + 1] = piece
        tiles = padded.unfold(1, 4, 2).unfold(2, 4, 2).permute(4, 5, 0, 1, 2, 3).reshape(16, -1)
        products = torch.bmm((places.tile @ tiles).view(16, -1, inputs), u).view(16, -1)
        pixels = (places.pixels @ products).view(2, 2, len(piece), down, across, outputs)
        torch.add(pixels.permute(2, 3, 0, 4, 1, 5), bias, out=made)
    return y.view(n, 2 * down, 2 * across, outputs)[:, :height, :width].permute(0, 3, 1, 2)
