"""Every method against its equation, written slowly, and through one battery."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from toy_problem import PARAMS, evidence, with_

from absld.attacks.linf_walk import LinfWalk
from absld.divergences import cross_entropy, kl, kl_of_logits, soften
from absld.methods.absld import Absld
from absld.methods.protocol import Batch, Evidence, LooksFirst, Networks
from absld.methods.registry import METHODS, make
from absld.methods.rslad import Rslad
from absld.methods.trades import Trades
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.params.load import load

DIGITS = load(Path(__file__).parents[1] / "params.yaml")
CLASSES = 4


def network(seed: int, classes: int = CLASSES) -> nn.Module:
    torch.manual_seed(seed)
    return build(Spec("tiny_resnet16", classes, 1, 8, None)).train()


def networks(student: nn.Module, teacher: nn.Module | None = None) -> Networks:
    return Networks(student, frozen_view(student), None if teacher is None else frozen_view(teacher))


def block_of(params: Any, name: str) -> Any:
    """A method's block (that of digits where a profile has none), for networks with few classes."""
    block = getattr(params.methods, name) or getattr(DIGITS.methods, name)
    return with_(block, hard_classes=[1, 2]) if getattr(block, "hard_classes", None) else block


def begun(method: Any) -> Any:
    """The state before the first epoch, as the loop makes it."""
    state = method.init(CLASSES)
    if isinstance(method, LooksFirst):
        accuracy = {"clean": torch.tensor([0.9, 0.8, 0.7, 0.6]), "pgd": torch.tensor([0.5, 0.5, 0.2, 0.1])}
        return method.first_state(state, accuracy)
    return state


