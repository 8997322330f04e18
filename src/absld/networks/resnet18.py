"""ResNet-18 for small images (He et al. 2016): a 3x3 first convolution of stride 1 and no max-pool.

Names and shapes are those of the robustness literature, so that its checkpoints fit: 122 state entries.
"""

import torch.nn.functional as F
from torch import nn

from absld.shapes import Features, Logits


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, with the last ReLU after the addition."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Features) -> Features:
        """Map `inputs` channels to `outputs`, height and width to ⌈size / stride⌉."""
        a = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(a)) + self.shortcut(x))


class ResNet18(nn.Module):
    """Four groups of two blocks; height and width halve at the start of the last three."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Features) -> Logits:
        """The logits. The average runs over the whole map: the published 4x4 pool at 32x32, and any size besides."""
        a = F.relu(self.bn1(self.conv1(x)))
        a = self.layer4(self.layer3(self.layer2(self.layer1(a))))
        z: Logits = self.linear(a.mean((-2, -1)))
        return z
