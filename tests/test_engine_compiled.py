"""What is compiled: for which sizes, how often, and what happens where it fails. A real GPU's part is in test_gpu."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from toy_problem import batch, network

from absld.engine.compiled import Compiler, FixedShape, FullBatches
from absld.engine.precision import has_bfloat16
from absld.evaluation.forward import Forward
from absld.networks.folded import Folded
from absld.networks.frozen import frozen_view
from absld.shapes import Images, Logits

CPU = torch.device("cpu")
Net = Callable[[Images], Logits]


def test_survivors_are_filled_up_to_the_next_of_four_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compiled when it is first needed, with a gradient and without."""
    asked: list[tuple[int, bool]] = []
    modes: list[str] = []

    def compiled(net: Net, *, mode: str, dynamic: bool) -> Net:
        def run(x: Tensor) -> Tensor:
            asked.append((len(x), x.requires_grad))
            return net(x)

        assert not dynamic
        modes.append(mode)
        return run

    monkeypatch.setattr(torch, "compile", compiled)
    net = Forward(network())
    net.device = torch.device("cuda")  # of which nothing but the choice depends
    net.quicken(20, passes=1)
    assert net.fixed is None
    net.quicken(20, passes=10**15, say=pytest.fail)
    sizes = {1: 3, 3: 3, 4: 5, 5: 5, 7: 10, 10: 10, 11: 20, 20: 20}
    for count, size in sizes.items():
        for gradient in (False, True):
            x = batch(count).x.requires_grad_(gradient)
            asked.clear()
            z = net(x)
            assert set(asked) == {(size, gradient)}
            torch.testing.assert_close(z, net.network(x), rtol=1e-9, atol=1e-12)
            if gradient:
                found, wanted = (torch.autograd.grad(of.square().sum(), x)[0] for of in (z, net.network(x)))
                torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert modes == ["reduce-overhead"] * 2 * len({*sizes.values()})
    asked.clear()
    assert net(batch(47).x).shape == (47, 4)
    assert [size for size, _ in asked] == [20, 20, 10]


def test_torch_compiles_all_sizes_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight times the same code, whatever state of torch it is called in: a ninth would run uncompiled."""
    graphs: list[int] = []

    def counted(graph: torch.fx.GraphModule, given: list[Any]) -> Any:
        graphs.extend(len(tensor) for tensor in given if tensor.shape[1:] == (1, 8, 8))
        return graph.forward

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_with(network, dynamic=False, backend=counted))
    net = frozen_view(network().float())
    fixed = FixedShape(Folded(net).graph, 20, Compiler(CPU, pytest.fail), halvings=3)
    for count in (1, 3, 4, 5, 10, 11, 20):
        for wants in (False, True):
            for leaf in (False, True):
                for enabled in (False, True):
                    with torch.set_grad_enabled(enabled):
                        x = batch(count).x.float().requires_grad_(wants)
                        torch.testing.assert_close(fixed(x if leaf else x * 1), net(x), rtol=1e-4, atol=1e-4)
    assert sorted(graphs) == [3, 3, 5, 5, 10, 10, 20, 20]


@pytest.mark.parametrize("kind", ["fixed", "full"])
def test_what_fails_after_its_trial_goes_on_as_it_is_and_says_so(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, lines, errors = network(), list[str](), list[Exception]()

    def compiled(of: Net, **_: object) -> Net:
        def run(x: Tensor) -> Tensor:
            if errors:
                raise errors[0]
            return of(x) + 1  # to be told apart

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    compiler = Compiler(CPU, lines.append)
    run = FixedShape(net.eval(), 8, compiler) if kind == "fixed" else FullBatches(net.eval(), 8, compiler)
    x = batch().x
    expected = net(x)
    torch.testing.assert_close(run(x), expected + 1)
    errors.append(torch.OutOfMemoryError("of which an evaluation makes smaller pieces"))
    with pytest.raises(torch.OutOfMemoryError):
        run(x)
    errors[0] = RuntimeError("a guard failed\nin many lines")
    for _ in range(2):
        torch.testing.assert_close(run(x), expected)
    assert lines == ["not compiled, so slower: RuntimeError: a guard failed"]


def test_graphs_that_torch_leaves_out_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(of: Net, **_: object) -> Net:
        counters["inductor"]["cudagraph_skips"] += skips
        return of

    monkeypatch.setattr(torch, "compile", compiled)
    lines: list[str] = []
    compiler, net, x = Compiler(CPU, lines.append), network(), batch().x
    skips = 0
    compiler.compiled(net, x, graphs=True)
    assert not lines
    skips = 1
    torch.testing.assert_close(compiler.compiled(net.eval(), x, graphs=True)(x), net(x))
    assert lines == ["compiled without CUDA graphs, so slower: TORCH_LOGS=cudagraphs says why"]


@pytest.mark.parametrize("there", [True, False])
def test_older_torch_is_asked_for_bfloat16_too(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: there)
    assert has_bfloat16(CPU) is there


@pytest.mark.parametrize(
    ("capabilities", "there"),
    [
        ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, True),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, True),
        ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, False),
        ({"avx2": True}, False),
    ],
)
def test_a_cpu_has_bfloat16_if_it_multiplies_it_faster(
    capabilities: dict[str, object], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert has_bfloat16(CPU) is there
