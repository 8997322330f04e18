"""Averaged weights, EMA and FAWA: one step by hand, which epochs enter, and what the loop reports of them."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_problem import NAMES, PARAMS, begun, task, with_

from absld.data.task import Held
from absld.methods.natural import Natural
from absld.methods.protocol import Batch, Evidence, Networks, State, Step
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec
from absld.params.recipe import Averaging
from absld.training.averaging import Weights, average, judged
from absld.training.checkpoint import Checkpoint
from absld.training.fit import fit
from absld.training.run import Run
from absld.training.session import train_network
from absld.training.validate import validate

FAWA = PARAMS.methods.cfa.averaging


def settings_of(
    begin: int = 1, threshold: float = 0.0, measure: Literal["worst", "worst10"] = "worst", decay: float = 0.85
) -> Averaging:
    return Averaging(decay=decay, begin=begin, threshold=threshold, measure=measure)


# --- one step ------------------------------------------------------------------------------------------------------


def test_t10_the_first_weights_are_copied_and_later_ones_averaged() -> None:
    new = {
        "weight": torch.tensor([2.0, -4.0]),
        "running_mean": torch.tensor([8.0]),
        "num_batches_tracked": torch.tensor(7),
    }
    first = average({}, new, 0.75)
    assert {name: tensor.tolist() for name, tensor in first.items()} == {
        "weight": [2, -4],
        "running_mean": [8],
        "num_batches_tracked": 7,
    }
    new["weight"] += 4  # as the optimiser does, in place
    new["running_mean"] -= 8
    new["num_batches_tracked"] += 10
    assert first["weight"].tolist() == [2, -4]
    second = average(first, new, 0.75)
    assert second["weight"].tolist() == [0.75 * 2 + 0.25 * 6, 0.75 * -4 + 0.25 * 0]
    assert second["running_mean"].tolist() == [6]
    assert second["num_batches_tracked"] == 17
    new["num_batches_tracked"] += 1
    assert second["num_batches_tracked"] == 17
    assert first["num_batches_tracked"] == 7


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=12), st.floats(0, 1))
@settings(deadline=None)
def test_many_steps_weigh_each_epoch_by_the_power_of_its_age(epochs: list[float], decay: float) -> None:
    """θ̄_n = d^(n−1)·θ_1 + Σ_{k>1} (1−d)·d^(n−k)·θ_k."""
    averaged: dict[str, Tensor] = {}
    for value in epochs:
        averaged = average(averaged, {"w": torch.tensor(value, dtype=torch.float64)}, decay)
    n = len(epochs)
    later = sum((1 - decay) * decay ** (n - k) * value for k, value in enumerate(epochs[1:], 2))
    assert averaged["w"].item() == pytest.approx(decay ** (n - 1) * epochs[0] + later, abs=1e-9)


# --- which epochs enter --------------------------------------------------------------------------------------------


def test_t10_the_worst_class_is_held_against_the_threshold() -> None:
    assert (FAWA.decay, FAWA.begin, FAWA.threshold, FAWA.measure) == (0.85, 50, 0.2, "worst")
    for worst, enters in ((0.19, False), (0.2, True), (0.21, True)):
        assert judged(FAWA, 50, torch.tensor([0.9, worst, 0.5], dtype=torch.float64)).accepted is enters
    assert not judged(FAWA, 49, torch.ones(3)).accepted


def test_threshold_0_is_the_plain_average() -> None:
    assert all(judged(settings_of(begin=3), epoch, torch.zeros(10)).accepted is (epoch >= 3) for epoch in range(1, 9))


def test_worst10_is_the_mean_of_the_ten_lowest_of_100_classes() -> None:
    """Nine classes at 0 and one at 0.2 have the mean 0.02; the worst class alone has 0."""
    robust = torch.full((100,), 0.6, dtype=torch.float64)
    robust[5:95:10] = 0
    robust[96] = 0.2
    assert judged(settings_of(threshold=0.02, measure="worst10"), 1, robust).accepted
    assert not judged(settings_of(threshold=0.0201, measure="worst10"), 1, robust).accepted
    assert not judged(settings_of(threshold=0.02, measure="worst"), 1, robust).accepted


# --- the loop ------------------------------------------------------------------------------------------------------


class Misled(Natural):
    """Natural training, but for epoch 5: it teaches each class to be the next one."""

    def init(self, classes: int) -> State:
        return {"epoch": torch.tensor(1)}

    def step(self, nets: Networks, batch: Batch, state: State) -> Step:
        return super().step(nets, Batch(batch.x, (batch.y + (state["epoch"] == 5)) % 3), state)

    def next_state(self, state: State, evidence: Evidence) -> State:
        return {"epoch": state["epoch"] + 1}


def trained(
    averaging: Averaging | None, epochs: int, *, others_select: bool = False
) -> tuple[Run, list[Weights], list[Weights]]:
    """The run; after each epoch the student's own weights, and the average."""
    block = PARAMS.methods.natural
    block = with_(block, averaging=averaging, keep="best", optimiser=with_(block.optimiser, batch_size=8))
    method, small = Misled(block), task()
    if others_select:
        small = replace(small, selection=Held(small.x[12:].float() / 255, small.y[12:]))
    run, nets = begun(method, block, small)
    own: list[Weights] = []
    averages: list[Weights] = []
    for now in fit(run, method, block, small, nets, epochs=epochs):
        own.append({name: tensor.clone() for name, tensor in now.student.backbone.state_dict().items()})
        averages.append(now.average)
    return run, own, averages


