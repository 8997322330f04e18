"""A residual network for tiny images, such as the 8x8 digits: three basic blocks, seconds of training on a CPU."""

import torch.nn.functional as F
from torch import nn

from absld.networks.resnet18 import BasicBlock
from absld.shapes import Features, Logits


class TinyResNet(nn.Module):
    """Three basic blocks, of 1, 2 and 4 times `width` channels; the image's sides halve in each of the last two."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width, 1)
        self.layer2 = BasicBlock(width, 2 * width, 2)
        self.layer3 = BasicBlock(2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Features) -> Logits:
        """The logits; the average runs over the whole map."""
        a = F.relu(self.bn1(self.conv1(x)))
        a = self.layer3(self.layer2(self.layer1(a)))
        z: Logits = self.linear(a.mean((-2, -1)))
        return z
