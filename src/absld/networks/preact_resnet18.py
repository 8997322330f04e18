"""PreAct ResNet-18 for small images (He et al. 2016, arXiv 1603.05027), in the two variants of the fairness literature.

CFA's has BatchNorm and ReLU between the last block and the pool: 107 state entries. FRL's pools the last sum as it is:
102 state entries. Names and shapes are those of the published checkpoints.
"""

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU; a shortcut that convolves starts after the first ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False))

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.relu(self.bn1(x))
        out: Features = self.conv2(F.relu(self.bn2(self.conv1(a))))
        return out + (x if self.shortcut is None else self.shortcut(a))


class PreActResNet18(nn.Module):
    """Four groups of two blocks; height and width halve at the start of the last three."""

    def __init__(self, channels: int, classes: int, *, final_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.layer1 = nn.Sequential(PreActBlock(64, 64, 1), PreActBlock(64, 64, 1))
        self.layer2 = nn.Sequential(PreActBlock(64, 128, 2), PreActBlock(128, 128, 1))
        self.layer3 = nn.Sequential(PreActBlock(128, 256, 2), PreActBlock(256, 256, 1))
        self.layer4 = nn.Sequential(PreActBlock(256, 512, 2), PreActBlock(512, 512, 1))
        self.bn: nn.Module | None = nn.BatchNorm2d(512) if final_norm else None
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Features) -> Logits:
        """The logits. The average runs over the whole map: the published 4x4 pool at 32x32, and any size besides."""
        a = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            a = F.relu(self.bn(a))
        z: Logits = self.linear(a.mean((-2, -1)))
        return z
