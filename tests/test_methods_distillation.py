"""The methods that distil one robust teacher against their equations, and the class weights and temperatures they learn."""

import math

import pytest
import torch
from distillation import (
    Oracle,
    Outcome,
    batch,
    block_of,
    compare,
    cross_entropies,
    elements,
    evidence,
    label_attack,
    network,
    pgd,
    soft_attack,
    softmax,
    state_of,
)
from torch import Tensor, nn
from torch.testing import assert_close

from absld.methods.protocol import Batch, Evidence, Networks
from absld.methods.registry import make
from absld.networks.frozen import frozen_view
from absld.training.schedule import Schedule

NAMES = ("adaad", "fair_ard", "fair_rslad", "absld", "absld_adv", "absld_product", "ard", "iad", "mtard")

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
