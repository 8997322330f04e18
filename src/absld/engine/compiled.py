"""Networks compiled for batches of fixed sizes, at their first use; where that fails they go on as they are."""

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

    def compiled(self, network: Net, like: Images, *, graphs: bool) -> Net:
        """`network` for such images, with a gradient if they want one; `network` itself where that does not work.

        Torch compiles the same code for few networks and then runs the others as they are. So a folded one is given as
        its graph, whose code is its own.

        An error costs speed and nothing else, and `say` hears of it. It is looked for here, forwards and backwards,
        with black images. Torch may also leave out CUDA graphs without an error: it counts that.
        """
        started = time.perf_counter()
        try:
            from torch._dynamo.utils import counters  # a second, which what is not compiled need not wait for

            skipped = counters["inductor"]["cudagraph_skips"]
            run: Net = torch.compile(network, dynamic=False, mode="reduce-overhead" if graphs else None)
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[like.device] if like.is_cuda else []):
                warnings.filterwarnings("ignore", "TensorFloat32")  # float32 is meant
                for _ in range(3 if graphs else 1):  # a CUDA graph is warmed up, recorded and replayed
                    z = run(torch.zeros_like(like).requires_grad_(like.requires_grad))
                    if z.requires_grad:
                        z.sum().backward()  # type: ignore[no-untyped-call]
                    del z
            if counters["inductor"]["cudagraph_skips"] > skipped:
                self.say("compiled without CUDA graphs, so slower: TORCH_LOGS=cudagraphs says why")
            return _UntilItFails(run, network, self.say)
        except Exception as error:  # whatever a compiler may raise, the network itself still works
            self.say(_slower(error))
            return network
        finally:
            self.seconds += time.perf_counter() - started


class _UntilItFails:
    """What was compiled; after its first error the network itself."""

    def __init__(self, run: Net, network: Net, say: Say) -> None:
        self.run: Net | None = run
        self.network, self.say = network, say

    def __call__(self, x: Images) -> Logits:
        if self.run is not None:
            try:
                return self.run(x)
            except torch.OutOfMemoryError:  # the network itself would not have had more room
                raise
            except Exception as error:  # compiled anew for what torch takes for another case, say
                self.say(_slower(error))
                self.run = None
        return self.network(x)


def _slower(error: Exception) -> str:
    return f"not compiled, so slower: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class FixedShape:
    """A network in evaluation mode for batches of few sizes; others are cut, and filled up to the next of them.

    In evaluation mode an image's logits do not depend on its company, so the filling changes nothing.
    """

    def __init__(self, network: Net, rows: int, compiler: Compiler | None, *, halvings: int = 0) -> None:
        """The sizes are `rows` and what is left of it after up to so many halvings, rounded up."""
        self.network, self.compiler = network, compiler
        self.sizes = sorted({-(-rows // 2**times) for times in range(halvings + 1)})
        self.runs: dict[tuple[int, bool], Net] = {}
        """What is called, by number of images and by whether a gradient is wanted."""

    def __call__(self, x: Images) -> Logits:
        """The logits; a gradient flows back to `x` where it wants one."""
        rows = self.sizes[-1]
        if len(x) <= rows:
            return self._piece(x)
        return torch.cat([self._piece(x[start : start + rows]) for start in range(0, len(x), rows)])

    def _piece(self, x: Images) -> Logits:
        missing = next(rows for rows in self.sizes if rows >= len(x)) - len(x)
        if missing:
            return self._full(F.pad(x, (0, 0) * 3 + (0, missing)))[: len(x)]
        return self._full(x)

    def _full(self, x: Images) -> Logits:
        gradient = x.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(gradient):  # or torch would compile once more where gradients are switched off
            x = x if gradient else x.detach()
            z = self._run(x, gradient)(x)
            # a CUDA graph's next replay writes over what this one gave
            return z.clone() if self.compiler and self.compiler.graphs else z

    def _run(self, x: Images, gradient: bool) -> Net:
        if (len(x), gradient) not in self.runs:
            compiler = self.compiler
            run = self.network if compiler is None else compiler.compiled(self.network, x, graphs=compiler.graphs)
            self.runs[len(x), gradient] = run
        return self.runs[len(x), gradient]


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
        self.run = compiler.compiled(self.network, x, graphs=False)
        self.network.load_state_dict(before)
        self.network.zero_grad(set_to_none=True)
        self.compiler = None
