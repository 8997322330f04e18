"""Networks compiled for batches of one size, at their first use; where that fails they go on as they are."""

import time
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from absld.shapes import Images, Logits

Say = Callable[[str], None]
Net = Callable[[Images], Logits]


class Compiler:
    """Compiles, tries what came out, and adds up the seconds."""

    def __init__(self, device: torch.device, say: Say) -> None:
        self.device, self.say = device, say
        self.graphs = device.type == "cuda"
        self.seconds = 0.0

    def compiled(self, network: Net, like: Images, *, graphs: bool) -> Net | None:
        """`network` for such images, with a gradient if they want one; None if it does not work, and `say` hears why.

        Torch compiles the same code for few networks and then runs the others as they are. So a folded one is given as
        its graph, whose code is its own.

        An error costs speed and nothing else. It is looked for here, forwards and backwards, with black images.
        """
        started = time.perf_counter()
        run: Net = torch.compile(network, dynamic=False, mode="reduce-overhead" if graphs else None)
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
                warnings.filterwarnings("ignore", "TensorFloat32")  # float32 is meant
                for _ in range(3 if graphs else 1):  # a CUDA graph is warmed up, recorded and replayed
                    z = run(torch.zeros_like(like).requires_grad_(like.requires_grad))
                    if z.requires_grad:
                        z.sum().backward()  # type: ignore[no-untyped-call]
                    del z
        except Exception as error:  # whatever a compiler may raise, the network itself still works
            self.say(f"not compiled, so slower: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
            return None
        finally:
            self.seconds += time.perf_counter() - started
        return run


class FixedShape:
    """A network in evaluation mode for batches of `rows` images; others are cut, and filled up to that size.

    In evaluation mode an image's logits do not depend on its company, so the filling changes nothing.
    """

    def __init__(self, network: Net, rows: int, compiler: Compiler | None) -> None:
        self.network, self.rows, self.compiler = network, rows, compiler
        self.runs: dict[bool, Net] = {}
        """What is called where a gradient is wanted, and where none is."""

    def __call__(self, x: Images) -> Logits:
        """The logits; a gradient flows back to `x` where it wants one."""
        if len(x) <= self.rows:
            return self._piece(x)
        pieces = [self._piece(x[start : start + self.rows]) for start in range(0, len(x), self.rows)]
        return torch.cat(pieces)

    def _piece(self, x: Images) -> Logits:
        missing = self.rows - len(x)
        if missing:
            return self._full(F.pad(x, (0, 0) * 3 + (0, missing)))[: len(x)]
        return self._full(x)

    def _full(self, x: Images) -> Logits:
        gradient = x.requires_grad and torch.is_grad_enabled()
        if gradient not in self.runs:
            compiler = self.compiler
            compiled = None if compiler is None else compiler.compiled(self.network, x, graphs=compiler.graphs)
            self.runs[gradient] = self.network if compiled is None else compiled
        z = self.runs[gradient](x)
        # a CUDA graph's next replay writes over what this one gave
        return z.clone() if self.compiler and self.compiler.graphs else z


class FullBatches:
    """A network in training mode, compiled for batches of `rows` images.

    Others pass through it as it is, since none may be filled up: an epoch's last batch. So do images that want a
    gradient: compiled, the parameters' gradients would be computed with theirs.
    """

    def __init__(self, network: nn.Module, rows: int, compiler: Compiler | None) -> None:
        self.network, self.rows, self.compiler = network, rows, compiler
        self.run: Net = network

    def __call__(self, x: Images) -> Logits:
        """The logits."""
        if len(x) != self.rows or x.requires_grad or not torch.is_grad_enabled():
            z: Logits = self.network(x)
            return z
        if self.compiler is not None:
            self._compile(self.compiler, x)
        return self.run(x)

    def _compile(self, compiler: Compiler, x: Images) -> None:
        """The statistics that this moves are put back, and the parameters' gradients, of which there are none yet."""
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        compiled = compiler.compiled(self.network, x, graphs=False)
        self.run = self.network if compiled is None else compiled
        self.network.load_state_dict(before)
        self.network.zero_grad(set_to_none=True)
        self.compiler = None
