"""IAD, which comes to trust the student, and MTARD, which has two teachers, against their equations."""

import math

import pytest
import torch
from distillation import (
    Oracle,
    Outcome,
    block_of,
    compare,
    elements,
    evidence,
    label_attack,
    network,
    softmax,
    state_of,
)
from torch import Tensor, nn

from absld.methods.protocol import Batch, Networks
from absld.methods.registry import make
from absld.training.schedule import Schedule

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
