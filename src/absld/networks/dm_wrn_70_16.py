"""The wide residual network 70-16 of Gowal et al. 2020 (arXiv 2010.03593): a CIFAR-100 teacher with 407 state entries.

It was trained in JAX and translated, hence two things to get right: SiLU instead of ReLU, and TensorFlow's "SAME"
padding, which at stride 2 and an even size pads nothing before and one pixel after. The weights expect normalised
input. Names and shapes are those of the translated checkpoint.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


class SameConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 2, padded so that its windows start at the first pixel wherever the size is even."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, stride=2, bias=False)

    def forward(self, x: Features) -> Features:
        """Map height and width to ⌈size / 2⌉."""
        top, left = x.shape[-2] % 2, x.shape[-1] % 2
        return super().forward(F.pad(x, (left, 1, top, 1)))


def _conv(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 2:
        return SameConv2d(inputs, outputs)
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and SiLU; where widths differ, the shortcut starts after the SiLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.conv_0 = _conv(inputs, outputs, stride)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.conv_1 = _conv(outputs, outputs, 1)
        self.shortcut: nn.Module | None = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.silu(self.batchnorm_0(x))
        out: Features = self.conv_1(F.silu(self.batchnorm_1(self.conv_0(a))))
        return out + (x if self.shortcut is None else self.shortcut(a))


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    row = [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(blocks - 1))]
    return nn.Sequential(OrderedDict(block=nn.Sequential(*row)))


class DmWideResNet(nn.Module):
    """Three groups of `blocks` blocks; depth 70 has 11, width 16 is sixteen times 16, 32 and 64 channels."""

    def __init__(self, channels: int, classes: int, blocks: int = 11, widen: int = 16) -> None:
        super().__init__()
        self.init_conv = _conv(channels, 16, 1)
        self.layer = nn.Sequential(
            _group(16, 16 * widen, blocks, 1),
            _group(16 * widen, 32 * widen, blocks, 2),
            _group(32 * widen, 64 * widen, blocks, 2),
        )
        self.batchnorm = nn.BatchNorm2d(64 * widen)
        self.logits = nn.Linear(64 * widen, classes)

    def forward(self, x: Features) -> Logits:
        """The logits. The average runs over the whole map: the published 8x8 pool at 32x32, and any size besides."""
        a = F.silu(self.batchnorm(self.layer(self.init_conv(x))))
        z: Logits = self.logits(a.mean((-2, -1)))
        return z
