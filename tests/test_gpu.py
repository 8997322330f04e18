"""The same on a GPU: steps, CUDA graphs, no waiting inside an epoch, memory that runs out. `pytest -m gpu`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_engine import AUGMENTED, CLASSES, DIGITS, block_of, seeded
from torch import Tensor
from torch._dynamo.utils import counters
from toy_problem import batch, task, with_

from absld.data.task import Held, Task
from absld.engine.choose import Speed
from absld.engine.compiled import Compiler, FixedShape
from absld.engine.fast import Fast
from absld.engine.plain import PLAIN
from absld.engine.protocol import Engine
from absld.evaluation.forward import Forward
from absld.methods.protocol import Batch
from absld.methods.registry import METHODS, make
from absld.networks.folded import Folded
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier
from absld.training.checkpoint import Checkpoint
from absld.training.fit import begin, train_epoch
from absld.training.session import train_network

pytestmark = pytest.mark.gpu
GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def every_graph() -> Iterator[None]:
    """Torch may leave out CUDA graphs, or give them up, without an error; it counts that."""
    before = counters["inductor"]["cudagraph_skips"]
    yield
    assert counters["inductor"]["cudagraph_skips"] == before, "a CUDA graph was left out: see TORCH_LOGS=cudagraphs"


@pytest.fixture(autouse=True)
def no_tf32() -> Iterator[None]:
    """Float32 means float32, as where a run chooses its engine."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.fixture
