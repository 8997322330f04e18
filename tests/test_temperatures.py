"""ABSLD's temperatures: Eq. 11, its bounds, and which risks move them."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_problem import PARAMS, evidence, with_

from absld.methods.absld import Absld, update_temperature


def naive_temperatures(tau: list[float], risk: list[float], rate: float, low: float, high: float) -> list[float]:
    mean = sum(risk) / len(risk)
    top = max(abs(r - mean) for r in risk)
    if top <= 1e-6 * max(risk):
        return [min(max(t, low), high) for t in tau]
    return [min(max(t - rate * (r - mean) / top, low), high) for t, r in zip(tau, risk, strict=True)]


RISKS = st.lists(st.floats(0, 10, width=32), min_size=2, max_size=8)


@given(RISKS, st.floats(0.001, 1), st.data())
@settings(deadline=None)
def test_t04_the_update_is_eq_11(risk: list[float], rate: float, data: st.DataObject) -> None:
    tau = data.draw(st.lists(st.floats(0.5, 5), min_size=len(risk), max_size=len(risk)))
    new = update_temperature(
        torch.tensor(tau, dtype=torch.float64), torch.tensor(risk, dtype=torch.float64), rate, 0.5, 5.0
    )
    assert new.tolist() == pytest.approx(naive_temperatures(tau, risk, rate, 0.5, 5.0), abs=1e-7)
    assert torch.all((new >= 0.5) & (new <= 5))


def test_t04_by_hand() -> None:
    new = update_temperature(torch.ones(3), torch.tensor([3.0, 1.0, 2.0]), 0.1, 0.5, 5.0)
    assert new.tolist() == pytest.approx([0.9, 1.1, 1.0])
    tau = torch.tensor([0.5, 5.0, 1.0])
    assert update_temperature(tau, torch.tensor([3.0, 1.0, 2.0]), 0.1, 0.5, 5.0).tolist() == [0.5, 5.0, 1.0]


@given(st.floats(0, 100, width=32), st.integers(2, 10))
def test_t04_equal_risks_leave_the_temperatures_alone(risk: float, classes: int) -> None:
    tau = torch.linspace(0.5, 5, classes)
    new = update_temperature(tau, torch.full((classes,), risk), 0.1, 0.5, 5.0)
    assert torch.equal(new, tau)


@given(RISKS.filter(lambda risk: max(risk) - min(risk) > 0.1), st.integers(2, 9))
@settings(deadline=None)
def test_t04_sums_and_means_agree_where_classes_are_balanced(risk: list[float], n: int) -> None:
    mean, tau = torch.tensor(risk).double(), torch.ones(len(risk)).double()
    torch.testing.assert_close(
        update_temperature(tau, n * mean, 0.1, 0.5, 5.0), update_temperature(tau, mean, 0.1, 0.5, 5.0)
    )


@given(RISKS.filter(lambda risk: max(risk) - min(risk) > 0.1), st.randoms())
@settings(deadline=None)
def test_renaming_the_classes_renames_the_temperatures(risk: list[float], random: Any) -> None:
    order = list(range(len(risk)))
    random.shuffle(order)
    risks, tau = torch.tensor(risk).double(), torch.linspace(0.6, 3, len(risk)).double()
    new = update_temperature(tau, risks, 0.1, 0.5, 5.0)
    torch.testing.assert_close(update_temperature(tau[order], risks[order], 0.1, 0.5, 5.0), new[order])


def test_beta_decays_with_the_schedule_or_not() -> None:
    risk, y = torch.tensor([3.0, 1.0, 2.0]), torch.arange(3)
    for decays, moved in ((True, 0.01), (False, 0.1)):
        method = Absld(with_(PARAMS.methods.absld, beta_decays=decays))
        state = method.next_state(method.init(3), evidence(risk, y, 215, decay=0.1))
        assert state["tau_adv"].tolist() == pytest.approx([1 - moved, 1 + moved, 1.0])


def test_risks_are_means_so_rare_classes_count_as_much() -> None:
    y = torch.tensor([0, 0, 0, 0, 1, 2])
    risk = torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0, 2.0])
    state = Absld(PARAMS.methods.absld).next_state(Absld(PARAMS.methods.absld).init(3), evidence(risk, y, 1))
    assert state["tau_adv"].tolist() == pytest.approx([1.1, 0.9, 1.0])


def test_the_ablation_learns_the_adversarial_temperature_alone() -> None:
    method = Absld(with_(PARAMS.methods.absld, learn_tau_clean=False))
    state = method.next_state(method.init(3), evidence(torch.tensor([3.0, 1.0, 2.0]), torch.arange(3), 1))
    assert state["tau_clean"].tolist() == [1, 1, 1]
    assert state["tau_adv"].tolist() == pytest.approx([0.9, 1.1, 1.0])