def values(run: Run, key: str) -> list[float]:
    return [row.value for row in run.rows if row.key == key]


def mixed(old: Weights, new: Weights) -> dict[str, Tensor]:
    floating = {name for name, tensor in new.items() if tensor.dtype == torch.float32}
    return {name: 0.85 * old[name] + 0.15 * new[name] if name in floating else new[name] for name in new}


def test_t10_the_loop_averages_the_epochs_that_reach_the_threshold_and_leaves_the_rest_alone() -> None:
    plain, own, _ = trained(None, epochs=8)
    fawa, own_again, averages = trained(settings_of(begin=3, threshold=0.5), epochs=8)
    worst = [min(values(plain, f"validation_pgd/{name}")[epoch] for name in NAMES) for epoch in range(8)]
    enters = [epoch >= 3 and value >= 0.5 for epoch, value in enumerate(worst, 1)]
    assert enters[3:5] == [True, False], "epoch 5 is to be refused, after one that entered"
    assert any(enters[5:]), "and a later one is to enter"
    assert values(fawa, "averaging/accepted") == enters
    assert values(fawa, "averaging/pgd_worst") == worst
    for ours, again in zip(own, own_again, strict=True):
        assert all(torch.equal(ours[name], again[name]) for name in ours), "the average changes no training"
    expected: Weights = {}
    for weights, enter, found in zip(own, enters, averages, strict=True):
        if enter:
            expected = mixed(expected, weights) if expected else weights
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    assert {"bn1.running_mean", "bn1.num_batches_tracked"} <= set(expected)


@pytest.mark.parametrize("others_select", [False, True], ids=["validation", "other images"])
def test_t10_without_an_accepted_epoch_the_students_own_weights_are_reported(others_select: bool) -> None:
    run, own, averages = trained(settings_of(begin=3), epochs=2, others_select=others_select)
    plain, _, _ = trained(None, epochs=2, others_select=others_select)
    assert averages == [{}, {}]
    assert values(run, "averaging/accepted") == [0, 0]
    assert values(plain, "averaging/accepted") == []
    assert values(run, "validation/pgd_average") == values(plain, "validation/pgd_average")
    best = own[run.best_epoch - 1]
    assert all(torch.equal(run.best_weights[name], best[name]) for name in best)


def test_t10_averaged_weights_are_what_is_measured_and_kept() -> None:
    """Statistics are averaged, not estimated anew: the reported network is the average as it stands."""
    run, own, averages = trained(settings_of(decay=0.4), epochs=4)
    small, reported = task(), copy.deepcopy(run.student)
    scores = []
    for epoch, weights in enumerate(averages, 1):
        reported.backbone.load_state_dict(weights)
        found = validate(frozen_view(reported), small, small.selection, epoch)
        scores.append(found.score)
        assert values(run, "validation/pgd_average")[epoch - 1] == float(found.accuracy["pgd"].mean())
        assert values(run, "validation/clean_worst")[epoch - 1] == float(found.accuracy["clean"].min())
    plain, _, _ = trained(None, epochs=4)
    assert values(run, "validation/pgd_average") != values(plain, "validation/pgd_average")
    best = averages[run.best_epoch - 1]
    assert run.best_score == max(scores) == scores[run.best_epoch - 1]
    assert all(torch.equal(run.best_weights[name], best[name]) for name in best)
    assert run.best_epoch > 1, "the first average is the student itself, so nothing is tested"
    assert any(not torch.equal(best[name], own[run.best_epoch - 1][name]) for name in best)


def test_t18_a_resumed_run_goes_on_with_its_average_and_calibration(tmp_path: Path) -> None:
    block, spec = PARAMS.methods.cfa, Spec("tiny_resnet16", 3, 1, 8, None)
    attack, optimiser = with_(block.attack, eps=0.3, step=0.15, steps=2), with_(block.optimiser, batch_size=8, lr=0.01)
    block = with_(block, averaging=settings_of(begin=2), calibrate_from=2, attack=attack, optimiser=optimiser)
    runs = []
    for folder, parts in (("whole", [4]), ("cut", [1, 3, 4])):
        for epochs in parts:
            checkpoint = Checkpoint(tmp_path / folder)
            run = train_network(spec, "cfa", block, task(), checkpoint, lambda run: None, epochs=epochs)
        runs.append(run)
    whole, cut = runs
    assert values(whole, "averaging/accepted") == [0, 1, 1, 1]
    assert whole.rows == cut.rows
    for one, other in ((whole.average, cut.average), (whole.state, cut.state), (whole.best_weights, cut.best_weights)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert len(set(whole.state["beta"].tolist())) > 1, "nothing was calibrated, so nothing is tested"
