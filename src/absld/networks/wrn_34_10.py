"""The wide residual network 34-10 of TRADES (Zagoruyko and Komodakis 2016; Zhang et al. 2019): a CIFAR-10 teacher.

The released checkpoint also holds ``sub_block1``, a copy of the first group that its forward pass never uses. It is no
part of this network: 191 state entries instead of 252. All other names and shapes are the checkpoint's.
"""

import math
from collections import OrderedDict

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


class Block(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU; where widths differ, the shortcut starts after the ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut: nn.Module | None = None
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.relu(self.bn1(x))
        out: Features = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return out + (x if self.convShortcut is None else self.convShortcut(a))


def _group(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    row = [Block(inputs, outputs, stride), *(Block(outputs, outputs, 1) for _ in range(blocks - 1))]
    return nn.Sequential(OrderedDict(layer=nn.Sequential(*row)))


class WideResNet(nn.Module):
    """Three groups of `blocks` blocks; depth 34 has 5, width 10 is ten times 16, 32 and 64 channels."""

    def __init__(self, channels: int, classes: int, blocks: int = 5, widen: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.block1 = _group(16, 16 * widen, blocks, 1)
        self.block2 = _group(16 * widen, 32 * widen, blocks, 2)
        self.block3 = _group(32 * widen, 64 * widen, blocks, 2)
        self.bn1 = nn.BatchNorm2d(64 * widen)
        self.fc = nn.Linear(64 * widen, classes)
        if not self.fc.weight.is_meta:  # there, a normal draw imports torch's compiler: seconds for nothing
            self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels)))
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Features) -> Logits:
        """The logits. The average runs over the whole map: the published 8x8 pool at 32x32, and any size besides."""
        a = self.block3(self.block2(self.block1(self.conv1(x))))
        z: Logits = self.fc(F.relu(self.bn1(a)).mean((-2, -1)))
        return z
