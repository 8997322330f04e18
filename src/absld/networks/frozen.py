"""A network as it is attacked."""

from copy import deepcopy
from typing import TypeVar

from torch import nn

M = TypeVar("M", bound=nn.Module)


def frozen_view(network: M) -> M:
    """The same network in evaluation mode, without parameter gradients, whatever mode the network itself is in.

    Parameters and buffers are shared, not copied: what the optimiser and BatchNorm do to `network` in place is seen
    here at once. So an attack neither toggles the student's mode nor moves its statistics.
    """
    shared = {id(buffer): buffer for buffer in network.buffers()}
    shared |= {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in network.parameters()}
    return deepcopy(network, shared).eval()
