"""BAT against its equation: where its two walks stop, what the uniform terms are, a whole step."""

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_equations import assert_same_step, ce, clean_targets, climbed_kl, kl, mean, softmax, walk
from torch import Tensor
from toy_problem import PARAMS, batch, inputs_of, network, networks, with_

from absld.attacks.linf_walk import LinfWalk, Visit
from absld.divergences import cross_entropy
from absld.methods.bat import Bat, first_adv, last_clean
from absld.methods.protocol import Batch


def place_of_last_clean(right: list[bool]) -> int:
    """methods 3.7, for one image; `right` holds x_0 … x_{K−1}, and x_K is not looked at."""
    for k, is_right in enumerate(right):
        if not is_right:
            return max(k - 1, 0)
    return len(right)


def place_of_first_adv(right: list[bool], tolerance: int) -> int:
    """A mistake uses up one of the tolerance; without any left it ends the walk."""
    for k, is_right in enumerate(right):
        if not is_right:
            if tolerance == 0:
                return k
            tolerance -= 1
    return len(right)


# --- where the walks stop --------------------------------------------------------------------------------------------


def visits(right: list[list[bool]], y: Tensor) -> Iterator[Visit]:
    """Point k of every image is filled with k; `right` says of each image at which points it is classified so."""
    steps = len(right[0])
    for k in range(steps + 1):
        x = torch.full((len(right), 1, 2, 2), float(k))
        if k == steps:
            yield Visit(x, None)
        else:
            predicted = torch.where(torch.tensor([of_image[k] for of_image in right]), y, 1 - y)
            yield Visit(x, torch.nn.functional.one_hot(predicted, 2).float())


@given(st.integers(1, 10), st.integers(1, 6), st.integers(0, 3), st.data())
@settings(deadline=None)
def test_t09_every_image_stops_on_its_own(steps: int, n: int, tolerance: int, data: st.DataObject) -> None:
    right = data.draw(st.lists(st.lists(st.booleans(), min_size=steps, max_size=steps), min_size=n, max_size=n))
    y = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    x_lc, x_fa = last_clean(visits(right, y), y), first_adv(visits(right, y), y, tolerance)
    assert x_lc[:, 0, 0, 0].tolist() == [place_of_last_clean(r) for r in right]
    assert x_fa[:, 0, 0, 0].tolist() == [place_of_first_adv(r, tolerance) for r in right]


@pytest.mark.parametrize(
    ("right", "lc", "fa_0", "fa_1"),
    [
        ("++++++++++", 10, 10, 10),  # never wrong
        ("----------", 0, 0, 1),  # wrong at the start
        ("+++-------", 2, 3, 4),  # crosses at 3
        ("+++-++++--", 2, 3, 8),  # returns to the right side
        ("-+++++++++", 0, 0, 10),  # wrong at the start alone
        ("+++++++++-", 8, 9, 10),  # wrong once, at the last point that is looked at
    ],
)
def test_t09_the_cases_by_hand(right: str, lc: int, fa_0: int, fa_1: int) -> None:
    table, y = [[sign == "+" for sign in right]], torch.tensor([1])
    found = last_clean(visits(table, y), y), first_adv(visits(table, y), y, 0), first_adv(visits(table, y), y, 1)
    assert [point.flatten()[0].item() for point in found] == [lc, fa_0, fa_1]


def test_t09_a_linear_model_whose_crossing_is_known() -> None:
    """z = (b − a, 0) of two pixels a, b with y = 0: each step closes the gap b − a by 0.2, from 0.5, −0.1, 9, 0.1."""
    start = torch.tensor([[0.0, 0.5], [0.1, 0.0], [0.0, 9.0], [0.0, 0.1]]).double().view(4, 1, 1, 2) / 10
    y = torch.zeros(4, dtype=torch.int64)

    def model(x: Tensor) -> Tensor:
        return x.flatten(1) @ torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).double()

    def points() -> Iterator[Visit]:
        path = LinfWalk(eps=0.04, step=0.01, steps=4, start="none")
        return path(model, start + 0.05, lambda _, z: cross_entropy(z, y))

    def at(k: int, i: int) -> list[float]:
        a, b = (start + 0.05)[i].flatten().tolist()
        return [a + 0.01 * k, b - 0.01 * k]

    crossings = {0: 3, 1: 0, 2: None, 3: 1}
    x_lc, x_fa, x_past = last_clean(points(), y), first_adv(points(), y, 0), first_adv(points(), y, 1)
    for i, crossing in crossings.items():
        stops = (4, 4, 4) if crossing is None else (max(crossing - 1, 0), crossing, crossing + 1)
        for found, stop in zip((x_lc, x_fa, x_past), stops, strict=True):
            assert found[i].flatten().tolist() == pytest.approx(at(stop, i))


