"""MobileNet-v2 for small images (Sandler et al. 2018), in the variant of the robustness literature: 344 state entries.

It differs from the paper's network in three ways: ReLU instead of ReLU6, a residual wherever the stride is 1 (through a
1x1 convolution where the widths differ), and stride 1 in the first convolution and in the second group. Names and
shapes are those of the literature's checkpoints.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


class Group(NamedTuple):
    """Blocks of one width; the first has the group's stride, the others 1."""

    expansion: int
    outputs: int
    blocks: int
    stride: int


GROUPS = (
    Group(1, 16, 1, 1),
    Group(6, 24, 2, 1),
    Group(6, 32, 3, 2),
    Group(6, 64, 4, 2),
    Group(6, 96, 3, 1),
    Group(6, 160, 3, 2),
    Group(6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1 without activation."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * inputs
        self.conv1 = nn.Conv2d(inputs, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.shortcut = nn.Identity()
            if inputs != outputs:
                self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.relu(self.bn1(self.conv1(x)))
        a = F.relu(self.bn2(self.conv2(a)))
        out: Features = self.bn3(self.conv3(a))
        return out if self.shortcut is None else out + self.shortcut(x)


class MobileNetV2(nn.Module):
    """17 inverted residuals between a 3x3 convolution and a 1x1 convolution of 1280 channels."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.layers = nn.Sequential()
        inputs = 32
        for group in GROUPS:
            for block in range(group.blocks):
                stride = group.stride if block == 0 else 1
                self.layers.append(InvertedResidual(inputs, group.outputs, group.expansion, stride))
                inputs = group.outputs
        self.conv2 = nn.Conv2d(inputs, 1280, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(1280)
        self.linear = nn.Linear(1280, classes)

    def forward(self, x: Features) -> Logits:
        """The logits. The average runs over the whole map: the published 4x4 pool at 32x32, and any size besides."""
        a = F.relu(self.bn1(self.conv1(x)))
        a = F.relu(self.bn2(self.conv2(self.layers(a))))
        z: Logits = self.linear(a.mean((-2, -1)))
        return z
