"""The fast engine against the plain one: the same numbers to rounding, whatever is folded, compiled or remembered."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from toy_problem import NAMES, PARAMS, batch, network, task, with_

from absld.data.augmentation import plan
from absld.data.task import Held, Task
from absld.engine.choose import Speed, cost
from absld.engine.compiled import Compiler, FixedShape, FullBatches
from absld.engine.fast import Fast
from absld.engine.memory import Memory, variants_of
from absld.engine.mixed import Mixed
from absld.engine.plain import PLAIN
from absld.engine.precision import forward_cost, gains
from absld.engine.protocol import Engine
from absld.methods.protocol import Evidence, LooksFirst, Networks, State
from absld.methods.registry import METHODS, make
from absld.networks.folded import Folded
from absld.networks.frozen import frozen_view
from absld.networks.zoo import ARCHITECTURES, Classifier, Spec, build
from absld.params.load import load
from absld.params.train import Augmentation
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run
from absld.training.session import train_network
from absld.training.validate import class_sum, validate

CLASSES = 4
EPOCH = 12
"""After which every method has begun with whatever it begins later."""
DIGITS = load(Path(__file__).parents[1] / "params.yaml")


def fast(**changes: Any) -> Fast:
    options: dict[str, Any] = {"reduces": lambda network: False, "compiles": False, "remembers": False}
    return Fast(task(), 8, **{**options, "say": lambda line: None, **changes})


def block_of(name: str) -> Any:
    block = getattr(PARAMS.methods, name) or getattr(DIGITS.methods, name)
    return with_(block, hard_classes=[1, 2]) if getattr(block, "hard_classes", None) else block


def seeded(seed: int, architecture: str = "tiny_resnet16", size: int = 8) -> Classifier:
    """A network that has seen some images, so that its statistics are not those of a new one."""
    torch.manual_seed(seed)
    net = build(Spec(architecture, CLASSES, 1, size, ((0.4,), (0.3,))))
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(16, 1, size, size))
    return net.eval()


def stepped(engine: Engine, name: str, steps: int = 3) -> tuple[list[Any], dict[str, Tensor], State]:
    """Losses and what was seen, weights and next state after an epoch of some steps.

    In float64, where no sign of a gradient is a matter of rounding.
    """
    block, student = block_of(name), network(CLASSES)
    teachers = [copy.deepcopy(network(CLASSES)) for _ in range(2)]
    for number, teacher in enumerate(teachers):
        teacher.get_parameter("backbone.linear.weight").data *= 2 + number  # no student, whose gradient would be 0
        teacher.eval()
    nets = engine.networks(student, *teachers)
    optimiser, method = engine.optimiser(student, block.optimiser), make(name, block)
    state = method.init(CLASSES)
    accuracy = {"clean": torch.rand(CLASSES).double(), "pgd": torch.tensor([0.5, 0.5, 0.2, 0.1]).double()}
    if isinstance(method, LooksFirst):
        state = method.first_state(state, accuracy)
    state = {key: value.double() for key, value in state.items()}
    found: list[Any] = []
    y = batch().y
    total: dict[str, Tensor] = {}
    for number in range(steps):
        torch.manual_seed(number)
        engine.refresh()
        step = method.step(nets, batch(), state)
        optimiser.zero_grad()
        step.loss.backward()
        optimiser.step()
        state = step.state or state
        found.append((step.loss.detach(), dict(step.seen)))
        for seen, values in step.seen.items():
            total[seen] = total.get(seen, 0) + class_sum(values, y, CLASSES)
    evidence = Evidence(EPOCH, 1.0, steps * torch.bincount(y, minlength=CLASSES), total, accuracy)
    return found, student.state_dict(), method.next_state(state, evidence)


@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_is_that_of_the_plain_engine(name: str) -> None:
    (slow, slow_weights, slow_state), (quick, quick_weights, quick_state) = (
        stepped(engine, name) for engine in (PLAIN, fast())
    )
    torch.testing.assert_close(quick, slow, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(quick_weights, slow_weights, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(quick_state, slow_state, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["absld", "trades"])
def test_a_step_in_bfloat16_is_within_two_percent(name: str) -> None:
    """Of the loss after the same attack; the weights move in the same direction."""

    def moved(engine: Engine) -> tuple[Tensor, Tensor]:
        student, teacher = seeded(1).train(), seeded(2)
        block = block_of(name)
        nets = engine.networks(student, teacher, None)
        optimiser, method = engine.optimiser(student, block.optimiser), make(name, block)
        before = torch.cat([parameter.detach().flatten() for parameter in student.parameters()])
        torch.manual_seed(3)
        x, y = batch(32, CLASSES)
        step = method.step(nets, type(batch())(x.float(), y), method.init(CLASSES))
        step.loss.backward()
        optimiser.step()
        after = torch.cat([parameter.detach().flatten() for parameter in student.parameters()])
        return step.loss.detach(), after - before

    (loss, way), (loss_reduced, way_reduced) = moved(PLAIN), moved(fast(reduces=lambda network: True))
    assert loss_reduced.dtype == torch.float32
    assert abs(loss_reduced / loss - 1) < 0.02
    assert torch.cosine_similarity(way, way_reduced, dim=0) > 0.97
    assert not torch.equal(way, way_reduced)


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] * ("wrn" in name)) for name in ARCHITECTURES]
)
def test_a_folded_network_is_the_network(architecture: str) -> None:
    net = seeded(1, architecture, size=8)
    folded, x = Folded(frozen_view(net)), torch.rand(3, 1, net.spec.size, net.spec.size)
    torch.testing.assert_close(folded(x), frozen_view(net)(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=[pytest.mark.slow] * ("wrn" in name)) for name in ARCHITECTURES]
)
def test_every_network_computes_in_bfloat16(architecture: str) -> None:
    """All convolutions but the first; the logits point where they did."""
    net = seeded(1, architecture, size=8)
    folded, x = Folded(frozen_view(net), torch.bfloat16), torch.rand(8, 1, net.spec.size, net.spec.size)
    assert (torch.cosine_similarity(folded(x), frozen_view(net)(x)) > 0.99).all()
    convolutions = [layer for layer in folded.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert {layer.weight.dtype for layer in convolutions[1:]} == {torch.bfloat16}


def test_a_folded_network_follows_when_it_is_told_to() -> None:
    net, x = network(CLASSES), batch().x
    view = frozen_view(net)
    folded = Folded(view)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.rand_like(parameter)
        net(x)  # moves the statistics
    assert not torch.allclose(folded(x), view(x), rtol=1e-3)
    folded.refresh()
    torch.testing.assert_close(folded(x), view(x), rtol=1e-9, atol=1e-9)


def test_in_bfloat16_the_first_convolution_and_the_head_stay_float32() -> None:
    net = seeded(1)
    folded = Folded(frozen_view(net), torch.bfloat16)
    kinds = {name: module.weight.dtype for name, module in folded.graph.named_modules() if hasattr(module, "weight")}
    assert kinds.pop("backbone.conv1") == kinds.pop("backbone.linear") == torch.float32
    assert set(kinds.values()) == {torch.bfloat16}
    x = torch.rand(8, 1, 8, 8)
    assert folded(x).dtype == torch.float32
    torch.testing.assert_close(folded(x), frozen_view(net)(x), rtol=0.05, atol=0.01)
    assert Mixed(net)(x).dtype == torch.float32
    torch.testing.assert_close(Mixed(net)(x), net(x), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("rows", [5, 10, 32])
def test_row_by_row_an_image_has_its_logits_at_every_place(classes: int, rows: int) -> None:
    torch.manual_seed(1)
    net = build(Spec("tiny_resnet16", classes, 1, 8, None)).eval()
    folded, x = Folded(frozen_view(net)).row_by_row(), torch.rand(rows, 1, 8, 8)
    z = folded(x)
    torch.testing.assert_close(z, frozen_view(net)(x), rtol=1e-4, atol=1e-5)
    for places in range(1, rows):
        assert torch.equal(folded(x.roll(places, 0)), z.roll(places, 0))


@pytest.mark.parametrize("count", [1, 4, 5, 12])
def test_batches_of_another_size_are_filled_up_and_cut(count: int) -> None:
    net, sizes = frozen_view(network(CLASSES)), []

    def seen(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return net(x)

    x = batch(count, CLASSES).x.requires_grad_()
    fixed = FixedShape(seen, 4, None)
    torch.testing.assert_close(fixed(x), net(x), rtol=1e-12, atol=1e-12)
    assert set(sizes) == {4}
    (gradient,) = torch.autograd.grad(fixed(x).square().sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(net(x).square().sum(), x)[0], rtol=1e-9, atol=1e-12)


def test_what_does_not_compile_goes_on_as_it_is_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(torch, "compile", lambda network, **options: broken)
    lines: list[str] = []
    compiler, net, x = Compiler(torch.device("cpu"), lines.append), network(CLASSES), batch(2, CLASSES).x
    fixed, full = FixedShape(net, 2, compiler), FullBatches(net, 2, compiler)
    for run in (fixed, full):
        for _ in range(2):
            assert torch.equal(run(x), net(x))
    assert lines == ["not compiled, so slower: RuntimeError: no C++ compiler"] * 2


@pytest.mark.slow
def test_compiled_steps_are_those_of_the_plain_engine() -> None:
    """In float32: one step, whose attack is one step of a gradient that is nowhere near zero by much."""
    lines: list[str] = []
    losses, weights = [], []
    block = block_of("absld")
    block = with_(block, attack=with_(block.attack, steps=2))
    for engine in (PLAIN, fast(compiles=True, say=lines.append)):
        student, teacher = seeded(1).train(), seeded(2)
        nets = engine.networks(student, teacher, None)
        optimiser, method = engine.optimiser(student, block.optimiser), make("absld", block)
        for number in range(2):
            torch.manual_seed(number)
            x, y = batch(8, CLASSES)
            engine.refresh()
            step = method.step(nets, type(batch())(x.float(), y), method.init(CLASSES))
            optimiser.zero_grad()
            step.loss.backward()
            optimiser.step()
            losses.append(step.loss.detach())
        weights.append(student.state_dict())
    assert not lines
    torch.testing.assert_close(losses[2:], losses[:2], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-2, atol=1e-3)


def test_more_networks_are_compiled_than_torch_takes_for_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[object] = []

    def counted(graph: torch.fx.GraphModule, _: object) -> Any:
        graphs.append(graph)
        return graph.forward

    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile_with(network, dynamic=False, backend=counted))
    engine = fast(compiles=True, say=pytest.fail)
    students = [engine.attacked(seeded(number)) for number in range(6)]
    for student in students:
        for gradient in (False, True):
            student(batch(8, CLASSES).x.float().requires_grad_(gradient))
    assert len(graphs) == 2 * len(students)


@pytest.mark.slow
def test_compilation_leaves_statistics_gradients_and_random_numbers_as_they_were() -> None:
    student = seeded(1).train()
    before = copy.deepcopy(student.state_dict())
    run = FullBatches(student, 4, Compiler(torch.device("cpu"), print))
    twin = copy.deepcopy(student)
    x = torch.rand(4, 1, 8, 8)
    state = torch.get_rng_state()
    z = run(x)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(z, twin(x))
    torch.testing.assert_close(student.state_dict(), twin.state_dict())
    assert not torch.equal(before["backbone.bn1.running_mean"], student.state_dict()["backbone.bn1.running_mean"])
    assert all(parameter.grad is None for parameter in student.parameters())


@pytest.fixture(scope="module")
def digits() -> Task:
    """Scikit-learn's digits; half of them are for validation."""
    found = load_digits()
    x = torch.from_numpy(found.images * 255 / 16).round().to(torch.uint8)[:, None]
    y = torch.from_numpy(found.target).to(torch.int64)
    held = Held(x[900:].float() / 255, y[900:])
    settings = DIGITS.train
    return Task(tuple("0123456789"), x[:900], y[:900], held, held, settings.augmentation, settings.validation, 0)


