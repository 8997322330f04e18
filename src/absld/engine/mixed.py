"""The student's training passes in bfloat16. Its weights, first convolution and linear layer stay in float32."""

import torch
from torch import Tensor, fx, nn

from absld.networks.zoo import Classifier
from absld.shapes import Images, Logits


class Mixed(nn.Module):
    """A network of the zoo, computing in bfloat16. All layers, weights and statistics are the network's own."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.graph = fx.symbolic_trace(network)
        layers = list(self.graph.named_modules())
        first = next(name for name, layer in layers if isinstance(layer, nn.Conv2d))
        for name, layer in layers:
            if name == first or isinstance(layer, nn.Linear):
                self.graph.set_submodule(name, _Float32(layer))

    def forward(self, x: Images) -> Logits:
        """The logits of images in [0, 1], in float32."""
        with torch.autocast(x.device.type, torch.bfloat16):
            z: Logits = self.graph(x)
        return z


class _Float32(nn.Module):
    """A layer that takes no part in it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = self.layer(x.float())
        return y
