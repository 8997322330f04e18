"""The wide residual network 70-16 of Gowal et al. 2020 (arXiv 2010.03593): a CIFAR-100 teacher with 407 state entries.

It was trained in JAX and translated, hence two things to get right: SiLU instead of ReLU, and TensorFlow's "SAME"
padding, which at stride 2 and an even size pads nothing before and one pixel after. The weights expect normalised
input. Names and shapes are those of the translated checkpoint.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


def same(x: Features) -> Features:
    """Pad for a 3x3 convolution of stride 2, whose windows then start at the first pixel wherever the size is even.

    A function beside plain convolutions, because those can be folded and computed in bfloat16 (absld.networks.folded).
    """
    top, left = x.shape[-2] % 2, x.shape[-1] % 2
    return F.pad(x, (left, 1, top, 1))


class Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and SiLU; where widths differ, the shortcut starts after the SiLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.batchnorm_0 = nn.BatchNorm2d(inputs)
        self.halves = stride == 2
        self.conv_0 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=0 if self.halves else 1, bias=False)
        self.batchnorm_1 = nn.BatchNorm2d(outputs)
        self.conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.silu(self.batchnorm_0(x))
        inner = self.conv_0(same(a) if self.halves else a)
        out: Features = self.conv_1(F.silu(self.batchnorm_1(inner)))
        return out + (x if self.shortcut is None else self.shortcut(a))


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    row = [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(blocks - 1))]
    return nn.Sequential(OrderedDict(block=nn.Sequential(*row)))


class DmWideResNet(nn.Module):
    """Three groups of `blocks` blocks; depth 70 has 11, width 16 is sixteen times 16, 32 and 64 channels."""

    def __init__(self, channels: int, classes: int, blocks: int = 11, widen: int = 16) -> None:
        super().__init__()
        self.init_conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
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