AUGMENTED = Augmentation(crop_padding=1, padding="zeros", horizontal_flip=True)


def test_the_memory_answers_as_the_teacher_and_asks_it_once() -> None:
    of = replace(task(), augmentation=AUGMENTED)
    teacher, sizes = frozen_view(seeded(2)), []

    def ask(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return teacher(x)[:, : len(NAMES)]

    memory, generator = Memory(ask, of, 5), torch.Generator().manual_seed(0)
    assert variants_of(of) == 18
    for _ in range(6):
        epoch = plan(len(of.x), AUGMENTED, generator, of.device)
        memory.begin(epoch)
        for piece in epoch.split(7):
            x = piece.images(of.x, AUGMENTED)
            memory.show(piece, x)
            torch.testing.assert_close(memory(x), ask(x), rtol=1e-5, atol=1e-6)
    assert memory.asked + memory.remembered == 6 * len(of.x)
    assert memory.asked == int(memory.known.sum())
    assert 0 < memory.remembered < 6 * len(of.x)
    assert memory.saved > 0
    other = torch.rand(2, 1, 8, 8)
    assert torch.equal(memory(other), ask(other)), "what is no training image is asked about as ever"


def test_a_memory_that_nobody_needs_asks_nobody() -> None:
    of = task()

    def ask(x: Tensor) -> Tensor:
        raise AssertionError("nobody wanted to know")

    memory = Memory(ask, of, 8)
    epoch = plan(len(of.x), of.augmentation, torch.Generator(), of.device)
    memory.begin(epoch)
    memory.show(epoch, epoch.images(of.x, of.augmentation))
    assert memory.asked == 0


def trained(folder: Path, epochs: int, speed: Speed, name: str = "absld") -> Run:
    of = replace(task(), augmentation=AUGMENTED)
    block = block_of(name)
    block = with_(block, epochs=6, milestones=[5], optimiser=with_(block.optimiser, batch_size=10))
    spec = Spec("tiny_resnet8", 3, 1, 8, None)
    torch.manual_seed(7)
    teacher = build(replace(spec, architecture="tiny_resnet16"))
    return train_network(
        spec, name, block, of, Checkpoint(folder), lambda run: None, epochs=epochs, speed=speed, teacher=teacher
    )


def test_a_resumed_run_with_a_memory_is_the_run_that_was_never_stopped(tmp_path: Path) -> None:
    """The memory itself is not kept: it is rebuilt, and knows the same."""
    speed = Speed("fast", "float32", 1)
    whole = trained(tmp_path / "whole", 6, speed)
    trained(tmp_path / "cut", 3, speed)
    resumed = trained(tmp_path / "cut", 6, speed)
    assert whole.rows == resumed.rows
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)


