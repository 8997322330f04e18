"""The checks: a sound network passes all, and each trick is caught by the one that is meant for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_evaluations import CLASSES, Net, labelled, settings, small_budgets, trained
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.gradient import pgd
from absld.data.dataset import Split, to_images
from absld.errors import EvaluationRefusedError
from absld.evaluation.checks import (
    attack_order,
    deterministic,
    gradient_not_zero,
    huge_eps,
    logit_scale,
    square_beats_apgd,
    transfer,
)
from absld.evaluation.contest import Contest
from absld.evaluation.evaluate import evaluate
from absld.evaluation.forward import Forward
from absld.evaluation.probes import probes
from absld.evaluation.verdicts import Kept, Verdict
from absld.records.attacks import AUTOATTACK

REAL = autoattack.perturb
CURVES = {"n": 44, "eps": [0.03, 0.12], "steps": [2, 10]}
CONCERNED = {"gradient_not_zero", "huge_eps", "logit_scale", "transfer", "attack_order", "square_beats_apgd"}


@pytest.fixture(scope="module")
def split() -> Split:
    return labelled()


@pytest.fixture(scope="module")
def net() -> Net:
    """Trained adversarially."""
    return trained(steps=4)


class Changed(nn.Module):
    """A network with a layer before or after it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Rounding(nn.Module):
    """Nine grey levels: no gradient passes."""

    def forward(self, x: Tensor) -> Tensor:
        return (8 * x).round() / 8


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        return self.factor * z


def failed(network: nn.Module, teacher: nn.Module, split: Split) -> set[str]:
    """The checks that a network does not pass, with AutoAttack in short."""
    with small_budgets():
        found = evaluate(network.eval(), None, split, CLASSES, settings(aa=True, curves=CURVES), teacher=teacher)
    assert found.checks.keys() == {"deterministic", *CONCERNED}
    return {name for name, check in found.checks.items() if not check["passed"]}


def test_a_sound_network_passes_every_check(net: Net, split: Split) -> None:
    assert failed(net, trained(), split) == set()


def test_a_network_without_defence_passes_too(net: Net, split: Split) -> None:
    """It is weak, and its numbers say so."""
    assert failed(trained(), net, split) == set()


def test_a_rounding_layer_is_caught(net: Net, split: Split) -> None:
    red = failed(Changed(Rounding(), net), net, split)
    assert {"gradient_not_zero", "huge_eps", "transfer"} <= red
    assert red <= CONCERNED


def test_logits_times_a_thousand_are_caught(net: Net, split: Split) -> None:
    red = failed(Changed(net, Times(1000)), net, split)
    assert {"logit_scale", "gradient_not_zero"} <= red
    assert red <= CONCERNED


def test_a_scale_that_leaves_a_gradient_is_no_trick(net: Net, split: Split) -> None:
    assert failed(Changed(net, Times(0.3)), trained(), split) == set()


def test_a_softmax_is_refused(net: Net, split: Split) -> None:
    with pytest.raises(EvaluationRefusedError, match="look like probabilities"):
        failed(Changed(net, nn.Softmax(1)), net, split)


def test_a_random_network_is_caught(net: Net, split: Split) -> None:
    assert "deterministic" in failed(Changed(net, nn.Dropout(0.0), Noise()), net, split)


