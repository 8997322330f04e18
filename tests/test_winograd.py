"""Convolutions by Winograd's method against torch's, forwards and backwards, alone and in the networks."""

import pytest
import torch
import torch.nn.functional as F
import toy_problem
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from absld.engine.fast import Fast
from absld.evaluation.forward import Forward
from absld.networks import winograd
from absld.networks.folded import Folded
from absld.networks.frozen import frozen_view
from absld.networks.winograd import Winograd, fits
from absld.networks.zoo import ARCHITECTURES, Classifier, Spec, build


def settled(architecture: str, size: int) -> Classifier:
    """A network whose BatchNorms have seen some images."""
    torch.manual_seed(1)
    net = build(Spec(architecture, 10, 3, size, None))
    with torch.no_grad():
        net.train()(torch.rand(8, 3, size, size))
    return net.eval()


def gradient(net: nn.Module, x: Tensor, towards: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad((net(x) * towards).sum(), x)
    return found


@given(
    n=st.integers(0, 5),
    inputs=st.integers(1, 5),
    outputs=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    last=st.booleans(),
    at_once=st.sampled_from([1, 40, winograd.AT_ONCE]),
    seed=st.integers(0, 99),
)
def test_it_is_the_convolution_and_so_is_its_gradient(
    n: int, inputs: int, outputs: int, height: int, width: int, last: bool, at_once: int, seed: int
) -> None:
    """Of every size, even or odd, in either layout, in as many pieces as may be."""
    torch.manual_seed(seed)
    weight, bias = torch.randn(outputs, inputs, 3, 3), torch.randn(outputs)
    x = torch.randn(n, inputs, height, width)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    layer = Winograd(inputs, outputs)
    layer.take(weight, bias)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "AT_ONCE", at_once)
        exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
        torch.testing.assert_close(layer(x).double(), exact, rtol=1e-5, atol=1e-4)
        towards = torch.randn_like(exact)
        wanted = F.conv_transpose2d(towards, weight.double(), padding=1)
        torch.testing.assert_close(gradient(layer, x, towards).double(), wanted, rtol=1e-5, atol=1e-4)


def test_it_rounds_little_more_than_the_convolution() -> None:
    """Against float64, with as many channels as the largest networks have."""
    torch.manual_seed(0)
    weight, x = torch.randn(640, 640, 3, 3), torch.randn(2, 640, 8, 8)
    layer = Winograd(640, 640)
    layer.take(weight, None)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    error, usual = ((y - exact).abs().max() for y in (layer(x), F.conv2d(x, weight, padding=1)))
    assert error < 5 * usual
    assert error < 1e-5 * exact.abs().max()


@pytest.mark.parametrize(
    "other",
    [
        {"stride": 2},
        {"padding": 0},
        {"dilation": 2, "padding": 2},
        {"groups": 2},
        {"kernel_size": 1, "padding": 0},
        {"padding_mode": "reflect"},
        {"in_channels": winograd.FEWEST - 2},
        {"out_channels": winograd.FEWEST - 2},
        {"dtype": torch.float64},
        {"dtype": torch.bfloat16},
        {"device": "meta"},
    ],
    ids=str,
)
def test_only_wide_convolutions_of_its_kind_fit(other: dict[str, object]) -> None:
    usual = {"in_channels": winograd.FEWEST, "out_channels": winograd.FEWEST, "kernel_size": 3, "padding": 1}
    assert fits(nn.Conv2d(**usual))  # type: ignore[arg-type]
    assert not fits(nn.Conv2d(**{**usual, **other}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] * ("wrn" in name)) for name in ARCHITECTURES]
)
def test_a_network_is_attacked_as_it_is_judged(architecture: str) -> None:
    """The logits and the gradients that attacks follow, on images of an odd size in between."""
    net = settled(architecture, 12)
    forward, x = Forward(net), torch.rand(3, 3, 12, 12)
    z = forward.judge(x)
    bound = 1e-4 * float(z.abs().max())
    torch.testing.assert_close(forward(x), z, rtol=0, atol=bound)
    towards = torch.randn_like(z)
    found, wanted = gradient(forward, x, towards), gradient(frozen_view(net), x, towards)
    # a ReLU near 0 may open for one and not for the other
    assert F.cosine_similarity(found.flatten(1), wanted.flatten(1)).min() > 0.999
    quick = [layer for layer in forward.fast.modules() if isinstance(layer, Winograd)]
    assert bool(quick) == (architecture not in ("mobilenet_v2", "tiny_resnet8", "tiny_resnet16"))


def test_it_follows_the_network_when_it_is_told_to() -> None:
    net = settled("resnet18", 8)
    view, x = frozen_view(net), torch.rand(2, 3, 8, 8)
    folded = Folded(view, winograd=True)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter *= 1.1
    assert not torch.allclose(folded(x), view(x), rtol=1e-2)
    folded.refresh()
    torch.testing.assert_close(folded(x), view(x), rtol=1e-4, atol=1e-4 * float(view(x).detach().abs().max()))


def test_the_training_does_without() -> None:
    """Its engine compiles torch's convolutions, and its parity is that of theirs."""
    task, wide = toy_problem.task(), settled("resnet18", 8)
    engine = Fast(task, 8, reduces=lambda network: False, compiles=False, remembers=False, say=print)
    layers = list(engine.attacked(wide).folded.modules())
    assert any(isinstance(layer, nn.Conv2d) and fits(layer) for layer in layers)
    assert not any(isinstance(layer, Winograd) for layer in layers)
