"""The methods that distil a teacher against their equations, written slowly, with the settings of the profiles.

The attack's constants, the scales and the orders stand here as the papers and their code have them: a profile that
departs from them fails too. Everything is in double precision, so that equal means equal.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from absld.methods.protocol import Batch, Evidence, Networks, Step
from absld.methods.registry import make
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.params.load import load
from absld.training.schedule import Schedule

PROFILES = {
    classes: load(Path(__file__).parents[1] / f"pipeline/profiles/cifar{classes}.yaml").methods for classes in (10, 100)
}
NAMES = ("adaad", "fair_ard", "fair_rslad", "absld", "absld_adv", "absld_product", "ard", "iad", "mtard")


def block_of(name: str, classes: int = 10, **changes: Any) -> Any:
    return getattr(PROFILES[classes], name).model_copy(update=changes)


def network(seed: int, classes: int) -> nn.Module:
    """With statistics of its own, so that evaluation mode differs from training mode, and with an opinion."""
    torch.manual_seed(seed)
    net = build(Spec("tiny_resnet16", classes, 1, 8, None)).double().train()
    net.backbone.linear.weight.data *= 8
    for batchnorm in (module for module in net.modules() if isinstance(module, nn.BatchNorm2d)):
        batchnorm.momentum = 0.8
    for _ in range(2):
        net(torch.rand(20, 1, 8, 8).double())
    return net


def batch(classes: int, seed: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(classes, (6,), generator=generator)
    return Batch(torch.rand(6, 1, 8, 8, generator=generator).double(), y)


def state_of(name: str, classes: int, block: Any = None) -> dict[str, Tensor]:
    state = make(name, block or block_of(name, classes)).init(classes)
    return {key: value.double() for key, value in state.items()}


def evidence(classes: int, epoch: int = 1, decay: float = 1.0, **means: Tensor) -> Evidence:
    """An epoch of two images a class."""
    count = torch.full((classes,), 2)
    return Evidence(epoch, decay, count, {name: 2 * mean for name, mean in means.items()}, {})


# --- the equations, written slowly -----------------------------------------------------------------------------------


class Outcome(NamedTuple):
    loss: Tensor
    z_adv: Tensor
    z_clean: Tensor


Oracle = Callable[[nn.Module, nn.Module, Batch], Outcome]


def softmax(z: Tensor) -> Tensor:
    return z.exp() / z.exp().sum(1, keepdim=True)


def elements(p: Tensor, z: Tensor) -> Tensor:
    """The terms p_j (log p_j − log s_j) of KL(p ‖ softmax(z)): images x classes, to be averaged either way."""
    return p * (p.log() - softmax(z).log())


def cross_entropies(z: Tensor, y: Tensor) -> Tensor:
    return torch.stack([-softmax(z).log()[i, label] for i, label in enumerate(y.tolist())])


def pgd(x: Tensor, climbed: Callable[[Tensor], Tensor], start: str) -> Tensor:
    """Ten steps of 2/255 in the ball of 8/255; starts: 0.001 times a normal draw, or anywhere in the ball."""
    noise = 0.001 * torch.randn_like(x) if start == "normal" else 8 / 255 * (2 * torch.rand_like(x) - 1)
    x_adv = x + noise
    for _ in range(10):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(climbed(x_adv), x_adv)
        x_adv = x_adv.detach() + 2 / 255 * gradient.sign()
        x_adv = torch.min(torch.max(x_adv, x - 8 / 255), x + 8 / 255).clamp(0, 1)
    return x_adv.detach()


def label_attack(student: nn.Module, batch: Batch, start: str) -> Tensor:
    return pgd(batch.x, lambda x_adv: cross_entropies(student(x_adv), batch.y).sum(), start)


def soft_attack(student: nn.Module, batch: Batch, p: Tensor) -> Tensor:
    """In evaluation mode; training mode is back afterwards."""
    student.eval()
    x_adv = pgd(batch.x, lambda x_adv: elements(p, student(x_adv)).sum(), "normal")
    student.train()
    return x_adv


def compare(
    name: str,
    classes: int,
    oracle: Oracle,
    *,
    block: Any = None,
    state: dict[str, Tensor] | None = None,
    clean_teacher: nn.Module | None = None,
) -> Step:
    """One step of the method and one of the oracle from the same start.

    Loss, gradients, risks and BatchNorm statistics agree, and no teacher has changed.
    """
    student, reference, teacher = network(1, classes), network(1, classes), network(2, classes).eval()
    (x, y), block = batch(classes), block or block_of(name, classes)
    teachers = [teacher] if clean_teacher is None else [teacher, clean_teacher]
    before = [{key: value.clone() for key, value in net.state_dict().items()} for net in teachers]
    nets = Networks(student, frozen_view(student), *(frozen_view(net) for net in teachers))
    torch.manual_seed(9)
    step = make(name, block).step(nets, Batch(x, y), state_of(name, classes, block) if state is None else state)
    torch.manual_seed(9)
    outcome = oracle(reference, teacher, Batch(x, y))
    assert_close(step.loss, outcome.loss)
    assert_close(
        torch.autograd.grad(step.loss, list(student.parameters())),
        torch.autograd.grad(outcome.loss, list(reference.parameters())),
    )
    assert_close(student.state_dict(), reference.state_dict())
    assert_close(step.seen["risk_adv"], cross_entropies(outcome.z_adv, y).detach())
    assert_close(step.seen["risk_clean"], cross_entropies(outcome.z_clean, y).detach())
    assert all(not values.requires_grad and len(values) == len(y) for values in step.seen.values())
    for net, weights in zip(teachers, before, strict=True):
        assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
        assert all(parameter.grad is None for parameter in net.parameters())
    return step


# --- AdaAD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 0.8])
@pytest.mark.parametrize("classes", [10, 100])
def test_adaad_is_its_equation(classes: int, alpha: float) -> None:
    """Mean over batch and classes on CIFAR-10, over the batch on CIFAR-100; the clean term is off as published."""

    def mean(terms: Tensor) -> Tensor:
        return terms.mean() if classes == 10 else terms.sum(1).mean()

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        student.eval()
        x_adv = pgd(batch.x, lambda x_adv: elements(softmax(teacher(x_adv)), student(x_adv)).sum(), "normal")
        student.train()
        z_clean = student(batch.x)
        z_adv = student(x_adv)
        adv = mean(elements(softmax(teacher(x_adv)).detach(), z_adv))
        clean = mean(elements(softmax(teacher(batch.x)).detach(), z_clean))
        return Outcome(alpha * adv + (1 - alpha) * clean, z_adv, z_clean)

    block = block_of("adaad", classes)
    assert block.alpha == 1
    compare("adaad", classes, oracle, block=block_of("adaad", classes, alpha=alpha))


def test_t06_the_input_gradient_of_adaad_flows_through_both_networks() -> None:
    student, teacher, (x, y) = network(1, 10), network(2, 10).eval(), batch(10)
    seen: list[Tensor] = []
    nets = Networks(student, frozen_view(student), frozen_view(teacher))
    student.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    walk = block_of("adaad").attack.model_copy(update={"steps": 1, "start": "none"})
    make("adaad", block_of("adaad", attack=walk)).step(nets, Batch(x, y), {})
    attacked = network(1, 10).eval()

    def disagreement(point: Tensor) -> Tensor:
        return elements(softmax(teacher(point)), attacked(point)).sum()

    point = x.clone().requires_grad_()
    (both,) = torch.autograd.grad(disagreement(point), point)
    (one,) = torch.autograd.grad(elements(softmax(teacher(x)), attacked(point)).sum(), point)
    direction = torch.randn_like(x)
    slope = (disagreement(x + 1e-6 * direction) - disagreement(x - 1e-6 * direction)) / 2e-6
    assert (both * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)
    assert (one * direction).sum().item() != pytest.approx(slope.item(), rel=1e-1)
    assert (both.sign() != one.sign()).float().mean() > 0.1
    assert_close(seen[1], (x + 2 / 255 * both.sign()).clamp(0, 1))


# --- ARD and Fair-ARD ------------------------------------------------------------------------------------------------


def hot_oracle(alpha: float, weight: Tensor) -> Oracle:
    """ARD's loss at T = 30 on both sides, mean over batch and classes, times T²; the attack is in training mode."""

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        x_adv = label_attack(student, batch, "uniform")
        z_adv = student(x_adv)
        z_clean = student(batch.x)
        p = softmax(teacher(batch.x) / 30).detach()
        soft = 30**2 * elements(p, z_adv / 30).mean(1)
        loss = weight[batch.y] * (alpha * soft + (1 - alpha) * cross_entropies(z_clean, batch.y))
        return Outcome(loss.sum() / len(batch.y), z_adv, z_clean)

    return oracle


