"""The networks' structure against methods.md section 4: counts, keys, shapes; and the classifier around them."""

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from absld.errors import InputError
from absld.networks.dm_wrn_70_16 import DmWideResNet
from absld.networks.wrn_34_10 import WideResNet
from absld.networks.zoo import ARCHITECTURES, Spec, build
from absld.params.networks import Architecture

TINY = Spec("tiny_resnet16", classes=10, channels=1, size=8, normalisation=None)
LIGHT = tuple(name for name in ARCHITECTURES if "wrn" not in name)


def weightless(architecture: str, classes: int = 10, channels: int = 3, size: int = 32) -> nn.Module:
    with torch.device("meta"):
        return build(Spec(architecture, classes, channels, size, None)).backbone


def test_every_architecture_of_the_parameters_can_be_built() -> None:
    assert set(ARCHITECTURES) == set(get_args(Architecture))


@pytest.mark.parametrize(
    ("architecture", "classes", "parameters", "tensors", "entries"),
    [
        ("resnet18", 10, 11_173_962, 62, 122),
        ("resnet18", 100, 11_220_132, 62, 122),
        ("preact_resnet18", 10, 11_172_170, 56, 107),
        ("preact_resnet18", 100, 11_172_170 + 90 * (512 + 1), 56, 107),
        ("preact_resnet18_bare", 10, 11_171_146, 54, 102),
        ("preact_resnet18_bare", 100, 11_171_146 + 90 * (512 + 1), 54, 102),
        ("mobilenet_v2", 10, 2_296_922, 173, 344),
        ("mobilenet_v2", 100, 2_412_212, 173, 344),
        ("wrn_34_10", 10, 48_262_586 - 2_102_112, 98, 252 - 61),
        ("wrn_34_10", 100, 46_160_474 + 90 * (640 + 1), 98, 252 - 61),
        ("dm_wrn_70_16", 10, 266_888_756 - 90 * (1024 + 1), 206, 407),
        ("dm_wrn_70_16", 100, 266_888_756, 206, 407),
    ],
)
def test_t13_counts(architecture: str, classes: int, parameters: int, tensors: int, entries: int) -> None:
    network = weightless(architecture, classes)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert len(list(network.parameters())) == tensors
    assert len(network.state_dict()) == entries


@pytest.mark.parametrize(("architecture", "most"), [("tiny_resnet16", 100_000), ("tiny_resnet32", 400_000)])
def test_tiny_networks_are_small(architecture: str, most: int) -> None:
    assert sum(p.numel() for p in weightless(architecture, channels=1, size=8).parameters()) < most


def batchnorm(name: str) -> set[str]:
    parts = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{name}.{part}" for part in parts}


def convolutions_and_batchnorms(prefix: str, convolutions: list[str], batchnorms: list[str]) -> set[str]:
    keys = {f"{prefix}{name}.weight" for name in convolutions}
    return keys.union(*(batchnorm(prefix + name) for name in batchnorms))


def resnet18_keys() -> set[str]:
    keys = convolutions_and_batchnorms("", ["conv1"], ["bn1"]) | {"linear.weight", "linear.bias"}
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            keys |= convolutions_and_batchnorms(f"layer{layer}.{block}.", ["conv1", "conv2"], ["bn1", "bn2"])
        if layer > 1:
            keys |= convolutions_and_batchnorms(f"layer{layer}.0.shortcut.", ["0"], ["1"])
    return keys


def preact_resnet18_keys() -> set[str]:
    keys = convolutions_and_batchnorms("", ["conv1"], ["bn"]) | {"linear.weight", "linear.bias"}
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            keys |= convolutions_and_batchnorms(f"layer{layer}.{block}.", ["conv1", "conv2"], ["bn1", "bn2"])
        if layer > 1:
            keys.add(f"layer{layer}.0.shortcut.0.weight")
    return keys


def mobilenet_v2_keys() -> set[str]:
    keys = convolutions_and_batchnorms("", ["conv1", "conv2"], ["bn1", "bn2"]) | {"linear.weight", "linear.bias"}
    for block in range(17):
        keys |= convolutions_and_batchnorms(f"layers.{block}.", ["conv1", "conv2", "conv3"], ["bn1", "bn2", "bn3"])
    for block in (0, 1, 10, 16):
        keys |= convolutions_and_batchnorms(f"layers.{block}.shortcut.", ["0"], ["1"])
    return keys


