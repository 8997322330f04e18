"""A network whose BatchNorms are folded into the convolutions before them: the same function to rounding, faster.

    w  ←  w · γ/√(σ² + ε)        b  ←  β + (b − μ) · γ/√(σ² + ε)

In bfloat16 too, where the hardware computes with it. The first convolution and the linear layer stay in float32: a
pixel moves by less in an attack's step than bfloat16 can tell from none. In float32 on a CPU wide convolutions can be
computed by Winograd's method (absld.networks.winograd).
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, fx, nn

from absld.networks.winograd import Winograd, fits
from absld.networks.zoo import Classifier
from absld.shapes import Images, Logits

M = TypeVar("M", bound=nn.Module)
NARROW = 64
"""Channels."""


class _Pair(NamedTuple):
    """A convolution of the network, the BatchNorm that alone sees its output, and what stands for both."""

    convolution: nn.Conv2d
    batch_norm: nn.BatchNorm2d | None
    target: nn.Conv2d | Winograd


class Folded(nn.Module):
    """A network of the zoo in evaluation mode, without parameter gradients, as it was at the last `refresh`."""

    def __init__(self, network: Classifier, reduced: torch.dtype | None = None, *, winograd: bool = False) -> None:
        """Fold `network`, a frozen view (absld.networks.frozen), which itself stays as it is.

        With `reduced`, all but the first convolution and the linear layer compute in that precision. With `winograd`,
        the convolutions that this suits are computed so.
        """
        super().__init__()
        self.graph = fx.symbolic_trace(network)
        self.pairs = list(_folded(self.graph, reduced, winograd))
        if reduced is not None:
            _cast_between(self.graph, reduced)
        self.graph.delete_all_unused_submodules()
        self.graph.recompile()
        self.eval()
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the network's weights and statistics of now. The tensors computed with stay where they are."""
        for convolution, batch_norm, target in self.pairs:
            weight, bias = convolution.weight, convolution.bias
            if batch_norm is not None:
                assert batch_norm.running_mean is not None and batch_norm.running_var is not None
                scale = (batch_norm.running_var + batch_norm.eps).rsqrt() * batch_norm.weight
                weight = weight * scale[:, None, None, None]
                centred = -batch_norm.running_mean if bias is None else bias - batch_norm.running_mean
                bias = torch.addcmul(batch_norm.bias, centred, scale)
            if isinstance(target, Winograd):
                target.take(weight, bias)
                continue
            assert target.bias is not None
            target.weight.copy_(weight)
            if bias is not None:
                target.bias.copy_(bias)

    def forward(self, x: Images) -> Logits:
        """The logits of images in [0, 1]."""
        z: Logits = self.graph(x)
        return z

    def row_by_row(self) -> "Folded":
        """Itself, whose logits of an image are the same bits wherever in a batch of some size the image is."""
        for name, layer in list(self.graph.named_modules()):
            if isinstance(layer, nn.Linear):
                self.graph.set_submodule(name, _RowByRow(layer))
        return self


class _RowByRow(nn.Module):
    """A linear layer as a product of its own for each row: in one of all rows, few columns are summed up by place.

    Seen with two and three classes, up to ten rows, on an x86 processor with AVX-512.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, a: Tensor) -> Tensor:
        return torch.bmm(self.layer.weight.expand(len(a), -1, -1), a[:, :, None])[:, :, 0] + self.layer.bias


def folded(network: nn.Module) -> nn.Module:
    """A network of the zoo, in evaluation mode, as it is now, folded.

    Any other module comes back unchanged: only what is known to be a fixed graph of layers can be traced without risk.
    """
    return Folded(network, winograd=True) if isinstance(network, Classifier) else network


def _folded(graph: fx.GraphModule, reduced: torch.dtype | None, winograd: bool) -> Iterator[_Pair]:
    """Put new convolutions in the places of the pairs; in a reduced precision in the places of all but the first."""
    calls = Counter(node.target for node in graph.graph.nodes if node.op == "call_module")
    layout = _layout(graph, reduced, winograd)
    first = True
    for node in list(graph.graph.nodes):
        convolution = _module(node, graph, nn.Conv2d)
        if convolution is None:
            continue
        dtype, first = (None if first else reduced), False
        after = _batch_norm_after(node, graph, calls)
        quick = winograd and dtype is None and fits(convolution)
        if after is None and dtype is None and not quick:
            continue
        batch_norm = None if after is None else _module(after, graph, nn.BatchNorm2d)
        target = (
            Winograd(convolution.in_channels, convolution.out_channels)
            if quick
            else _empty_like(convolution, dtype, layout)
        )
        graph.add_submodule(str(node.target), target)
        if after is not None:
            after.replace_all_uses_with(node)
            graph.graph.erase_node(after)
        yield _Pair(convolution, batch_norm, target)


def _batch_norm_after(node: fx.Node, graph: fx.GraphModule, calls: Counter[object]) -> fx.Node | None:
    """The BatchNorm that alone sees the convolution's output, if there is one."""
    (after, *others) = node.users
    batch_norm = _module(after, graph, nn.BatchNorm2d)
    alone = not others and calls[node.target] == calls[after.target] == 1
    return after if alone and batch_norm is not None and batch_norm.track_running_stats else None


def _cast_between(graph: fx.GraphModule, reduced: torch.dtype) -> None:
    """Go over to the reduced precision after the first convolution, and back before each linear layer."""
    convolutions = [node for node in graph.graph.nodes if _module(node, graph, nn.Conv2d) is not None]
    with graph.graph.inserting_after(convolutions[0]):
        cast = graph.graph.call_method("to", (convolutions[0], reduced))
    convolutions[0].replace_all_uses_with(cast, delete_user_cb=lambda user: user is not cast)
    for node in graph.graph.nodes:
        if _module(node, graph, nn.Linear) is not None:
            with graph.graph.inserting_before(node):
                node.args = (graph.graph.call_method("float", node.args),)


def _module(node: fx.Node, graph: fx.GraphModule, kind: type[M]) -> M | None:
    module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
    return module if isinstance(module, kind) else None


def _layout(graph: fx.GraphModule, reduced: torch.dtype | None, winograd: bool) -> torch.memory_format:
    """Channels last, but for wide convolutions in float32: small batches lose by it there (docs/lab-book.md).

    Those that are computed by Winograd's method have their channels last.
    """
    layers = [layer for layer in graph.modules() if isinstance(layer, nn.Conv2d)]
    if winograd and any(fits(layer) for layer in layers):
        return torch.channels_last
    wide = any(layer.out_channels > NARROW for layer in layers) and not any(layer.groups > 1 for layer in layers)
    return torch.contiguous_format if wide and reduced is None else torch.channels_last


def _empty_like(convolution: nn.Conv2d, dtype: torch.dtype | None, layout: torch.memory_format) -> nn.Conv2d:
    """A convolution of the same form, with a bias that starts at 0 and no gradients."""
    weight: Tensor = convolution.weight
    target = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        convolution.dilation,  # type: ignore[arg-type]
        convolution.groups,
        padding_mode=convolution.padding_mode,
        device="meta",
        dtype=dtype or weight.dtype,
    )
    target = target.requires_grad_(False).to_empty(device=weight.device).to(memory_format=layout)
    nn.init.zeros_(target.bias)  # type: ignore[arg-type]
    return target
