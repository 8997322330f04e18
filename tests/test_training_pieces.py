"""What the loop is made of: schedule, walk, frozen view, validation and selection."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_problem import PARAMS, task

from absld.attacks.linf_walk import LinfWalk, end_of
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.training.schedule import Schedule
from absld.training.validate import Validation, class_sum, validate

SPEC = Spec("tiny_resnet16", 3, 1, 8, None)


# --- schedule ------------------------------------------------------------------------------------------------------


def test_t05_learning_rate_and_beta_over_all_300_epochs() -> None:
    """methods 3.11: lr falls after epochs 215, 260, 285; beta already in the update that ends those epochs."""
    block = PARAMS.methods.absld
    schedule = Schedule(tuple(block.milestones), block.decay)
    table = [(214, 0.1, 0.1), (215, 0.1, 0.01), (259, 0.01, 0.01), (260, 0.01, 0.001), (284, 0.001, 0.001),
             (285, 0.001, 1e-4), (300, 1e-4, 1e-4)]  # fmt: skip
    first = 1
    for last, lr, beta in table:
        for epoch in range(first, last + 1):
            assert block.optimiser.lr * schedule.before(epoch) == pytest.approx(lr)
            assert block.beta * schedule.after(epoch) == pytest.approx(beta)
        first = last + 1
    assert first == 301


def test_trades_falls_at_the_start_of_epochs_75_90_and_100() -> None:
    block = PARAMS.methods.trades
    schedule = Schedule(tuple(block.milestones), block.decay)
    rates = {epoch: block.optimiser.lr * schedule.before(epoch) for epoch in (74, 75, 89, 90, 99, 100)}
    expected = {74: 0.1, 75: 0.01, 89: 0.01, 90: 0.001, 99: 0.001, 100: 1e-4}
    assert rates == pytest.approx(expected)


# --- the walk ------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**6),
    st.floats(0, 0.5),
    st.floats(0.01, 0.3),
    st.integers(1, 4),
    st.sampled_from(["none", "gaussian", "uniform"]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_t17_the_walk_ends_inside_the_ball(
    seed: int, eps: float, step: float, steps: int, start: str, own_radius: bool
) -> None:
    torch.manual_seed(seed)
    x, weights = torch.rand(5, 1, 3, 3), torch.randn(9, 4)
    radius = torch.rand(5) * eps if own_radius else None
    walk = LinfWalk(eps=eps, step=step, steps=steps, start=start)  # type: ignore[arg-type]
    visits = list(walk(lambda x: x.flatten(1) @ weights, x, lambda _, z: z[:, 0] - z[:, 1], radius))
    assert len(visits) == steps + 1
    assert visits[-1].z is None
    allowed = (torch.full((5,), eps) if radius is None else radius)[:, None, None, None]
    end = visits[-1].x
    assert ((end - x).abs() <= allowed + 1e-6).all()
    assert ((end >= 0) & (end <= 1)).all()
    assert not end.requires_grad


def test_the_walk_climbs_a_linear_function_to_the_corner() -> None:
    x, direction = torch.full((2, 1, 2, 2), 0.5), torch.tensor([1.0, -1.0, 1.0, 1.0])
    walk = LinfWalk(eps=0.1, step=0.03, steps=5, start="none")
    end = end_of(walk(lambda x: x.flatten(1), x, lambda _, z: z @ direction))
    torch.testing.assert_close(end.flatten(1), 0.5 + 0.1 * direction.expand(2, 4))


# --- the frozen view -----------------------------------------------------------------------------------------------


def test_the_frozen_view_follows_the_student_and_disturbs_nothing() -> None:
    student = build(SPEC).train()
    view, x = frozen_view(student), torch.rand(4, 1, 8, 8)
    optimiser = torch.optim.SGD(student.parameters(), lr=0.5, momentum=0.9)
    student(x).square().mean().backward()
    optimiser.step()
    statistics = {name: buffer.clone() for name, buffer in student.named_buffers()}
    z = view(x.requires_grad_())
    torch.autograd.grad(z.sum(), x)
    assert student.training
    assert all(torch.equal(statistics[name], buffer) for name, buffer in student.named_buffers())
    assert not any(parameter.requires_grad for parameter in view.parameters())
    torch.testing.assert_close(z, student.eval()(x), rtol=0, atol=0)


# --- validation and selection --------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), max_size=20))
def test_class_sum_indexes_by_class_id(labels: list[int]) -> None:
    y = torch.tensor(labels, dtype=torch.int64)
    values = torch.arange(len(labels), dtype=torch.float64) + 1
    expected = [sum(i + 1 for i, label in enumerate(labels) if label == c) for c in range(5)]
    assert class_sum(values, y, 5).tolist() == expected


def test_selection_maximises_average_plus_worst_then_clean() -> None:
    def score(pgd: list[float], clean: list[float]) -> tuple[float, float]:
        return Validation({"clean": torch.tensor(clean), "pgd": torch.tensor(pgd)}).score

    assert score([0.5, 0.5], [0.9, 0.9]) > score([0.9, 0.2], [1.0, 1.0])
    assert score([0.5, 0.5], [0.9, 0.9]) > score([0.5, 0.5], [0.8, 0.9])


def test_validation_counts_by_class() -> None:
    held = task()
    always_0 = torch.tensor([1.0, 0.0, 0.0])
    found = validate(lambda x: always_0 + 0 * x.flatten(1)[:, :3], held, held.validation, epoch=1)
    assert found.accuracy["clean"].tolist() == [1, 0, 0]
    assert found.accuracy["pgd"].tolist() == [1, 0, 0]