@pytest.mark.parametrize("alpha", [1.0, 0.7])
@pytest.mark.parametrize("classes", [10, 100])
def test_ard_is_its_equation(classes: int, alpha: float) -> None:
    assert block_of("ard", classes).alpha == 1
    compare("ard", classes, hot_oracle(alpha, torch.ones(classes)), block=block_of("ard", classes, alpha=alpha))


@pytest.mark.parametrize("alpha", [1.0, 0.7])
@pytest.mark.parametrize("classes", [10, 100])
def test_fair_ard_is_ard_with_weights(classes: int, alpha: float) -> None:
    weight = torch.linspace(5 / 6, 5 / 2, classes).double()
    block = block_of("fair_ard", classes, alpha=alpha)
    compare("fair_ard", classes, hot_oracle(alpha, weight), block=block, state={"weight": weight})


# --- Fair-RSLAD and the class weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [10, 100])
def test_fair_rslad_is_rslad_with_weights(classes: int) -> None:
    """Mean over batch and classes; ten times that on CIFAR-100."""
    weight = torch.linspace(5 / 6, 5 / 2, classes).double()

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        p = softmax(teacher(batch.x)).detach()
        x_adv = soft_attack(student, batch, p)
        z_adv = student(x_adv)
        z_clean = student(batch.x)
        adv, clean = (weight[batch.y] * elements(p, z).mean(1) for z in (z_adv, z_clean))
        return Outcome(classes / 10 * (5 / 6 * adv.mean() + 1 / 6 * clean.mean()), z_adv, z_clean)

    compare("fair_rslad", classes, oracle, state={"weight": weight})


