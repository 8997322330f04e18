"""FRL against its equations: the multipliers, what they make of weights and radii, a whole step, the loop."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_equations import assert_same_step, ce, clean_targets, climbed_kl, kl, softmax, total, walk
from toy_problem import NAMES, PARAMS, batch, begun, network, networks, task, with_

from absld.methods.frl import Frl, class_weights
from absld.methods.protocol import Batch, Evidence
from absld.networks.frozen import frozen_view
from absld.training.fit import fit
from absld.training.validate import validate

BLOCK = PARAMS.methods.frl
Multipliers = dict[str, list[float]]


def accuracies(clean: Sequence[float], pgd: Sequence[float]) -> dict[str, torch.Tensor]:
    """As the validation measures them: in float64."""
    return {"clean": torch.tensor(clean, dtype=torch.float64), "pgd": torch.tensor(pgd, dtype=torch.float64)}


def evidence(epoch: int, clean: Sequence[float], pgd: Sequence[float]) -> Evidence:
    return Evidence(epoch, 1.0, torch.ones(len(clean)), {}, accuracies(clean, pgd))


def lists(state: Any) -> Multipliers:
    return {name: value.tolist() for name, value in state.items()}


def moved(
    old: Multipliers, clean: Sequence[float], pgd: Sequence[float], rate: float, block: Any = BLOCK
) -> Multipliers:
    """methods 3.6, steps 1 to 4, for one epoch; `rate` is r1."""
    classes = len(clean)
    e = [1 - value for value in clean]
    b = [value - under_attack for value, under_attack in zip(clean, pgd, strict=True)]
    g0 = [value - sum(e) / classes - block.threshold for value in e]
    g1 = [value - sum(b) / classes - block.threshold for value in b]
    new = {
        "lambda_clean": [value + rate * g for value, g in zip(old["lambda_clean"], g0, strict=True)],
        "lambda_boundary": [value + 2 * rate * g for value, g in zip(old["lambda_boundary"], g1, strict=True)],
        "lambda_margin": [value + block.margin_rate * g for value, g in zip(old["lambda_margin"], g1, strict=True)],
    }
    for name in ("lambda_clean", "lambda_boundary"):
        positive = [max(value, 0.0) for value in new[name]]
        if sum(positive) > block.limit:
            positive = [value * block.limit / sum(positive) for value in positive]
        new[name] = positive
    return new


def assert_close(found: Any, expected: Multipliers) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values, abs=2e-6), name


# --- the multipliers -----------------------------------------------------------------------------------------------


def test_t08_three_epochs_by_hand() -> None:
    """All numbers are sums of powers of two: threshold 1/8, r1 1/2, r2 1/4, limit 1/2."""
    method = Frl(with_(BLOCK, threshold=0.125, rate=0.5, margin_rate=0.25))
    state = method.first_state(method.init(4), accuracies([0.5, 1, 1, 0.5], [0.25, 0.5, 1, 0]))
    # e .5 0 0 .5, mean .25; b .25 .5 0 .5, mean .3125
    assert lists(state) == {
        "lambda_clean": [0.0625, 0, 0, 0.0625],
        "lambda_boundary": [0, 0.0625, 0, 0.0625],
        "lambda_margin": [-0.046875, 0.015625, -0.109375, 0.015625],
    }
    state = method.next_state(state, evidence(1, [0, 1, 1, 1], [0, 0, 1, 1]))
    # e 1 0 0 0 and b 0 1 0 0, means .25; lambda_boundary would be .6875 in sum
    assert lists(state) == {
        "lambda_clean": [0.375, 0, 0, 0],
        "lambda_boundary": [0, 0.5, 0, 0],
        "lambda_margin": [-0.140625, 0.171875, -0.203125, -0.078125],
    }
    state = method.next_state(state, evidence(2, [1, 1, 1, 1], [0, 1, 1, 1]))
    # e 0 0 0 0, b 1 0 0 0; what was limited is what went on: .5 − .375, beside .625, and 2/3 of both
    assert_close(
        state,
        {
            "lambda_clean": [0.3125, 0, 0, 0],
            "lambda_boundary": [0.625 * 2 / 3, 0.125 * 2 / 3, 0, 0],
            "lambda_margin": [0.015625, 0.078125, -0.296875, -0.171875],
        },
    )


def test_t08_a_class_exactly_at_the_threshold_stays() -> None:
    """Errors .5 .25 0 .25: class 0 is the threshold .25 above their mean."""
    method, old = Frl(with_(BLOCK, threshold=0.25)), torch.tensor([0.125, 0.125, 0.125, 0.0])
    before = {"lambda_clean": old, "lambda_boundary": old, "lambda_margin": old}
    for clean, pgd, kept in (
        ([0.5, 0.75, 1, 0.75], [0.5, 0.75, 1, 0.75], {"lambda_clean"}),
        ([1, 1, 1, 1], [0.5, 0.75, 1, 0.75], {"lambda_boundary", "lambda_margin"}),
    ):
        after = method.next_state(before, evidence(1, clean, pgd))
        assert {name for name, value in after.items() if value[0] == 0.125} == kept
        assert all(value[1] < 0.125 for value in after.values())


RATES = st.floats(0, 1, width=32)


@given(
    st.integers(2, 12).flatmap(lambda n: st.lists(st.tuples(*[st.tuples(RATES, RATES)] * n), min_size=3, max_size=9))
)
@settings(max_examples=40, deadline=None)
def test_t08_any_course_is_the_equation_and_weighs_every_class(course: list[tuple[tuple[float, float], ...]]) -> None:
    """The weights sum to 1 and stay positive at the limit 0.5; lambda_margin is the plain sum of what it was moved by."""
    method, classes = Frl(BLOCK), len(course[0])
    state = method.init(classes)
    expected, margin = lists(state), [0.0] * classes
    for epoch, found in enumerate(course, 1):
        clean = [max(pair) for pair in found]
        pgd = [min(pair) for pair in found]
        if epoch == 1:
            state = method.first_state(state, accuracies(clean, pgd))
        else:
            state = method.next_state(state, evidence(epoch - 1, clean, pgd))
        expected = moved(expected, clean, pgd, 0.05)
        assert_close(state, expected)
        b = [c - r for c, r in zip(clean, pgd, strict=True)]
        margin = [m + 0.2 * (value - sum(b) / classes - 0.05) for m, value in zip(margin, b, strict=True)]
        assert state["lambda_margin"].tolist() == pytest.approx(margin, abs=2e-6)
        for name in ("lambda_clean", "lambda_boundary"):
            assert state[name].min() >= 0
            assert state[name].sum() <= 0.5 + 1e-6
            weights = class_weights(state[name])
            assert weights.sum().item() == pytest.approx(1, abs=1e-6)
            assert weights.min() > 0
            by_hand = [1 / classes + v - sum(expected[name]) / classes for v in expected[name]]
            assert weights.tolist() == pytest.approx(by_hand, abs=2e-6)


def test_t08_the_margin_multiplier_has_no_limit() -> None:
    method = Frl(BLOCK)
    state = method.init(2)
    for epoch in range(1, 101):
        state = method.next_state(state, evidence(epoch, [1, 1], [1, 0]))
    assert state["lambda_margin"].tolist() == pytest.approx([-0.2 * 0.55 * 100, 0.2 * 0.45 * 100], rel=1e-4)


@pytest.mark.parametrize(("ended", "rate"), [(1, 0.05), (38, 0.05), (39, 0.025), (78, 0.025), (79, 0.0125)])
def test_t08_the_rate_is_halved_for_epoch_40_and_80(ended: int, rate: float) -> None:
    """What moves when epoch 39 has ended is what epoch 40 begins with. The margin's rate stays."""
    method, zero = Frl(BLOCK), dict.fromkeys(("lambda_clean", "lambda_boundary", "lambda_margin"), [0.0] * 3)
    clean, pgd = [0.7, 0.9, 0.95], [0.3, 0.5, 0.8]
    found = method.next_state(method.init(3), evidence(ended, clean, pgd))
    assert_close(found, moved(zero, clean, pgd, rate))


