"""The network as it is judged, and as it is attacked: evaluation mode, float32, in pieces where memory is short."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from absld.engine.compiled import Compiler, FixedShape, Say
from absld.engine.precision import WORTH_COMPILING, forward_cost
from absld.networks.folded import Folded, folded
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier
from absld.shapes import Images, Logits

T = TypeVar("T")
GRADIENT_COST = 3
"""A pass with an input gradient takes about as long as three without, though its arithmetic is twice as much."""
HALVINGS = 3
"""Of a chunk, down to an eighth: four sizes, with a gradient and without. Torch compiles the same code eight times."""


class Forward(nn.Module):
    """A network in evaluation mode, without parameter gradients. Called, it is the fast form that attacks work on."""

    def __init__(self, network: nn.Module, on_work: Callable[[int], None] = lambda images: None) -> None:
        """`on_work` is told of each pass: its number of images, three times as many where a gradient is wanted."""
        super().__init__()
        self.network = frozen_view(network)
        self.fast = folded(self.network)
        self.eval()
        self.on_work = on_work
        self.pieces = 1
        self.fixed: FixedShape | None = None
        """The same for batches of few sizes, compiled, where that pays."""
        tensors = chain(network.parameters(), network.buffers())
        self.device = next((tensor.device for tensor in tensors), torch.device("cpu"))

    def quicken(self, chunk: int, passes: int, say: Say = print) -> None:
        """On a GPU, compile for chunks of so many images, if what is to come earns it back: about `passes` passes.

        What survives is filled up to a chunk, a half, a quarter or an eighth of one, each compiled when it is first
        needed. A CPU gains little by it.
        """
        if self.device.type != "cuda" or not isinstance(self.network, Classifier) or not isinstance(self.fast, Folded):
            return
        if forward_cost(self.network) * passes >= WORTH_COMPILING["cuda"]:
            self.fixed = FixedShape(self.fast.graph, chunk, Compiler(self.device, say), halvings=HALVINGS)

    @torch.no_grad()
    def judge(self, x: Images) -> Logits:
        """The network's own logits, BatchNorm and all: what a verdict rests on."""
        self.on_work(len(x))
        return torch.cat([self.network(piece) for piece in x.chunk(self.pieces)])

    def forward(self, x: Images) -> Logits:
        """The same to rounding, for the attacks."""
        gradient = x.requires_grad and torch.is_grad_enabled()
        self.on_work(len(x) * (GRADIENT_COST if gradient else 1))
        if self.fixed is not None:
            return self.fixed(x)
        if self.pieces == 1:
            return self.fast(x)  # type: ignore[no-any-return]
        return torch.cat([self._piece(piece, gradient) for piece in x.chunk(self.pieces)])

    def _piece(self, x: Images, gradient: bool) -> Logits:
        # recomputed for the gradient: otherwise the activations of all pieces would fill the memory together
        z: Logits = (
            checkpoint(self.fast, x, use_reentrant=False, preserve_rng_state=False) if gradient else self.fast(x)
        )
        return z

    def with_room(self, work: Callable[[], T], images: int) -> T:
        """Do `work` on a batch of `images`; if memory runs out, do it again with passes in twice as many pieces."""
        while True:
            try:
                return work()
            except torch.cuda.OutOfMemoryError:
                if self.pieces >= images:
                    raise
            self.pieces *= 2
            if self.fixed is not None:
                self.fixed = None
                torch.compiler.reset()  # its graphs would keep their memory
            torch.cuda.empty_cache()


@contextmanager
def float32() -> Iterator[None]:
    """No TF32, no search for the fastest kernel: the same float32 numbers each time."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global generators start at `seed` inside, and are afterwards what they were before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