class Valley(nn.Module):
    """Class 0 is right where the pixel is further than 0.05 from 0.47: who steps over the valley is right again."""

    def forward(self, x: Tensor) -> Tensor:
        margin = (x.flatten(1)[:, 0] - 0.47).abs() - 0.05
        return torch.stack((margin, torch.zeros_like(margin)), 1)


@pytest.mark.parametrize(
    ("kappa", "expected"),
    [
        ("count", [6, 5, 7]),
        ("first", [2, 0, 5]),
    ],
)
@pytest.mark.parametrize("name", ["fair_ard", "fair_rslad"])
def test_t11_kappa_counts_the_first_ten_points(name: str, kappa: str, expected: list[int]) -> None:
    """Steps of 0.1 towards 0.47, then to and fro between 0.4 (right) and 0.5 (wrong); r: right, w: wrong.

    From 0.7: rrwrwrwrwr, then w. From 0.5: wrwrwrwrwr, then w. From 0: rrrrrwrwrw, then r.
    """
    block = block_of(name)
    walk = block.attack.model_copy(update={"eps": 0.9, "step": 0.1, "start": "none"})
    block = block_of(name, attack=walk, fairness=block.fairness.model_copy(update={"kappa": kappa}))
    x, y = torch.tensor([0.7, 0.5, 0.0]).reshape(3, 1, 1, 1), torch.zeros(3, dtype=torch.int64)
    nets = Networks(Valley(), Valley(), lambda x: torch.tensor([50.0, 0.0]).expand(len(x), 2))
    step = make(name, block).step(nets, Batch(x, y), {"weight": torch.ones(2)})
    assert step.seen["kappa"].tolist() == expected


@pytest.mark.parametrize("count", [[2] * 10, [50, 3, *range(1, 9)]], ids=["balanced", "unbalanced"])
@pytest.mark.parametrize("name", ["fair_ard", "fair_rslad"])
def test_t11_weights_are_scaled_and_then_clipped(name: str, count: list[int]) -> None:
    """(1/κ)² = 15, 7 and eight times 1 (in 81sts) has the sum 30: scaled to 10 it is 5, 7/3, 1/3.

    Clipped to [5/6, 5/2] that is 5/2, 7/3, 5/6, with the sum 11.5. Clipped first, it would be 10.
    """
    kappa = torch.tensor([9 / math.sqrt(15), 9 / math.sqrt(7)] + [9.0] * 8)
    images = torch.tensor(count)
    method, block = make(name, block_of(name)), block_of(name)
    state = method.next_state({"weight": torch.rand(10)}, Evidence(1, 1.0, images, {"kappa": kappa * images}, {}))
    assert state["weight"].tolist() == pytest.approx([5 / 2, 7 / 3] + [5 / 6] * 8, rel=1e-4)
    assert state["weight"].sum().item() == pytest.approx(11.5, rel=1e-4)
    assert block.fairness.kappa == "count"