class Noise(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z + 1e-3 * torch.rand(len(z), 1)


# attacks that do not attack -----------------------------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, *working: str) -> None:
    """Of AutoAttack's parts only those `working` do anything."""

    def perturb(part: Any, x: Tensor, y: Tensor, seed: int) -> Tensor:
        return REAL(part, x, y, seed) if type(part).__name__ in working else x

    monkeypatch.setattr(autoattack, "perturb", perturb)


def test_gradients_that_find_nothing_where_square_does_are_caught(
    net: Net, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, "SquareAttack")
    with small_budgets():
        check = evaluate(trained(), None, split, CLASSES, settings(aa=True)).checks["square_beats_apgd"]
    assert not check["passed"], check


@pytest.mark.parametrize(("parts", "passed"), [(AUTOATTACK, False), (["fab_t", "square"], True)])
def test_autoattack_must_beat_pgd_if_its_apgd_ran(
    split: Split, monkeypatch: pytest.MonkeyPatch, parts: list[str], passed: bool
) -> None:
    broken(monkeypatch)
    check = evaluate(trained(), None, split, CLASSES, settings(aa=parts)).checks["attack_order"]
    assert check["passed"] is passed, check
    assert ("aa leaves more than pgd" in check["detail"]) is not passed


def test_walks_that_weaken_with_their_length_are_caught(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("absld.evaluation.curves.pgd", lambda walk: pgd(replace(walk, steps=21 - walk.steps)))
    curves = {"n": 44, "eps": [], "steps": [1, 20]}
    check = evaluate(trained(), None, split, CLASSES, settings(eps=0.3, curves=curves)).checks["attack_order"]
    assert not check["passed"], check
    assert "pgd_steps_20 leaves more than pgd_steps_1" in check["detail"]


# check by check ------------------------------------------------------------------------------------------------------


def verdict(survived: np.ndarray, rows: np.ndarray | None = None) -> Verdict:
    """Of images that all belong to class 0."""
    rows = np.arange(len(survived)) if rows is None else rows
    kept = Kept(rows[:0], np.zeros((0, 1, 6, 6), np.float32))
    return Verdict(rows, np.zeros(len(rows), np.int64), np.where(survived, 0, 1).astype(np.int16), kept)


def left(n: int, *survivors: int) -> Verdict:
    return verdict(np.isin(np.arange(n), survivors))


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_noise_is_two_standard_errors_of_the_images_in_question(strong: int, weak: int, both: int) -> None:
    only_strong = np.repeat([True, False, True], [strong, weak, both])
    only_weak = np.repeat([False, True, True], [strong, weak, both])
    contest = Contest.of(verdict(only_strong), verdict(only_weak))
    assert contest == Contest(strong + weak + both, strong, weak)
    assert contest.reversed == (strong > weak and (strong - weak) ** 2 > 4 * (strong + weak))


def test_five_of_five_images_are_the_first_to_count() -> None:
    assert not Contest(200, 4, 0).reversed
    assert Contest(200, 5, 0).reversed
    assert not Contest(200, 10, 3).reversed


def test_attacks_are_compared_on_the_images_that_both_met() -> None:
    weak = verdict(np.zeros(4, bool), np.array([1, 3, 5, 7]))
    strong = verdict(np.array([True, True, False]), np.array([0, 3, 5]))
    assert Contest.of(strong, weak) == Contest(2, 1, 0)


@pytest.mark.parametrize(
    ("weak", "strong"), [("clean", "fgsm"), ("fgsm", "pgd"), ("pgd", "aa"), ("cw", "aa"), ("clean", "cw")]
)
def test_a_stronger_attack_that_leaves_more_is_noticed(weak: str, strong: str) -> None:
    sound = {"clean": 90, "fgsm": 70, "pgd": 60, "cw": 60, "aa": 50}
    assert attack_order({key: left(100, *range(n)) for key, n in sound.items()})["passed"]
    for extra, passed in ((4, True), (5, False)):
        found = {weak: left(100, *range(50)), strong: left(100, *range(50 + extra))}
        check = attack_order(found)
        assert check["passed"] is passed
        said = f"{strong} leaves more than {weak} ({extra} of 100 images survive only the former, 0 only the latter)"
        assert check["detail"].startswith(said) is not passed


def test_fgsm_is_not_compared_with_what_was_left_out() -> None:
    assert not attack_order({"fgsm": left(100, *range(40)), "aa": left(100, *range(60))})["passed"]


def test_a_longer_walk_that_leaves_more_is_noticed() -> None:
    found = {"pgd_steps_5": left(100, *range(40)), "pgd_steps_10": left(100, *range(60))}
    assert attack_order(found)["passed"]
    check = attack_order(found, [["pgd_steps_5", "pgd_steps_10"]])
    assert not check["passed"]
    assert "pgd_steps_10 leaves more than pgd_steps_5" in check["detail"]


@pytest.mark.parametrize(("survivors", "passed"), [(0, True), (10, True), (11, False)])
def test_a_twentieth_may_survive_in_a_huge_ball(survivors: int, passed: bool) -> None:
    assert huge_eps(left(200, *range(survivors)))["passed"] is passed


@pytest.mark.parametrize(("dead", "passed"), [(0, True), (2, True), (3, False)])
@pytest.mark.parametrize("factor", [0.0, float("nan")])
def test_a_hundredth_of_the_images_may_be_without_gradient(dead: int, passed: bool, factor: float) -> None:
    class Dead(nn.Module):
        """The gradient is multiplied by `factor` where the first pixel is 1."""

        def forward(self, x: Tensor) -> Tensor:
            x = x.clone()
            x.register_hook(lambda g: torch.where((first == 1)[:, None, None, None], g * factor, g))
            first = x.detach()[:, 0, 0, 0]
            return x.flatten(1)[:, :3]

    x = torch.rand(200, 1, 3, 3) * 0.9
    x[:dead, 0, 0, 0] = 1
    assert gradient_not_zero(Forward(Dead().eval()), x, torch.zeros(200, dtype=torch.int64))["passed"] is passed


def test_a_constant_network_has_no_gradient() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :3] * 0

    x, y = torch.rand(5, 1, 3, 3), torch.zeros(5, dtype=torch.int64)
    assert not gradient_not_zero(Forward(Linked(Constant()).eval()), x, y)["passed"]


class Linked(nn.Module):
    """Keeps the graph, whatever is inside."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 0 * x.flatten(1)[:, :3]


def test_rescaled_logits_and_the_teacher_must_not_break_more() -> None:
    white_box = left(200, *range(100))
    for check in (logit_scale, transfer):
        assert check(white_box, left(200, *range(96)))["passed"]
        assert check(white_box, left(200, *range(150)))["passed"]
        assert not check(white_box, left(200, *range(95)))["passed"]


def test_probes_begin_at_the_same_points_and_are_few(net: Net) -> None:
    y = np.repeat(np.arange(4), 500)
    attacks = probes(Forward(net), Forward(net), 0.1, y)
    assert [attack.key for attack in attacks] == [
        "check_white_box", "check_logit_scale", "check_transfer", "check_huge_eps"
    ]  # fmt: skip
    assert {attack.stream for attack in attacks} == {"check"}
    assert all(np.bincount(y[attack.rows]).tolist() == [50] * 4 for attack in attacks)
    assert [attack.eps for attack in attacks] == [0.1, 0.1, 0.1, 1.0]


@pytest.mark.parametrize(
    ("images", "broken", "passed"), [(360, 2, True), (360, 3, False), (10_000, 20, True), (10_000, 21, False)]
)
def test_square_that_finds_what_gradients_missed_is_noticed(images: int, broken: int, passed: bool) -> None:
    before = np.ones(images, bool)
    after = before.copy()
    after[:broken] = False
    check = square_beats_apgd(verdict(after), verdict(before))
    assert check["passed"] is passed


def test_a_random_network_is_noticed(net: Net, split: Split) -> None:
    class Random(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1e-3 * torch.rand(len(x), 1)

    x = to_images(split.x)
    assert deterministic(Forward(net), x)["passed"]
    assert not deterministic(Forward(Random().eval()), x)["passed"]