def batch(n: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(5)
    return Batch(torch.rand(n, 1, 8, 8, generator=generator), torch.arange(n) % CLASSES)


# --- divergences ---------------------------------------------------------------------------------------------------


def naive_kl(p: Tensor, z: Tensor) -> list[float]:
    """Σ_j p_j (log p_j − log q_j), in plain Python, q = softmax(z)."""
    values = []
    for row, logits in zip(p.tolist(), z.tolist(), strict=True):
        top = max(logits)
        normaliser = top + math.log(sum(math.exp(value - top) for value in logits))
        values.append(
            sum(q * (math.log(q) - (value - normaliser)) for q, value in zip(row, logits, strict=True) if q > 0)
        )
    return values


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 7))
@settings(max_examples=30, deadline=None)
def test_kl_is_the_sum_over_classes(seed: int, n: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z_t, z = torch.randn(2, n, classes, generator=generator, dtype=torch.float64) * 3
    p = z_t.softmax(-1)
    assert kl(p, z).tolist() == pytest.approx(naive_kl(p, z), abs=1e-12)
    assert kl(z.softmax(-1), z).abs().max() < 1e-12


def test_kl_of_logits_is_kl_and_its_gradient_survives_underflow() -> None:
    z_t, z = torch.randn(2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(kl_of_logits(z_t, z), kl(z_t.softmax(-1), z))
    extreme = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    value = kl_of_logits(extreme, torch.zeros(1, 3))
    value.sum().backward()
    assert value.item() == pytest.approx(math.log(3))
    assert extreme.grad is not None
    assert extreme.grad.isfinite().all()


def test_kl_of_a_one_hot_target_is_the_cross_entropy() -> None:
    z, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    one_hot = torch.nn.functional.one_hot(y, 4).float()
    torch.testing.assert_close(kl(one_hot, z), cross_entropy(z, y))


def test_a_lower_temperature_sharpens_and_1_changes_nothing() -> None:
    z = torch.tensor([[1.0, 2.0, 4.0]])
    top = [soften(z, torch.tensor([tau])).max().item() for tau in (0.5, 1.0, 5.0)]
    assert top[0] > top[1] > top[2]
    assert torch.equal(soften(z, torch.ones(1)), z.softmax(-1))


def test_soften_leaves_the_logits_alone() -> None:
    z = torch.randn(3, 4)
    before = z.clone()
    soften(z, torch.tensor([0.5, 2.0, 3.0]))
    assert torch.equal(z, before)


def test_t02_the_published_means_are_the_scale_0_1() -> None:
    """Mean over batch and 10 classes = 0.1 of the mean KL; over 100 classes and times 10 the same."""
    for classes, factor in ((10, 1.0), (100, 10.0)):
        p, z = torch.randn(8, classes).softmax(-1), torch.randn(8, classes)
        elements = p * (p.log() - z.log_softmax(-1))
        torch.testing.assert_close(factor * elements.mean(), 0.1 * kl(p, z).mean())


# --- TRADES --------------------------------------------------------------------------------------------------------


def plain_walk(net: nn.Module, x: Tensor, p: Tensor, walk: LinfWalk) -> Tensor:
    """The walk on KL(p ‖ softmax(z)) in plain steps; the start draws one normal tensor."""
    x_adv = x + 0.001 * torch.randn_like(x)
    for _ in range(walk.steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = (p * (p.log() - net(x_adv).log_softmax(-1))).sum()
        gradient = torch.autograd.grad(loss, x_adv)[0]
        x_adv = x_adv + walk.step * gradient.sign()
        x_adv = torch.clamp(torch.min(torch.max(x_adv, x - walk.eps), x + walk.eps), 0, 1)
    return x_adv.detach()


def gradients(loss: Tensor, net: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters())))


def test_trades_is_its_equation() -> None:
    block, (x, y), student = PARAMS.methods.trades, batch(), network(1)
    reference = copy.deepcopy(student)
    torch.manual_seed(9)
    step = Trades(block).step(networks(student), Batch(x, y), {})
    mine = gradients(step.loss, student)

    torch.manual_seed(9)
    reference.eval()
    p = reference(x).softmax(-1).detach()
    x_adv = plain_walk(reference, x, p, LinfWalk.of(block.attack))
    reference.train()
    z, z_adv = reference(x), reference(x_adv)
    p = reference(x).softmax(-1)
    loss = -z.log_softmax(-1)[torch.arange(len(y)), y].mean()
    loss = loss + block.beta * (p * (p.log() - z_adv.log_softmax(-1))).sum(-1).mean()
    torch.testing.assert_close(step.loss, loss)
    for ours, theirs in zip(mine, gradients(loss, reference), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_t07_the_target_may_be_constant_in_the_attack_but_not_in_the_loss() -> None:
    (x, _), net = batch(), frozen_view(network(1))
    point = (x + 0.02).requires_grad_()
    moving = kl(net(x).softmax(-1), net(point)).sum()
    constant = kl(net(x).softmax(-1).detach(), net(point)).sum()
    torch.testing.assert_close(torch.autograd.grad(moving, point)[0], torch.autograd.grad(constant, point)[0])

    student = network(1)
    both = gradients(kl(student(x).softmax(-1), student(x + 0.02)).mean(), student)
    one = gradients(kl(student(x).softmax(-1).detach(), student(x + 0.02)).mean(), student)
    assert max((a - b).abs().max() for a, b in zip(both, one, strict=True)) > 1e-4


# --- RSLAD and ABSLD -----------------------------------------------------------------------------------------------


def naive_distillation(
    student: nn.Module, x: Tensor, p_adv: Tensor, p_clean: Tensor, walk: LinfWalk, alpha: float, scale: float
) -> Tensor:
    """scale · [ α·KL(p_adv ‖ s(x')) + (1−α)·KL(p_clean ‖ s(x)) ], example by example."""
    student.eval()
    x_adv = plain_walk(student, x, p_adv, walk)
    student.train()
    z_adv, z_clean = student(x_adv), student(x)
    total = torch.zeros(())
    for i in range(len(x)):
        adv = (p_adv[i] * (p_adv[i].log() - z_adv[i].log_softmax(0))).sum()
        clean = (p_clean[i] * (p_clean[i].log() - z_clean[i].log_softmax(0))).sum()
        total = total + scale * (alpha * adv + (1 - alpha) * clean)
    return total / len(x)


def test_rslad_is_its_equation() -> None:
    block, (x, y), student, teacher = PARAMS.methods.rslad, batch(), network(1), network(2)
    reference = copy.deepcopy(student)
    torch.manual_seed(9)
    step = Rslad(block).step(networks(student, teacher), Batch(x, y), {})
    mine = gradients(step.loss, student)
    p = teacher.eval()(x).softmax(-1).detach()
    torch.manual_seed(9)
    loss = naive_distillation(reference, x, p, p, LinfWalk.of(block.attack), 5 / 6, 0.1)
    torch.testing.assert_close(step.loss, loss)
    for ours, theirs in zip(mine, gradients(loss, reference), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("coupling", ["separate", "product"])
def test_t01_which_temperatures_each_loss_sees(coupling: str) -> None:
    block = with_(PARAMS.methods.absld, coupling=coupling)
    (x, y), student, teacher = batch(), network(1), network(2)
    tau = {"tau_adv": torch.tensor([0.5, 1.0, 2.0, 3.0]), "tau_clean": torch.tensor([5.0, 0.7, 1.0, 1.5])}
    reference = copy.deepcopy(student)
    torch.manual_seed(9)
    step = Absld(block).step(networks(student, teacher), Batch(x, y), tau)
    z = teacher.eval()(x).detach()
    rows = []
    for i, label in enumerate(y.tolist()):
        adv, clean = tau["tau_adv"][label].item(), tau["tau_clean"][label].item()
        if coupling == "product":
            adv = clean = adv * clean
        rows.append(((z[i] / adv).softmax(0), (z[i] / clean).softmax(0)))
    p_adv, p_clean = (torch.stack(column) for column in zip(*rows, strict=True))
    torch.manual_seed(9)
    loss = naive_distillation(reference, x, p_adv, p_clean, LinfWalk.of(block.attack), 5 / 6, 0.1)
    torch.testing.assert_close(step.loss, loss)


def test_t03_absld_that_learns_no_temperature_is_rslad_bit_for_bit() -> None:
    frozen = with_(PARAMS.methods.absld, learn_tau_adv=False, learn_tau_clean=False)
    still = with_(PARAMS.methods.absld, beta=0.0)
    weights = []
    for method in (Rslad(PARAMS.methods.rslad), Absld(frozen), Absld(still)):
        student, teacher = network(1), network(2)
        optimiser = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
        nets, state = networks(student, teacher), method.init(CLASSES)
        torch.manual_seed(3)
        for epoch in (1, 2, 3):
            step = method.step(nets, batch(), state)
            optimiser.zero_grad()
            step.loss.backward()
            optimiser.step()
            state = method.next_state(state, evidence(step.seen["risk_adv"], batch().y, epoch))
        weights.append(student.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(weights[0][name], other[name]) for name in weights[0])


# --- the battery: every method of the registry -------------------------------------------------------------------


class Counted(nn.Module):
    """A student that writes down what it is asked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.inner(x)


FORWARDS = {
    "natural": "clean",
    "sat": "adv",
    "trades": "clean adv clean",
    "rslad": "adv clean",
    "adaad": "clean adv",
    "frl": "clean adv clean",
    "bat": "adv adv clean",
    "cfa": "clean adv clean",
    "fair_ard": "adv clean",
    "fair_rslad": "adv clean",
    "absld": "adv clean",
    "absld_adv": "adv clean",
    "absld_product": "adv clean",
    "sat_ssd": "adv",
    "sat_dsd": "adv",
    "ard": "adv clean",
    "iad": "adv adv clean",
    "mtard": "adv clean",
    "fat": "adv",
}
"""Train-mode forwards of a step, after those of an attack in training mode."""


def stepped(name: str, block: Any) -> tuple[Counted, Batch]:
    """A student that one step has been taken with, and the batch."""
    student, method = Counted(network(1)), make(name, block)
    nets = Networks(student, frozen_view(student.inner), frozen_view(network(2)), frozen_view(network(3)))
    method.step(nets, batch(), begun(method))
    return student, batch()


def attack_forwards(block: Any) -> int:
    """How many points an attack in training mode passes through the student."""
    return block.attack.steps if getattr(block, "batchnorm", "eval") == "train" else 0


@pytest.mark.parametrize("name", METHODS)
def test_t16_order_of_training_forwards_and_statistics_under_attack(name: str) -> None:
    block = block_of(PARAMS, name)
    student, (x, _) = stepped(name, block)
    kinds = ["clean" if torch.equal(seen, x) else "adv" for seen in student.seen[attack_forwards(block) :]]
    assert " ".join(kinds) == FORWARDS[name]
    passed = attack_forwards(block) + len(kinds)
    assert student.inner.backbone.bn1.num_batches_tracked.item() == passed


@pytest.mark.parametrize("name", [name for name in METHODS if hasattr(block_of(DIGITS, name), "attack")])
def test_t17_the_adversarial_batch_stays_in_the_ball_and_in_the_image_range(name: str) -> None:
    block = block_of(DIGITS, name)
    student, (x, _) = stepped(name, block)
    adversarial = [seen for seen in student.seen[attack_forwards(block) :] if not torch.equal(seen, x)]
    assert adversarial
    margin = getattr(block, "margin_max", 1)
    for x_adv in adversarial:
        assert (x_adv - x).abs().max() <= margin * block.attack.eps + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
    assert max((x_adv - x).abs().max() for x_adv in adversarial) > block.attack.eps / 2


@pytest.mark.parametrize("name", METHODS)
def test_a_step_is_finite_deterministic_and_leaves_the_teachers_alone(name: str) -> None:
    method, teachers = make(name, block_of(DIGITS, name)), [network(2), network(3)]
    before = [copy.deepcopy(teacher.state_dict()) for teacher in teachers]
    losses = []
    for _ in range(2):
        student = network(1)
        nets = Networks(student, frozen_view(student), *map(frozen_view, teachers))
        torch.manual_seed(4)
        state = begun(method)
        held = {key: value.clone() for key, value in state.items()}
        step = method.step(nets, batch(), state)
        step.loss.backward()
        losses.append(step.loss)
        assert step.loss.isfinite()
        assert all(parameter.grad is not None for parameter in student.parameters())
        assert step.seen
        assert all(not values.requires_grad and len(values) == 6 for values in step.seen.values())
        assert all(torch.equal(held[key], value) for key, value in state.items()), "the state is a value"
    assert torch.equal(losses[0], losses[1])
    for teacher, old in zip(teachers, before, strict=True):
        assert all(parameter.grad is None for parameter in teacher.parameters())
        assert all(torch.equal(old[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.parametrize("name", METHODS)
def test_the_state_after_an_epoch_is_finite_pure_and_keeps_its_shapes(name: str) -> None:
    block = block_of(DIGITS, name)
    method, student = make(name, block), network(1)
    nets = Networks(student, frozen_view(student), frozen_view(network(2)), frozen_view(network(3)))
    state, (x, y) = begun(method), batch()
    seen = method.step(nets, Batch(x, y), state).seen
    total = {key: torch.zeros(CLASSES).index_add_(0, y, values) for key, values in seen.items()}
    accuracy = {"clean": torch.tensor([0.9, 0.8, 0.7, 0.6]), "pgd": torch.tensor([0.5, 0.5, 0.2, 0.1])}
    evidence = Evidence(block.epochs, 0.1, torch.bincount(y, minlength=CLASSES), total, accuracy)
    first, second = method.next_state(state, evidence), method.next_state(state, evidence)
    assert all(value.isfinite().all() for value in first.values())
    assert all(torch.equal(second[key], value) for key, value in first.items())
    assert all(value.shape in ((), (CLASSES,)) for value in first.values())
    assert set(state) <= set(first)
