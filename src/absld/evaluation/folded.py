"""BatchNorm folded into the convolutions before it: the same function to rounding, in half the time."""

from collections import Counter

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from absld.networks.zoo import Classifier


def folded(network: nn.Module) -> nn.Module:
    """A network of the zoo, in evaluation mode, without the BatchNorms that follow a convolution.

    `network` itself stays as it is. Any other module comes back unchanged: only what is known to be a fixed graph of
    layers can be traced without a risk.
    """
    if not isinstance(network, Classifier):
        return network
    traced = fx.symbolic_trace(network)
    calls = Counter(node.target for node in traced.graph.nodes if node.op == "call_module")
    for node in list(traced.graph.nodes):
        pair = _convolution_before(node, traced, calls)
        if pair is not None:
            convolution, batch_norm = pair
            traced.add_submodule(node.args[0].target, fuse_conv_bn_eval(convolution, batch_norm))
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _convolution_before(
    node: fx.Node, traced: fx.GraphModule, calls: Counter[object]
) -> tuple[nn.Conv2d, nn.BatchNorm2d] | None:
    """The convolution whose output only this BatchNorm sees, and the BatchNorm; None for any other node."""
    before = node.args[0] if node.args else None
    if not (node.op == "call_module" and isinstance(before, fx.Node) and before.op == "call_module"):
        return None
    first, second = traced.get_submodule(str(before.target)), traced.get_submodule(str(node.target))
    alone = len(before.users) == 1 and calls[before.target] == calls[node.target] == 1
    if alone and isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d) and second.track_running_stats:
        return first, second
    return None