def test_t11_the_first_epoch_weighs_all_classes_alike_and_a_class_that_never_resists_has_the_largest_weight() -> None:
    for name in ("fair_ard", "fair_rslad"):
        method = make(name, block_of(name))
        assert method.init(10)["weight"].tolist() == [1] * 10
        state = method.next_state(method.init(10), evidence(10, kappa=torch.tensor([0.0] + [9.0] * 9)))
        assert state["weight"].tolist() == pytest.approx([5 / 2] + [5 / 6] * 9)


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", ["fair_ard", "ard", "iad"])
def test_t12_the_second_decay_is_lost_as_published_or_takes_effect_as_intended(name: str, classes: int) -> None:
    block = block_of(name, classes)
    assert (block.epochs, block.optimiser.nesterov) == (200, name == "fair_ard")
    for milestones, last in ((block.milestones, 0.01), ([100, 150], 0.001)):
        schedule = Schedule(tuple(milestones), block.decay)
        rates = [block.optimiser.lr * schedule.before(epoch) for epoch in range(1, block.epochs + 1)]
        assert rates == pytest.approx([0.1] * 100 + [0.01] * 50 + [last] * 50)


# --- ABSLD's variants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("name", ["absld", "absld_adv", "absld_product"])
def test_t01_which_temperatures_the_attack_and_each_loss_see(name: str, classes: int) -> None:
    tau_adv, tau_clean = torch.linspace(0.8, 3, classes).double(), torch.linspace(2, 0.9, classes).double()
    if name == "absld_adv":
        tau_clean = torch.ones(classes).double()

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        rows_adv, rows_clean = [], []
        for z, label in zip(teacher(batch.x).detach(), batch.y.tolist(), strict=True):
            adv, clean = tau_adv[label].item(), tau_clean[label].item()
            if name == "absld_product":
                adv = clean = adv * clean
            rows_adv.append(z / adv)
            rows_clean.append(z / clean)
        p_adv, p_clean = softmax(torch.stack(rows_adv)), softmax(torch.stack(rows_clean))
        x_adv = soft_attack(student, batch, p_adv)
        z_adv = student(x_adv)
        z_clean = student(batch.x)
        loss = 5 / 6 * elements(p_adv, z_adv).mean() + 1 / 6 * elements(p_clean, z_clean).mean()
        return Outcome(classes / 10 * loss, z_adv, z_clean)

    compare(name, classes, oracle, state={"tau_adv": tau_adv, "tau_clean": tau_clean})


@pytest.mark.parametrize(("classes", "low", "high"), [(10, 0.5, 5.0), (100, 0.8, 3.0)])
@pytest.mark.parametrize("name", ["absld", "absld_adv", "absld_product"])
def test_the_variants_move_their_temperatures_within_the_papers_bounds(
    name: str, classes: int, low: float, high: float
) -> None:
    """A harder class falls, an easier one rises, by 0.1 at most; the product's factors are bounded one by one."""
    method = make(name, block_of(name, classes))
    state = {"tau_adv": torch.ones(4), "tau_clean": torch.ones(4)}
    seen = evidence(4, risk_adv=torch.tensor([3.0, 1.0, 2.0, 2.0]), risk_clean=torch.tensor([1.0, 2.0, 2.0, 3.0]))
    state = dict(method.next_state(state, seen))
    still = name == "absld_adv"
    assert state["tau_adv"].tolist() == pytest.approx([0.9, 1.1, 1, 1])
    assert state["tau_clean"].tolist() == pytest.approx([1, 1, 1, 1] if still else [1.1, 1, 1, 0.9])
    for _ in range(50):
        state = dict(method.next_state(state, seen))
    assert state["tau_adv"].tolist() == pytest.approx([low, high, 1, 1])
    assert state["tau_clean"].tolist() == pytest.approx([1, 1, 1, 1] if still else [high, 1, 1, low])


@pytest.mark.parametrize("name", NAMES)
def test_t01_the_teachers_answer_is_never_changed_in_place(name: str) -> None:
    answer, student, (x, y) = torch.randn(6, 10).double(), network(1, 10), batch(10)
    before = answer.clone()
    nets = Networks(student, frozen_view(student), lambda _: answer, lambda _: answer)
    state = {key: value + 0.25 for key, value in state_of(name, 10).items()}
    make(name, block_of(name)).step(nets, Batch(x, y), state)
    assert torch.equal(answer, before)


