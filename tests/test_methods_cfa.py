"""CFA against its equations: the calibration, a whole step, the loop."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_equations import assert_same_step, ce, clean_targets, climbed_kl, kl, mean, softmax, walk
from toy_problem import NAMES, PARAMS, batch, begun, inputs_of, network, networks, task, with_

from absld.methods.cfa import Cfa
from absld.methods.protocol import Batch, Evidence
from absld.training.fit import fit

BLOCK = PARAMS.methods.cfa
EPS = 8 / 255


def evidence(epoch: int, robust: list[int], seen: list[int]) -> Evidence:
    """`robust` of `seen` training images of each class withstood the attack."""
    return Evidence(epoch, 1.0, torch.tensor(seen), {"robust": torch.tensor(robust).float()}, {})


# --- the calibration -----------------------------------------------------------------------------------------------


def test_t10_before_the_calibration_every_class_has_the_radius_and_weight_of_trades() -> None:
    method = Cfa(BLOCK)
    state = method.init(3)
    for epoch in range(1, 10):
        assert state["radius"].tolist() == pytest.approx([EPS] * 3)
        assert state["beta"].tolist() == [6, 6, 6]
        state = method.next_state(state, evidence(epoch, [1, 2, 3], [4, 4, 4]))
    assert state["beta"].tolist() == [6, 6, 6]
    state = method.next_state(state, evidence(10, [1, 2, 3], [4, 4, 4]))
    assert state["beta"].tolist() == pytest.approx([0.75 * 6, 6, 1.25 * 6])


@pytest.mark.parametrize("begin", [2, 5])
def test_t10_calibrate_from_is_the_first_epoch_with_values_of_its_own(begin: int) -> None:
    method = Cfa(with_(BLOCK, calibrate_from=begin))
    for epoch in range(1, 8):
        state = method.next_state(method.init(2), evidence(epoch, [0, 1], [1, 1]))
        assert (state["beta"].tolist() != [6, 6]) is (epoch + 1 >= begin)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50)), min_size=2, max_size=8))
@settings(deadline=None)
def test_t10_radius_and_weight_follow_the_robust_accuracy_of_the_epoch_alone(counts: list[tuple[int, int]]) -> None:
    """Classes may have different numbers of images; what came before is forgotten."""
    robust, seen = [min(pair) for pair in counts], [max(pair) for pair in counts]
    before = {"radius": torch.rand(len(counts)), "beta": torch.rand(len(counts))}
    state = Cfa(BLOCK).next_state(before, evidence(10, robust, seen))
    t = [r / n for r, n in zip(robust, seen, strict=True)]
    assert state["radius"].tolist() == pytest.approx([(0.3 + value) * EPS for value in t], rel=1e-6)
    assert state["beta"].tolist() == pytest.approx([(0.5 + value) * 6 for value in t], rel=1e-6)


# --- one step ------------------------------------------------------------------------------------------------------


def test_t10_cfa_is_its_equation() -> None:
    """m = β/(1+β): half the images robust, t = λ = 0.5, gives β = 6 and 6/7. The step is fixed, the radius is not."""
    (x, y), student = batch(), network()
    method = Cfa(with_(BLOCK, attack=with_(BLOCK.attack, eps=0.3, step=0.06)))
    calibrated = method.next_state(method.init(4), evidence(10, [5, 0, 10, 1], [10] * 4))
    radius, m = [0.24, 0.09, 0.39, 0.12], [6 / 7, 3 / 4, 9 / 10, 3.6 / 4.6]
    nets, reference = networks(student), copy.deepcopy(student)
    torch.manual_seed(9)
    with inputs_of(student) as asked:
        step = method.step(nets, Batch(x, y), calibrated)

    torch.manual_seed(9)
    targets = clean_targets(reference, x)
    first = x + 0.001 * torch.randn(x.shape, dtype=x.dtype)
    eps = [radius[label] for label in y.tolist()]
    x_adv = walk(reference, x, first, climbed_kl(targets), eps=eps, step=0.06, steps=10)[-1]
    reference.train()
    z, z_adv, z_again = reference(x), reference(x_adv), reference(x)
    terms = [
        (1 - m[label]) * ce(z[i], label) + m[label] * kl(softmax(z_again[i]), softmax(z_adv[i]))
        for i, label in enumerate(y.tolist())
    ]
    torch.testing.assert_close(asked[1], x_adv, rtol=0, atol=1e-6)
    assert_same_step(step.loss, student, mean(terms), reference)
    robust, right = ([float(row.argmax() == label) for row, label in zip(rows, y, strict=True)] for rows in (z_adv, z))
    assert step.seen["robust"].tolist() == robust
    assert len(set(robust)) == 2, "all images are alike, so nothing is tested"
    assert robust != right
    assert step.forward_after is x


# --- the loop ------------------------------------------------------------------------------------------------------


def test_t10_every_epoch_trains_with_what_the_one_before_saw() -> None:
    small = task()
    block = with_(
        BLOCK,
        calibrate_from=3,
        averaging=None,
        attack=with_(BLOCK.attack, eps=0.3, step=0.15, steps=2),
        optimiser=with_(BLOCK.optimiser, batch_size=8, lr=0.01),
    )
    method: Any = Cfa(block)
    run, nets = begun(method, block, small)
    list(fit(run, method, block, small, nets, epochs=4))
    at = {(row.epoch, row.quantity, row.class_name): row.value for row in run.rows}
    for epoch in (1, 2):
        assert [at[epoch, "radius", name] for name in NAMES] == pytest.approx([0.3] * 3)
        assert [at[epoch, "beta", name] for name in NAMES] == [6, 6, 6]
    for epoch in (3, 4):
        t = [at[epoch - 1, "robust", name] for name in NAMES]
        assert [at[epoch, "radius", name] for name in NAMES] == pytest.approx([(0.3 + v) * 0.3 for v in t], rel=1e-5)
        assert [at[epoch, "beta", name] for name in NAMES] == pytest.approx([(0.5 + v) * 6 for v in t], rel=1e-5)
        assert len(set(t)) > 1, "all classes are alike, so nothing is tested"