# --- one step ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tolerance", [0, 1])
@pytest.mark.parametrize("over", ["all", "others"])
def test_bat_is_its_equation(tolerance: int, over: str) -> None:
    attack = with_(PARAMS.methods.bat.attack, eps=0.6, step=0.02)
    block = with_(PARAMS.methods.bat, tolerance=tolerance, uniform=0.7, uniform_over=over, attack=attack)
    (x, y), student = batch(), network()
    nets, reference = networks(student), copy.deepcopy(student)
    y[:6] = nets.frozen(x).argmax(1)[:6]  # the others are wrong at the start
    torch.manual_seed(9)
    with inputs_of(student) as asked:
        step = Bat(block).step(nets, Batch(x, y), {})

    torch.manual_seed(9)
    targets = clean_targets(reference, x)
    stops, chosen = [], []
    for which in ("last clean", "first adv"):
        first = (x + 0.001 * torch.randn(x.shape, dtype=x.dtype)).clamp(0, 1)
        points = walk(reference, x, first, climbed_kl(targets), eps=[0.6] * len(y), step=0.02, steps=10)
        predictions = torch.stack([reference(point).argmax(1) for point in points[:-1]])
        places = []
        for i, label in enumerate(y.tolist()):
            right = (predictions[:, i] == label).tolist()
            places.append(place_of_last_clean(right) if which == "last clean" else place_of_first_adv(right, tolerance))
        stops.append(places)
        chosen.append(torch.stack([points[k][i] for i, k in enumerate(places)]))
    assert all(len(set(places)) > 2 for places in stops), "the images are to stop at different places"

    reference.train()
    z_lc, z_fa, z = (reference(point) for point in (*chosen, x))
    terms = []
    for i, label in enumerate(y.tolist()):
        term = ce(z_lc[i], label) + 6 * kl(softmax(z[i]), softmax(z_fa[i]))
        for row in (z_lc[i], z_fa[i]):
            s = softmax(row)
            if over == "others":
                s = torch.stack([s[j] / (1 - s[label]) for j in range(4) if j != label])
            term = term + 0.7 * kl(s, torch.full_like(s, 1 / len(s)))
        terms.append(term)
    for given_in, expected in zip(asked, (*chosen, x), strict=True):
        torch.testing.assert_close(given_in, expected, rtol=0, atol=1e-9)
    assert_same_step(step.loss, student, mean(terms), reference)
    torch.testing.assert_close(step.seen["risk_adv"], torch.stack([ce(z_fa[i], int(y[i])) for i in range(8)]).detach())


@given(st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=7), st.data())
@settings(max_examples=30, deadline=None)
def test_t09_the_uniform_term_is_log_of_the_classes_minus_the_entropy(logits: list[float], data: st.DataObject) -> None:
    """Seen where nothing else is in the loss: a network with one answer, no robust term, minus the cross-entropy."""
    label = data.draw(st.integers(0, len(logits) - 1))
    p = torch.tensor(logits, dtype=torch.float64).softmax(0).tolist()
    wrong = [value / (sum(p) - p[label]) for j, value in enumerate(p) if j != label]

    class Same(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor(logits, dtype=torch.float64).expand(len(x), -1) + 0 * x.flatten(1).sum(1)[:, None]

    for over, shares in (("all", p), ("others", wrong)):
        block = with_(PARAMS.methods.bat, beta=0.0, uniform=1.0, uniform_over=over)
        x = torch.rand(1, 1, 2, 2, dtype=torch.float64)
        loss = Bat(block).step(networks(Same()), Batch(x, torch.tensor([label])), {}).loss  # type: ignore[arg-type]
        entropy = -sum(value * math.log(value) for value in shares if value)
        expected = -math.log(p[label]) + 2 * (math.log(len(shares)) - entropy)
        assert loss.item() == pytest.approx(expected, abs=1e-6)