# --- one step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_radius", [True, False])
def test_t08_frl_is_its_equation(by_radius: bool) -> None:
    """The class with the largest radius is not in the batch, and does not set the step."""
    block, (x, _), student = with_(BLOCK, steps_by_radius=by_radius), batch(), network()
    y = torch.arange(8) % 3
    state = {
        "lambda_clean": [0.25, 0.0, 0.125, 0.0],
        "lambda_boundary": [0.0, 0.5, 0.0, 0.0],
        "lambda_margin": [-4.0, 0.0, 0.25, 4.0],
    }
    reference = copy.deepcopy(student)
    torch.manual_seed(9)
    step = Frl(block).step(networks(student), Batch(x, y), {name: torch.tensor(v) for name, v in state.items()})

    torch.manual_seed(9)
    margin = [min(max(math.exp(2 * value), 0.98), 3.0) for value in state["lambda_margin"]]
    assert margin == [0.98, 1, math.exp(0.5), 3]
    eps = [8 / 255 * margin[label] for label in y.tolist()]
    targets = clean_targets(reference, x)
    first = x + 0.001 * torch.randn(x.shape, dtype=x.dtype)
    length = max(eps) / 4 if by_radius else 2 / 255
    x_adv = walk(reference, x, first, climbed_kl(targets), eps=eps, step=length, steps=10)[-1]
    reference.train()
    z, z_adv, z_again = reference(x), reference(x_adv), reference(x)
    w0 = [1 / 4 + value - sum(state["lambda_clean"]) / 4 for value in state["lambda_clean"]]
    w1 = [1 / 4 + value - sum(state["lambda_boundary"]) / 4 for value in state["lambda_boundary"]]
    labels = y.tolist()
    natural = total([w0[c] * ce(z[i], c) for i, c in enumerate(labels)]) / sum(w0[c] for c in labels)
    boundary = total([w1[c] * kl(softmax(z_again[i]), softmax(z_adv[i])) for i, c in enumerate(labels)])
    expected = natural + 1.5 * boundary / sum(w1[c] for c in labels)
    assert_same_step(step.loss, student, expected, reference)


# --- the loop ------------------------------------------------------------------------------------------------------


def test_t08_the_student_is_measured_before_the_first_epoch_and_then_after_each() -> None:
    small, block = task(), with_(BLOCK, attack=with_(BLOCK.attack, steps=2))
    method = Frl(block)
    run, nets = begun(method, block, small)
    start = validate(frozen_view(copy.deepcopy(run.student)), small, small.validation, epoch=0).accuracy
    list(fit(run, method, block, small, nets, epochs=1))
    list(fit(run, method, block, small, nets, epochs=3))  # goes on: the student is not measured a second time
    at = {(row.epoch, row.quantity, row.class_name): row.value for row in run.rows}
    expected = moved(lists(method.init(3)), start["clean"].tolist(), start["pgd"].tolist(), 0.05)
    assert sum(expected["lambda_clean"]) > 0, "nothing moves, so nothing is tested"
    for epoch in (1, 2, 3):
        for name, values in expected.items():
            assert [at[epoch, name, label] for label in NAMES] == pytest.approx(values, abs=2e-6)
        clean, pgd = ([at[epoch, f"validation_{kind}", label] for label in NAMES] for kind in ("clean", "pgd"))
        expected = moved(expected, clean, pgd, 0.05)
    assert_close(run.state, expected)