# --- IAD -------------------------------------------------------------------------------------------------------------


def iad_oracle(temperature: float, *, introspects: bool) -> Oracle:
    """T² KL(t(x; T) ‖ s(x'; T)), then + (1 − a) KL(s(x) ‖ s(x')), mean over the batch; a = t(x')[y]^0.1."""

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        x_adv = label_attack(student, batch, "uniform")
        z_adv = student(x_adv)
        student(x_adv)
        z_clean = student(batch.x)
        p = softmax(teacher(batch.x) / temperature).detach()
        loss = temperature**2 * elements(p, z_adv / temperature).sum(1)
        if introspects:
            own = softmax(student(batch.x))
            for i, label in enumerate(batch.y.tolist()):
                trust = softmax(teacher(x_adv))[i, label].item() ** 0.1
                loss[i] = loss[i] + (1 - trust) * elements(own, z_adv)[i].sum()
        return Outcome(loss.mean(), z_adv, z_clean)

    return oracle


@pytest.mark.parametrize("classes", [10, 100])
def test_iad_before_it_introspects_is_its_equation(classes: int) -> None:
    compare("iad", classes, iad_oracle(1, introspects=False))
    hot = block_of("iad", classes, temperature=2.0, kl_scale=4.0)
    compare("iad", classes, iad_oracle(2, introspects=False), block=hot)


@pytest.mark.parametrize("classes", [10, 100])
def test_iad_with_introspection_is_its_equation_and_the_target_carries_a_gradient(classes: int) -> None:
    step = compare("iad", classes, iad_oracle(1, introspects=True), state={"introspection": torch.ones(())})
    assert 0.3 < step.seen["trust"].min() < step.seen["trust"].max() < 1


def test_iad_introspects_from_epoch_60_counted_from_0() -> None:
    method, epochs = make("iad", block_of("iad")), range(1, 201)
    state, introspecting = method.init(10), []
    for epoch in epochs:
        introspecting.append("introspection" in state)
        state = method.next_state(state, evidence(10, epoch))
    assert introspecting == [epoch - 1 >= 60 for epoch in epochs]
    assert "introspection" in make("iad", block_of("iad", introspect_from=1)).init(10)


# --- MTARD -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [10, 100])
def test_mtard_is_its_equation_over_three_steps(classes: int) -> None:
    """The robust teacher at x', the clean one at x; the weights move with every step before they weigh it."""
    clean_teacher = network(3, classes).eval()
    w, firsts, losses = 0.5, [], []

    def oracle(student: nn.Module, teacher: nn.Module, batch: Batch) -> Outcome:
        nonlocal w
        student.eval()
        x_adv = label_attack(student, batch, "normal")
        student.train()
        z_adv = student(x_adv)
        z_clean = student(batch.x)
        scale = classes / 10
        loss_adv = scale * elements(softmax(teacher(x_adv)).detach(), z_adv).mean()
        loss_clean = scale * elements(softmax(clean_teacher(batch.x)).detach(), z_clean).mean()
        losses.append((loss_adv.item(), loss_clean.item()))
        firsts[:] = firsts or losses[-1]
        adv, clean = loss_adv.item() / firsts[0], loss_clean.item() / firsts[1]
        w = w - 0.025 * (w - clean / (adv + clean))
        return Outcome((1 - w) * loss_adv + w * loss_clean, z_adv, z_clean)

    step = compare("mtard", classes, oracle, clean_teacher=clean_teacher)
    for change in (4.0, 2.0):
        assert step.state is not None
        assert step.state["weight_clean"].item() == pytest.approx(w)
        with torch.no_grad():
            clean_teacher.backbone.linear.weight.mul_(change)
        step = compare("mtard", classes, oracle, clean_teacher=clean_teacher, state=dict(step.state))
    assert step.state is not None
    assert step.state["weight_clean"].item() == pytest.approx(w)
    assert abs(w - 0.5) > 1e-3
    assert (step.state["first_adv"].item(), step.state["first_clean"].item()) == pytest.approx(losses[0])


