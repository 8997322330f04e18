"""The networks' logits against their definitions in plain functions (methods.md section 4), fixed pools at 32x32."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from absld.networks.dm_wrn_70_16 import Block, DmWideResNet, same
from absld.networks.mobilenet_v2 import MobileNetV2
from absld.networks.preact_resnet18 import PreActResNet18
from absld.networks.resnet18 import ResNet18
from absld.networks.wrn_34_10 import WideResNet

State = dict[str, Tensor]


def shaken(network: nn.Module) -> nn.Module:
    """Statistics and affine parameters that leave no BatchNorm an identity, so that a wrong order would show."""
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.3)
        elif value.dim() == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network.eval()


def normalised(state: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def convolved(state: State, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)


def resnet18_by_hand(s: State, x: Tensor) -> Tensor:
    x = F.relu(normalised(s, "bn1", convolved(s, "conv1", x)))
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{layer}.{block}."
            stride = 2 if layer > 1 and block == 0 else 1
            a = F.relu(normalised(s, at + "bn1", convolved(s, at + "conv1", x, stride)))
            a = normalised(s, at + "bn2", convolved(s, at + "conv2", a))
            if stride == 2:
                x = normalised(s, at + "shortcut.1", convolved(s, at + "shortcut.0", x, stride))
            x = F.relu(a + x)
    return F.linear(F.avg_pool2d(x, 4).flatten(1), s["linear.weight"], s["linear.bias"])


def preact_resnet18_by_hand(s: State, x: Tensor) -> Tensor:
    x = convolved(s, "conv1", x)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            at = f"layer{layer}.{block}."
            stride = 2 if layer > 1 and block == 0 else 1
            a = F.relu(normalised(s, at + "bn1", x))
            b = F.relu(normalised(s, at + "bn2", convolved(s, at + "conv1", a, stride)))
            kept = convolved(s, at + "shortcut.0", a, stride) if stride == 2 else x
            x = kept + convolved(s, at + "conv2", b)
    if "bn.weight" in s:
        x = F.relu(normalised(s, "bn", x))
    return F.linear(F.avg_pool2d(x, 4).flatten(1), s["linear.weight"], s["linear.bias"])


def mobilenet_v2_by_hand(s: State, x: Tensor) -> Tensor:
    strides = [1, 1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
    x = F.relu(normalised(s, "bn1", convolved(s, "conv1", x)))
    for block, stride in enumerate(strides):
        at = f"layers.{block}."
        a = F.relu(normalised(s, at + "bn1", convolved(s, at + "conv1", x)))
        a = F.relu(normalised(s, at + "bn2", convolved(s, at + "conv2", a, stride, groups=a.shape[1])))
        a = normalised(s, at + "bn3", convolved(s, at + "conv3", a))
        if block in (0, 1, 10, 16):
            a = a + normalised(s, at + "shortcut.1", convolved(s, at + "shortcut.0", x))
        elif stride == 1:
            a = a + x
        x = a
    x = F.relu(normalised(s, "bn2", convolved(s, "conv2", x)))
    return F.linear(F.avg_pool2d(x, 4).flatten(1), s["linear.weight"], s["linear.bias"])


def wrn_by_hand(s: State, x: Tensor) -> Tensor:
    x = convolved(s, "conv1", x)
    for group, first_stride in ((1, 1), (2, 2), (3, 2)):
        for block in (0, 1):
            at, stride = f"block{group}.layer.{block}.", first_stride if block == 0 else 1
            a = F.relu(normalised(s, at + "bn1", x))
            b = F.relu(normalised(s, at + "bn2", convolved(s, at + "conv1", a, stride)))
            kept = convolved(s, at + "convShortcut", a, stride) if block == 0 else x
            x = kept + convolved(s, at + "conv2", b)
    x = F.relu(normalised(s, "bn1", x))
    return F.linear(F.avg_pool2d(x, 8).flatten(1), s["fc.weight"], s["fc.bias"])


def dm_wrn_by_hand(s: State, x: Tensor) -> Tensor:
    x = convolved(s, "init_conv", x)
    for group, first_stride in ((0, 1), (1, 2), (2, 2)):
        for block in (0, 1):
            at, stride = f"layer.{group}.block.{block}.", first_stride if block == 0 else 1
            a = normalised(s, at + "batchnorm_0", x)
            a = a * a.sigmoid()
            padded = F.pad(a, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))
            b = normalised(s, at + "batchnorm_1", F.conv2d(padded, s[at + "conv_0.weight"], stride=stride))
            kept = convolved(s, at + "shortcut", a, stride) if block == 0 else x
            x = kept + convolved(s, at + "conv_1", b * b.sigmoid())
    x = normalised(s, "batchnorm", x)
    return F.linear(F.avg_pool2d(x * x.sigmoid(), 8).flatten(1), s["logits.weight"], s["logits.bias"])


@pytest.mark.parametrize(
    ("make", "by_hand"),
    [
        (lambda: ResNet18(3, 10), resnet18_by_hand),
        (lambda: PreActResNet18(3, 10, final_norm=True), preact_resnet18_by_hand),
        (lambda: PreActResNet18(3, 10, final_norm=False), preact_resnet18_by_hand),
        (lambda: MobileNetV2(3, 10), mobilenet_v2_by_hand),
        (lambda: WideResNet(3, 10, blocks=2, widen=2), wrn_by_hand),
        (lambda: DmWideResNet(3, 10, blocks=2, widen=2), dm_wrn_by_hand),
    ],
    ids=["resnet18", "preact_resnet18", "preact_resnet18_bare", "mobilenet_v2", "wrn", "dm_wrn"],
)
def test_logits_are_those_of_the_definition(
    make: Callable[[], nn.Module], by_hand: Callable[[State, Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    network = shaken(make()).double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.double)
    with torch.no_grad():
        assert_close(network(x), by_hand(network.state_dict(), x))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ResNet18(3, 10),
        lambda: PreActResNet18(3, 10, final_norm=True),
        lambda: MobileNetV2(3, 10),
    ],
    ids=["resnet18", "preact_resnet18", "mobilenet_v2"],
)
def test_students_start_from_the_defaults_of_pytorch(make: Callable[[], nn.Module]) -> None:
    """Weights are uniform in ±1/√fan_in, whose standard deviation is 1/√(3 fan_in)."""
    torch.manual_seed(0)
    for name, weight in make().state_dict().items():
        if name.endswith("weight") and weight.numel() > 4000:
            bound = weight[0].numel() ** -0.5
            assert weight.abs().max() <= bound
            assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)


def test_initialisation_of_the_trades_network() -> None:
    torch.manual_seed(0)
    network = WideResNet(3, 10, blocks=1, widen=4)
    state = network.state_dict()
    for name, fan_out in {"block3.layer.0.conv2.weight": 9 * 256, "block3.layer.0.convShortcut.weight": 256}.items():
        expected = (2 / fan_out) ** 0.5
        assert state[name].std().item() == pytest.approx(expected, rel=0.01)
        assert state[name].mean().abs().item() < expected / 50
    assert (state["bn1.weight"] == 1).all()
    assert (state["bn1.bias"] == 0).all()
    assert (state["fc.bias"] == 0).all()


def one_hot(row: int, column: int, size: int) -> Tensor:
    image = torch.zeros(1, 1, size, size)
    image[0, 0, row, column] = 1
    return image


@pytest.mark.parametrize(
    ("tap", "size", "read"),
    [
        ((0, 0), 8, (2, 4)),  # nothing is padded before: output (1, 2) starts at pixel (2, 4)
        ((1, 1), 8, (3, 5)),
        ((2, 2), 8, (4, 6)),
        ((0, 0), 9, (1, 3)),  # an odd size is padded on both sides
        ((1, 1), 9, (2, 4)),
    ],
)
def test_t13_same_padding_reads_the_pixel_that_tensorflow_reads(
    tap: tuple[int, int], size: int, read: tuple[int, int]
) -> None:
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, tap[0], tap[1]] = 1
    out = torch.nn.functional.conv2d(same(one_hot(*read, size)), weight, stride=2)
    assert out.nonzero().tolist() == [[0, 0, 1, 2]]


def test_t13_stride_2_block_sees_the_odd_pixels() -> None:
    block = Block(1, 2, stride=2).eval()
    state = block.state_dict()
    with torch.no_grad():
        for name in ("conv_0", "conv_1", "shortcut"):
            state[f"{name}.weight"].zero_()
        for name in ("conv_0", "conv_1"):
            state[f"{name}.weight"][0, 0, 1, 1] = 1
        seen = [(row, column) for row in range(8) for column in range(8) if block(one_hot(row, column, 8)).any()]
    assert seen == [(row, column) for row in (1, 3, 5, 7) for column in (1, 3, 5, 7)]