def wrn_34_10_keys() -> set[str]:
    keys = convolutions_and_batchnorms("", ["conv1"], ["bn1"]) | {"fc.weight", "fc.bias"}
    for group in (1, 2, 3):
        keys.add(f"block{group}.layer.0.convShortcut.weight")
        for block in range(5):
            prefix = f"block{group}.layer.{block}."
            keys |= convolutions_and_batchnorms(prefix, ["conv1", "conv2"], ["bn1", "bn2"])
    return keys


def dm_wrn_70_16_keys() -> set[str]:
    keys = convolutions_and_batchnorms("", ["init_conv"], ["batchnorm"]) | {"logits.weight", "logits.bias"}
    for group in (0, 1, 2):
        keys.add(f"layer.{group}.block.0.shortcut.weight")
        for block in range(11):
            prefix = f"layer.{group}.block.{block}."
            keys |= convolutions_and_batchnorms(prefix, ["conv_0", "conv_1"], ["batchnorm_0", "batchnorm_1"])
    return keys


@pytest.mark.parametrize(
    ("architecture", "keys"),
    [
        ("resnet18", resnet18_keys()),
        ("preact_resnet18", preact_resnet18_keys()),
        ("preact_resnet18_bare", preact_resnet18_keys() - batchnorm("bn")),
        ("mobilenet_v2", mobilenet_v2_keys()),
        ("wrn_34_10", wrn_34_10_keys()),
        ("dm_wrn_70_16", dm_wrn_70_16_keys()),
    ],
)
def test_t13_keys(architecture: str, keys: set[str]) -> None:
    assert set(weightless(architecture).state_dict()) == keys


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_batchnorms_have_the_defaults_of_pytorch(architecture: str) -> None:
    norms = [module for module in weightless(architecture).modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum, norm.affine, norm.track_running_stats) for norm in norms} == {
        (1e-5, 0.1, True, True)
    }


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 28, 32])
@pytest.mark.parametrize("architecture", LIGHT)
def test_logits_for_any_size(architecture: str, size: int, channels: int) -> None:
    network = build(Spec(architecture, 7, channels, size, None)).eval()
    with torch.no_grad():
        z = network(torch.rand(2, channels, size, size))
    assert z.shape == (2, 7)
    assert z.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 28, 30, 32])
@pytest.mark.parametrize("thin", [WideResNet, DmWideResNet])
def test_logits_of_the_wide_networks_for_any_size(
    thin: type[WideResNet | DmWideResNet], size: int, channels: int
) -> None:
    network = thin(channels, 7, blocks=1, widen=1).eval()
    with torch.no_grad():
        assert network(torch.rand(2, channels, size, size)).shape == (2, 7)


def test_normalisation_inside_equals_normalisation_outside() -> None:
    mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    network = build(Spec("tiny_resnet16", 10, 3, 8, (mean, std))).eval()
    x = torch.rand(4, 3, 8, 8)
    outside = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    with torch.no_grad():
        assert_close(network(x), network.backbone(outside))
        assert not torch.allclose(network(x), network.backbone(x))


def test_no_normalisation_passes_the_pixels_on() -> None:
    network = build(TINY).eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(network(x), network.backbone(x))


def test_normalisation_is_no_part_of_the_state() -> None:
    plain = build(TINY).state_dict()
    assert list(build(replace(TINY, normalisation=((0.5,), (0.25,)))).state_dict()) == list(plain)


def test_equal_seeds_build_equal_networks() -> None:
    networks = []
    for _ in range(2):
        torch.manual_seed(3)
        networks.append(build(TINY).state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architecture": "resnet81"}, "unknown architecture 'resnet81'.*resnet18"),
        ({"classes": 1}, "at least 2 classes, not 1"),
        ({"channels": 2}, "1 or 3 channels, not 2"),
        ({"size": 7}, "at least 8x8 pixels, not 7x7"),
        ({"normalisation": ((0.5,) * 3, (0.5,) * 3)}, "per channel, and the images have 1"),
        ({"normalisation": ((0.5,), ())}, "one mean and one std per channel"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        build(replace(TINY, **change))