def same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU and a GPU draw different random numbers: here both take the CPU's."""

    def drawn(draw: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: draw(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype).to(x.device)

    monkeypatch.setattr(torch, "randn_like", drawn(torch.randn))
    monkeypatch.setattr(torch, "rand_like", drawn(torch.rand))


def there(of: Task) -> Task:
    """The task on the GPU, with as many classes as the networks have."""
    held = Held(of.validation.x.to(GPU), torch.arange(len(of.validation.y), device=GPU) % CLASSES)
    y = torch.arange(len(of.x), device=GPU) % CLASSES
    return replace(
        of, classes=("a", "b", "c", "d"), x=of.x.to(GPU), y=y, validation=held, selection=held, augmentation=AUGMENTED
    )


def fast(**changes: Any) -> Fast:
    options: dict[str, Any] = {"reduces": lambda network: False, "compiles": False, "remembers": False}
    return Fast(there(task()), 8, **{**options, "say": pytest.fail, **changes})


def one_step(
    engine: Engine, name: str, device: torch.device, *, exact: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and weights after a step."""
    dtype = torch.float64 if exact else torch.float32
    student, teacher, clean = (seeded(number).to(device, dtype) for number in (1, 2, 3))
    student.train()
    block = block_of(name)
    nets, method = engine.networks(student, teacher, clean), make(name, block)
    optimiser = engine.optimiser(student, block.optimiser)
    x, y = batch(8)
    state = {key: value.to(device, dtype) for key, value in method.init(CLASSES).items()}
    engine.refresh()
    step = method.step(nets, Batch(x.to(device, dtype), y.to(device)), state)
    step.loss.backward()
    optimiser.step()
    return step.loss.detach().cpu(), {key: value.cpu() for key, value in student.state_dict().items()}


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_that_of_the_cpu(name: str) -> None:
    torch.testing.assert_close(
        one_step(fast(), name, GPU), one_step(PLAIN, name, torch.device("cpu")), rtol=1e-6, atol=1e-8
    )


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize("name", ["absld", "trades", "bat", "adaad", "fair_ard"])
def test_compiled_steps_are_close_to_plain_ones(name: str) -> None:
    """In float32, as CUDA graphs: a gradient near zero may change its sign, so the bounds are wide."""
    slow = one_step(PLAIN, name, GPU, exact=False)
    before = counters["stats"]["unique_graphs"]
    quick = one_step(fast(compiles=True), name, GPU, exact=False)
    assert counters["stats"]["unique_graphs"] >= before + 2, "nothing was compiled"
    torch.testing.assert_close(quick[0], slow[0], rtol=1e-2, atol=1e-4)
    torch.testing.assert_close(quick[1], slow[1], rtol=5e-2, atol=5e-3)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_replayed_graph_answers_as_the_network(gradients: bool) -> None:
    net = Folded(frozen_view(seeded(1).to(GPU)))
    fixed, before = FixedShape(net.graph, 8, Compiler(GPU, pytest.fail)), counters["stats"]["unique_graphs"]
    for number in range(4):
        x = torch.rand(8 - number, 1, 8, 8, device=GPU).requires_grad_(gradients)
        z = fixed(x)
        torch.testing.assert_close(z, net(x), rtol=1e-3, atol=1e-4)
        if gradients:
            found, wanted = (torch.autograd.grad(of.square().sum(), x)[0] for of in (z, net(x)))
            torch.testing.assert_close(found, wanted, rtol=1e-2, atol=1e-4)
    assert counters["stats"]["unique_graphs"] == before + 1


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_step_waits_for_the_device() -> None:
    engine, student = fast(remembers=True), seeded(1).to(GPU).train()
    block = block_of("absld")
    nets, method = engine.networks(student, seeded(2).to(GPU), None), make("absld", block)
    optimiser = engine.optimiser(student, block.optimiser)
    state = {key: value.to(GPU) for key, value in method.init(CLASSES).items()}
    of = there(task())
    try:
        for number, (x, y) in enumerate(engine.batches(of, 8, torch.Generator(GPU).manual_seed(0))):
            engine.refresh()
            step = method.step(nets, Batch(x, y), state)  # the first one fills the teacher's memory, and may wait
            optimiser.zero_grad(set_to_none=True)
            step.loss.backward()
            optimiser.step()
            if number == 0:
                torch.cuda.set_sync_debug_mode("error")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert number > 0, "no step was watched"


class Watched(Fast):
    """From the third batch of an epoch to its end, waiting for the device is an error."""

    def batches(self, task: Task, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        for number, each in enumerate(super().batches(task, batch_size, generator)):
            if number == 2:
                torch.cuda.set_sync_debug_mode("error")
            yield each
        assert torch.cuda.get_sync_debug_mode() == 2, "no step was watched"
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_bfloat16_graphs_and_the_memory_train_together() -> None:
    """Two epochs, each with a smaller last batch. The loss is the plain engine's within 2 %; no step waits."""
    of, block = there(task(per_class=12)), block_of("absld")
    engine = Watched(of, 8, reduces=lambda network: True, compiles=True, remembers=True, say=pytest.fail)
    losses: list[list[float]] = []
    for each in (PLAIN, engine):
        student, method = seeded(1).to(GPU), make("absld", block)
        nets = each.networks(student, seeded(2).to(GPU), None)
        run = begin(method, student, block.optimiser, of, each)
        try:
            sums = [train_epoch(run, method, nets, of, each, epoch, lr=0.001, batch_size=8) for epoch in (1, 2)]
        finally:
            torch.cuda.set_sync_debug_mode("default")
        losses.append([float(epoch.loss / epoch.count.sum()) for epoch in sums])
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    report = engine.report()
    assert (report["precision"], report["teacher_precision"]) == ("bfloat16", "bfloat16")
    assert float(report["seconds_compiling"]) > 0
    assert sum(memory.asked + memory.remembered for memory in engine.memories) == 2 * len(of.x)
    views = (*engine.views, *(memory.ask for memory in engine.memories))
    assert all(run is not view.network for view in views for run in view.runs.values())


def trained(folder: Path, epochs: int, name: str) -> Any:
    of = there(task())
    block = getattr(DIGITS.methods, name)
    block = with_(block, optimiser=with_(block.optimiser, batch_size=8), milestones=[])
    student = seeded(1)
    return train_network(
        student.spec, name, block, of, Checkpoint(folder), lambda run: None,
        epochs=epochs, speed=Speed("fast", "float32", 1), teacher=seeded(2).to(GPU),
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*determinis")
def test_a_resumed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        whole = trained(tmp_path / "whole", 4, "absld")
        trained(tmp_path / "cut", 2, "absld")
        resumed = trained(tmp_path / "cut", 4, "absld")
    finally:
        torch.use_deterministic_algorithms(False)
    for old, new in zip(whole.rows, resumed.rows, strict=True):
        assert old[:-1] == new[:-1]
        bound = 1e-3 if old.quantity.startswith("tau") else 0.1
        assert new.value == pytest.approx(old.value, rel=0.05, abs=bound)


def test_an_evaluation_that_runs_out_of_memory_splits_its_passes() -> None:
    net: Classifier = seeded(1).to(GPU)
    forward = Forward(net)
    x = torch.rand(4096, 1, 8, 8, device=GPU)
    whole = forward(x)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(free - 2**27, dtype=torch.uint8, device=GPU)
    big = torch.rand(2**15, 1, 8, 8, device=GPU)
    forward.with_room(lambda: forward(big), len(big))
    assert forward.pieces > 1
    del held
    torch.testing.assert_close(forward(x), whole, rtol=1e-4, atol=1e-5)


def test_a_compiled_evaluation_that_runs_out_of_memory_goes_on_uncompiled() -> None:
    """A smaller size is compiled and replayed while there is room; then there is none for the largest."""
    lines: list[str] = []
    forward = Forward(seeded(1).to(GPU))
    forward.quicken(2**15, passes=10**15, say=lines.append)
    assert forward.fixed is not None
    x, big = torch.rand(2**12, 1, 8, 8, device=GPU), torch.rand(2**15, 1, 8, 8, device=GPU)
    whole = [forward(x) for _ in range(2)]
    assert not lines and list(forward.fixed.runs) == [(2**12, False)]
    torch.testing.assert_close(whole[0], forward.network(x), rtol=1e-4, atol=1e-5)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    held = torch.empty(free - 2**27, dtype=torch.uint8, device=GPU)
    z = forward.with_room(lambda: forward(big), len(big))
    assert forward.pieces > 1 and forward.fixed is None
    assert lines and all(line.startswith("not compiled") for line in lines)
    del held
    torch.testing.assert_close(z, forward.network(big), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(forward(x), whole[1], rtol=1e-4, atol=1e-5)