def test_mtard_weights_by_hand() -> None:
    """s(x) = (1/2, 1/2) at x = 0 and (1/4, 3/4) at x = 1; one teacher is sure of class 0, the clean one of class 1.

    At 0 both losses are ln 2: they are the first ones, so l = (1, 1). At 1, l_adv = ln 4 / ln 2 = 2 and
    l_clean = ln(4/3) / ln 2 = 0.415037, whose share is 0.171855.
    """

    def student(x: Tensor) -> Tensor:
        z = -math.log(3) * x.flatten(1)
        return torch.cat((z, 0 * z), 1)

    block = block_of("mtard", attack=block_of("mtard").attack.model_copy(update={"eps": 0.0, "start": "none"}))
    method, sure = make("mtard", block), torch.tensor([[60.0, 0.0]]).double()
    nets = Networks(student, student, lambda _: sure, lambda _: sure.flip(1))
    state, weights = state_of("mtard", 2, block), []
    for step, pixel in enumerate((0.0, 1.0, 0.0, 1.0)):
        if step == 3:
            state = dict(method.next_state(state, evidence(2, 215, decay=0.1)))
        x = torch.full((1, 1, 1, 1), pixel).double()
        outcome = method.step(nets, Batch(x, torch.tensor([0])), state)
        assert outcome.state is not None
        state = dict(outcome.state)
        weights.append(state["weight_clean"].item())
        adv, clean = (math.log(2), math.log(2)) if pixel == 0 else (math.log(4), math.log(4 / 3))
        assert outcome.loss.item() == pytest.approx(0.1 * ((1 - weights[-1]) * adv + weights[-1] * clean))
    assert weights == pytest.approx([0.5, 0.4917964, 0.4920015, 0.4912011], abs=1e-7)


def test_mtard_rate_falls_with_the_learning_rate() -> None:
    block = block_of("mtard")
    method, schedule = make("mtard", block), Schedule(tuple(block.milestones), block.decay)
    state, rates = method.init(10), []
    for epoch in range(1, block.epochs + 1):
        rates.append(state["rate"].item())
        state = method.next_state(state, evidence(10, epoch, schedule.after(epoch)))
    assert rates == pytest.approx([0.025] * 215 + [0.0025] * 45 + [0.00025] * 25 + [0.000025] * 15)
    assert state["weight_clean"].item() == 0.5


# --- BatchNorm -------------------------------------------------------------------------------------------------------

ATTACKED_IN_TRAINING_MODE = ["walk"] * 10 + ["adv"]
FORWARDS = {
    "adaad": ["clean", "adv"],
    "fair_ard": [*ATTACKED_IN_TRAINING_MODE, "clean"],
    "fair_rslad": ["adv", "clean"],
    "absld": ["adv", "clean"],
    "absld_adv": ["adv", "clean"],
    "absld_product": ["adv", "clean"],
    "ard": [*ATTACKED_IN_TRAINING_MODE, "clean"],
    "iad": [*ATTACKED_IN_TRAINING_MODE, "adv", "clean", "clean"],
    "mtard": ["adv", "clean"],
}


@pytest.mark.parametrize("batchnorm", ["train", "eval"])
@pytest.mark.parametrize("name", NAMES)
def test_t16_order_of_training_forwards_and_updates_of_the_statistics(name: str, batchnorm: str) -> None:
    """As published with `train`, where a method has that choice; with `eval` the attack moves nothing."""
    student, (x, y), block = network(1, 10), batch(10), block_of(name)
    expected = FORWARDS[name]
    if "batchnorm" in type(block).model_fields:
        assert block.batchnorm == "train"
        block = block_of(name, batchnorm=batchnorm)
        expected = expected[10:] if batchnorm == "eval" else expected
    seen: list[Tensor] = []
    nets = Networks(student, frozen_view(student), *(frozen_view(network(seed, 10)) for seed in (2, 3)))
    student.register_forward_pre_hook(lambda _, images: seen.append(images[0].detach().clone()))
    state = {"introspection": torch.ones(())} if name == "iad" else state_of(name, 10)
    updates = student.backbone.bn1.num_batches_tracked.item()
    make(name, block).step(nets, Batch(x, y), state)
    last = [images for images in seen if not torch.equal(images, x)][-1]
    kinds = ["clean" if torch.equal(i, x) else "adv" if torch.equal(i, last) else "walk" for i in seen]
    assert kinds == expected
    assert student.backbone.bn1.num_batches_tracked.item() - updates == len(expected)
