"""Which networks there are, and the form in which everything else meets them: images in [0, 1] in, logits out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from absld.errors import InputError
from absld.networks.dm_wrn_70_16 import DmWideResNet
from absld.networks.mobilenet_v2 import MobileNetV2
from absld.networks.preact_resnet18 import PreActResNet18
from absld.networks.resnet18 import ResNet18
from absld.networks.tiny_resnet import TinyResNet
from absld.networks.wrn_34_10 import WideResNet
from absld.params.networks import SMALLEST_IMAGE
from absld.shapes import Images, Logits

ARCHITECTURES: Mapping[str, Callable[[int, int], nn.Module]] = {
    "resnet18": ResNet18,
    "preact_resnet18": partial(PreActResNet18, final_norm=True),
    "preact_resnet18_bare": partial(PreActResNet18, final_norm=False),
    "mobilenet_v2": MobileNetV2,
    "tiny_resnet8": partial(TinyResNet, width=8),
    "tiny_resnet16": partial(TinyResNet, width=16),
    "tiny_resnet32": partial(TinyResNet, width=32),
    "wrn_34_10": WideResNet,
    "dm_wrn_70_16": DmWideResNet,
}
"""Each is called with the numbers of channels and classes."""


@dataclass(frozen=True)
class Spec:
    """All that is needed to build a network again, but for its weights."""

    architecture: str
    classes: int
    channels: int
    """1 (grey) or 3 (colour)."""
    size: int
    """Height and width of the images, in pixels."""
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None
    """Mean and standard deviation per channel, of pixels in [0, 1]; None: the network sees the pixels themselves."""


class Classifier(nn.Module):
    """A network with its normalisation inside, so that images are in [0, 1] wherever anyone else meets them."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Spec, backbone: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        if spec.normalisation is not None:
            mean, std = (torch.tensor(values)[:, None, None] for values in spec.normalisation)
            self.register_buffer("mean", mean, persistent=False)
            self.register_buffer("std", std, persistent=False)

    def forward(self, x: Images) -> Logits:
        """The logits of images in [0, 1]."""
        z: Logits = self.backbone(x if self.spec.normalisation is None else (x - self.mean) / self.std)
        return z


def build(spec: Spec) -> Classifier:
    """A new network in training mode, initialised from torch's global random numbers.

    Raises:
        InputError: the architecture is unknown or cannot take such images.

    """
    return Classifier(spec, _backbone(spec))


def filled(spec: Spec, state: Mapping[str, Tensor], origin: Path) -> Classifier:
    """The network of `spec` with the weights `state`, in evaluation mode; no random number is drawn.

    `state` is copied; half precision becomes float32.

    Raises:
        InputError: the entries are not exactly those of the network; `origin` is the file that the message blames.

    """
    with torch.device("meta"):
        backbone = _backbone(spec)
    wanted: dict[str, Tensor] = backbone.state_dict()
    _refuse_others(spec, wanted, state, origin)
    own = {name: state[name].to(like.dtype, copy=True).contiguous() for name, like in wanted.items()}
    backbone.load_state_dict(own, assign=True)
    return Classifier(spec, backbone).eval()


def _backbone(spec: Spec) -> nn.Module:
    name = spec.architecture
    if name not in ARCHITECTURES:
        raise InputError(f"unknown architecture {name!r}: choose one of {', '.join(ARCHITECTURES)}")
    if spec.classes < 2:
        raise InputError(f"{name} needs at least 2 classes, not {spec.classes}: look at the data set")
    if spec.channels not in (1, 3):
        raise InputError(f"{name} takes images of 1 or 3 channels, not {spec.channels}: convert the images")
    if spec.size < SMALLEST_IMAGE:
        raise InputError(
            f"{name} needs images of at least {SMALLEST_IMAGE}x{SMALLEST_IMAGE} pixels, not {spec.size}x{spec.size}: "
            "enlarge the images"
        )
    if spec.normalisation is not None and {len(values) for values in spec.normalisation} != {spec.channels}:
        raise InputError(
            f"the normalisation of {name} must have one mean and one std per channel, and the images have "
            f"{spec.channels}: correct it, or write null for none"
        )
    return ARCHITECTURES[name](spec.channels, spec.classes)


def _refuse_others(spec: Spec, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: Path) -> None:
    reshaped = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(like.shape)}"
        for name, like in wanted.items()
        if name in state and state[name].shape != like.shape
    ]
    differences = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "of another shape": reshaped,
    }
    lines = [f"  {what}: {_a_few(names)}" for what, names in differences.items() if names]
    if lines:
        network = f"{spec.architecture} (channels: {spec.channels}, classes: {spec.classes})"
        advice = (
            "check that params.yaml names the architecture that these weights belong to, and that they were trained "
            "for as many classes and channels as the data set has"
        )
        raise InputError("\n".join([f"{origin}: the weights do not fit {network}", *lines, advice]))


def _a_few(names: Iterable[str], most: int = 3) -> str:
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