def test_the_memory_changes_nothing(tmp_path: Path) -> None:
    without = trained(tmp_path / "without", 4, Speed("fast", "float32"))
    with_memory = trained(tmp_path / "with", 4, Speed("fast", "float32", 1))
    assert without.rows == with_memory.rows


def test_a_memory_that_is_too_large_is_left_out_with_a_line(tmp_path: Path) -> None:
    lines: list[str] = []
    engine = Speed("fast", "float32", 1e-7).engine_of(task(), block_of("absld"), network(3), epochs=1, say=lines.append)
    assert isinstance(engine, Fast)
    assert not engine.remembers
    assert lines == ["the teacher's logits are not remembered: train.teacher_memory is less than 2.9e-07 GiB"]


@pytest.mark.parametrize(("free", "remembers"), [(623, False), (624, True)])
def test_a_memory_takes_no_more_than_half_of_what_is_free_on_a_gpu(
    free: int, remembers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 images in 1 variant, 3 logits of 4 bytes and 1 byte each: 312 bytes, 2.9e-07 GiB."""
    lines: list[str] = []
    monkeypatch.setattr("absld.engine.choose.least_free", lambda device: free)
    engine = Speed("fast", "float32", 1).engine_of(task(), block_of("absld"), network(3), epochs=1, say=lines.append)
    assert isinstance(engine, Fast)
    assert engine.remembers is remembers
    why = "they take 2.9e-07 GiB, more than half of the 5.8e-07 GiB that are free on the GPU"
    assert lines == ([] if remembers else [f"the teacher's logits are not remembered: {why}"])


def test_the_cost_of_a_pass_is_counted_by_hand() -> None:
    net = build(Spec("tiny_resnet8", 10, 1, 8, None))
    eight, four, two = 64 * 9, 16 * 9, 4 * 9  # positions of a map times the taps of a 3x3 kernel
    products = eight * (1 * 8 + 8 * 8 + 8 * 8) + four * (8 * 16 + 16 * 16) + two * (16 * 32 + 32 * 32)
    products += 16 * 8 * 16 + 4 * 16 * 32 + 32 * 10  # the two shortcuts and the linear layer
    assert forward_cost(net) == 2 * products
    assert net.training
    block = block_of("rslad")
    assert cost(net, task(), block, 2) == 2 * products * (2 * 10 + 6) * 24 * 2


def test_small_jobs_are_not_compiled_and_large_ones_are() -> None:
    block, of = block_of("rslad"), task()
    small = Speed("fast").engine_of(of, block, build(Spec("tiny_resnet8", 3, 1, 8, None)), epochs=300)
    large = Speed("fast").engine_of(of, block, build(Spec("resnet18", 3, 1, 32, None)), epochs=300_000)
    assert isinstance(small, Fast)
    assert isinstance(large, Fast)
    assert small.compiler is None
    assert large.compiler is not None


def test_what_is_reported() -> None:
    assert PLAIN.report() == {"engine": "plain", "precision": "float32"}
    engine = fast(reduces=lambda network: True, remembers=True)
    nets = engine.networks(seeded(1), seeded(2), None)
    assert isinstance(nets, Networks)
    assert engine.report() == {"engine": "fast", "precision": "bfloat16", "teacher_precision": "bfloat16"}
    engine = fast(reduces=lambda network: network.spec.architecture == "tiny_resnet32")
    engine.networks(seeded(1), seeded(2, "tiny_resnet32"), None)
    assert engine.report() == {"engine": "fast", "precision": "float32", "teacher_precision": "bfloat16"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_students_are_as_robust_class_by_class_as_the_plain_engines(
    digits: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five seeds on real digits, with bfloat16 and the memory: the engines differ by no more than seeds do."""
    monkeypatch.setattr("absld.engine.choose.gains", lambda network, device: True)
    torch.manual_seed(3)
    student = Spec("tiny_resnet8", 10, 1, 8, None)
    block = with_(DIGITS.methods.absld, milestones=[7])
    teacher = train_network(
        student, "trades", with_(DIGITS.methods.trades, milestones=[7]), digits,
        Checkpoint(tmp_path / "teacher"), lambda run: None, epochs=8,
    ).student.eval()  # fmt: skip

    def robust(speed: Speed, seed: int) -> Tensor:
        run = train_network(
            student, "absld", block, replace(digits, seed=seed), Checkpoint(tmp_path / f"{speed.engine}-{seed}"),
            lambda run: None, epochs=8, speed=speed, teacher=teacher,
        )  # fmt: skip
        return validate(frozen_view(run.student), digits, digits.validation, epoch=0).accuracy["pgd"]

    slow, quick = (
        torch.stack([robust(speed, seed) for seed in range(5)]) for speed in (Speed(), Speed("fast", "auto", 1))
    )
    noise = ((slow.var(0) + quick.var(0)) / 5).sqrt()
    print((slow.mean(0) - quick.mean(0)).tolist(), noise.tolist())
    assert slow.mean() > 0.3
    assert ((slow.mean(0) - quick.mean(0)).abs() <= 4 * noise + 0.03).all()
    average_noise = ((slow.mean(1).var() + quick.mean(1).var()) / 5).sqrt()
    assert (slow.mean() - quick.mean()).abs() <= 3 * average_noise + 0.01


def test_on_a_cpu_small_and_grouped_networks_stay_in_float32() -> None:
    cpu, nets = torch.device("cpu"), {}
    for name, size in (("resnet18", 32), ("mobilenet_v2", 32), ("tiny_resnet32", 32), ("tiny_resnet32", 8)):
        nets[name, size] = gains(build(Spec(name, 10, 3, size, None)), cpu)
    assert list(nets.values()) == [True, False, True, False]
