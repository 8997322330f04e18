"""Natural training, SAT, its soft labels and FAT against their equations; what all methods without a teacher ask."""

import copy
import statistics
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_equations import assert_same_step, ce, climbed_ce, kl, mean, softmax, walk
from torch import Tensor
from toy_problem import PARAMS, batch, begun, inputs_of, network, networks, task, with_

from absld.attacks.linf_walk import GAUSSIAN_START, LinfWalk
from absld.methods.fat import Fat, variance_over_classes
from absld.methods.natural import Natural
from absld.methods.protocol import Batch
from absld.methods.registry import make
from absld.methods.sat import Sat
from absld.methods.sat_soft import SatSoft, smoothed
from absld.training.fit import fit

CLASSES = 6


def losses(z: Tensor, y: Tensor) -> list[Tensor]:
    return [ce(row, label) for row, label in zip(z, y.tolist(), strict=True)]


def attacked(reference: Any, x: Tensor, y: Tensor, block: Any) -> Tensor:
    """Where the walk on CE(s(x'), y) from anywhere in the ball ends, in the mode that `reference` is in."""
    attack = block.attack
    first = (x + attack.eps * (2 * torch.rand(x.shape, dtype=x.dtype) - 1)).clamp(0, 1)
    return walk(reference, x, first, climbed_ce(y), eps=[attack.eps] * len(y), step=attack.step, steps=attack.steps)[-1]


# --- one step ------------------------------------------------------------------------------------------------------


def test_natural_is_its_equation() -> None:
    (x, y), student = batch(), network()
    reference = copy.deepcopy(student)
    step = Natural(PARAMS.methods.natural).step(networks(student), Batch(x, y), {})
    expected = losses(reference(x), y)
    assert_same_step(step.loss, student, mean(expected), reference)
    assert step.seen.keys() == {"risk_clean"}
    torch.testing.assert_close(step.seen["risk_clean"], torch.stack(expected).detach())


@pytest.mark.parametrize(("batchnorm", "updates"), [("eval", 1), ("train", 11)])
def test_t16_sat_is_its_equation_in_both_modes_of_batchnorm(batchnorm: str, updates: int) -> None:
    block, (x, y), student = with_(PARAMS.methods.sat, batchnorm=batchnorm), batch(), network()
    reference = copy.deepcopy(student)
    before = int(student.get_buffer("backbone.bn1.num_batches_tracked"))
    torch.manual_seed(9)
    step = Sat(block).step(networks(student), Batch(x, y), {})

    torch.manual_seed(9)
    x_adv = attacked(reference.train(batchnorm == "train"), x, y, block)
    z_adv = reference.train()(x_adv)
    assert_same_step(step.loss, student, mean(losses(z_adv, y)), reference)
    assert step.seen.keys() == {"risk_adv"}
    assert student.get_buffer("backbone.bn1.num_batches_tracked") - before == updates


@pytest.mark.parametrize("name", ["sat_ssd", "sat_dsd"])
def test_sat_with_soft_labels_is_its_equation(name: str) -> None:
    """The walk climbs the cross-entropy with the hard label, the loss is the divergence from the soft one."""
    block, (x, y), student = getattr(PARAMS.methods, name), batch(7, CLASSES), network(CLASSES)
    reference = copy.deepcopy(student)
    method = SatSoft(block)
    torch.manual_seed(9)
    step = method.step(networks(student), Batch(x, y), method.init(CLASSES))

    torch.manual_seed(9)
    x_adv = attacked(reference.eval(), x, y, block)
    z_adv = reference.train()(x_adv)
    smoothness = [0.2] * CLASSES if name == "sat_ssd" else [0.3, 0.3, 0.1, 0.1, 0.1, 0.1]
    rows = []
    for z, label in zip(z_adv, y.tolist(), strict=True):
        q = [smoothness[label] / (CLASSES - 1)] * CLASSES
        q[label] = 1 - smoothness[label]
        rows.append(kl(torch.tensor(q, dtype=z.dtype), softmax(z)))
    assert_same_step(step.loss, student, mean(rows), reference)
    assert method.next_state({"smoothness": torch.ones(1)}, None)["smoothness"].tolist() == [1]  # type: ignore[arg-type]


@pytest.mark.parametrize("present", [[0, 1, 2, 3], [0, 2]])
def test_fat_is_its_equation(present: list[int]) -> None:
    block, x, student = PARAMS.methods.fat, batch(7).x, network()
    y = torch.tensor([present[i % len(present)] for i in range(7)])
    reference = copy.deepcopy(student)
    torch.manual_seed(9)
    step = Fat(block).step(networks(student), Batch(x, y), {})

    torch.manual_seed(9)
    x_adv = attacked(reference.eval(), x, y, block)
    of_each = losses(reference.train()(x_adv), y)
    of_class = [mean([loss for loss, label in zip(of_each, y.tolist(), strict=True) if label == c]) for c in present]
    variance = mean([(value - mean(of_class)) ** 2 for value in of_class])
    assert_same_step(step.loss, student, mean(of_each) + 0.1 * variance, reference)


# --- labels and variances ------------------------------------------------------------------------------------------


def test_which_labels_figure_2_smooths() -> None:
    """methods 3.13, counted from 0: bird, cat, deer and dog are hard."""
    hard = [0.3, 0.3, 0.1, 0.1, 0.1, 0.1, 0.3, 0.3, 0.3, 0.3]
    assert SatSoft(PARAMS.methods.sat_dsd).init(10)["smoothness"].tolist() == pytest.approx(hard)
    assert SatSoft(PARAMS.methods.sat_ssd).init(10)["smoothness"].tolist() == pytest.approx([0.2] * 10)


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=8), st.data())
@settings(deadline=None)
def test_a_soft_label_is_a_distribution_whose_doubt_is_shared(smoothness: list[float], data: st.DataObject) -> None:
    label = data.draw(st.integers(0, len(smoothness) - 1))
    (q,) = smoothed(torch.tensor([label]), torch.tensor(smoothness, dtype=torch.float64)).tolist()
    assert q[label] == pytest.approx(1 - smoothness[label])
    assert sum(q) == pytest.approx(1)
    assert len({value for j, value in enumerate(q) if j != label}) == 1


@given(st.lists(st.tuples(st.floats(0, 20, width=32), st.integers(0, 9)), min_size=1, max_size=20))
@example([(3.0, 4)])
@settings(deadline=None)
def test_the_variance_is_over_the_classes_that_are_there(examples: list[tuple[float, int]]) -> None:
    values = torch.tensor([value for value, _ in examples], dtype=torch.float64)
    found = variance_over_classes(values, torch.tensor([label for _, label in examples]), 10)
    means = [statistics.mean(v for v, other in examples if other == c) for c in sorted({c for _, c in examples})]
    assert found.item() == pytest.approx(statistics.pvariance(means), abs=1e-5)


def test_the_variance_by_hand() -> None:
    """Class means 2 and 6, the other eight classes absent: variance 4, and not that of ten slots, 3.36."""
    assert variance_over_classes(torch.tensor([1.0, 3.0, 6.0]), torch.tensor([1, 1, 7]), 10) == 4


# --- starts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "clipped"),
    [("gaussian", False), ("gaussian_clipped", True), ("uniform", True), ("uniform_unclipped", False)],
)
def test_t17_only_some_starts_are_clipped_and_every_later_point_is(start: Any, clipped: bool) -> None:
    x = torch.tensor([0.0, 1.0, 0.5]).expand(6, 1, 40, 3)
    walker = LinfWalk(eps=0.1, step=0.03, steps=3, start=start)
    torch.manual_seed(3)
    points = [visit.x for visit in walker(lambda x: x.flatten(1), x, lambda _, z: z.sum(1))]
    torch.manual_seed(3)
    noise = 0.1 * (2 * torch.rand(x.shape) - 1) if "uniform" in start else 0.001 * torch.randn(x.shape)
    first = (x + noise).clamp(0, 1) if clipped else x + noise
    torch.testing.assert_close(points[0], first, rtol=0, atol=1e-7)
    assert bool(points[0].min() < 0 and points[0].max() > 1) is not clipped
    assert GAUSSIAN_START == 0.001
    for point in points[1:]:
        assert (point - x).abs().max() <= 0.1 + 1e-6
        assert point.min() >= 0
        assert point.max() <= 1


# --- what the student is asked --------------------------------------------------------------------------------------

FORWARDS = {
    "natural": "clean",
    "sat": "adv",
    "sat_ssd": "adv",
    "sat_dsd": "adv",
    "fat": "adv",
    "frl": "clean adv clean",
    "bat": "adv adv clean",
    "cfa": "clean adv clean | clean",
}
"""In training mode; | is the optimiser's step. BAT's first is the last clean point: near the image, not the image."""


@pytest.mark.parametrize(
    ("name", "changes", "forwards"),
    [
        *((name, {}, forwards) for name, forwards in FORWARDS.items()),
        ("sat", {"batchnorm": "train"}, "adv " * 10 + "adv"),
        ("sat_dsd", {"batchnorm": "train"}, "adv " * 10 + "adv"),
        ("cfa", {"extra_clean_forward": False}, "clean adv clean"),
    ],
)
def test_t16_order_of_training_forwards_in_the_loop(name: str, changes: dict[str, Any], forwards: str) -> None:
    small, block = task(), with_(getattr(PARAMS.methods, name), **changes)
    if name == "sat_dsd":
        block = with_(block, hard_classes=[1])
    block = with_(block, optimiser=with_(block.optimiser, batch_size=len(small.y)))
    method = make(name, block)
    run, nets = begun(method, block, small)
    images, asked = small.x.float() / 255, []

    def note(student: Any, given: tuple[Tensor]) -> None:
        assert student.training
        known = (given[0][:, None] == images).flatten(2).all(2).any(1).all()
        asked.append(("clean" if known else "adv", student.backbone.linear.bias.detach().clone()))

    run.student.register_forward_pre_hook(note)
    list(fit(run, method, block, small, nets, epochs=1))
    said, bias = [], asked[0][1]
    for kind, then in asked:
        said += [kind] if torch.equal(then, bias) else ["|", kind]
        bias = then
    assert " ".join(said) == forwards
    assert run.student.get_buffer("backbone.bn1.num_batches_tracked") == len(asked)


@pytest.mark.parametrize("name", ["cfa", "frl"])
def test_t17_every_image_stays_in_the_ball_of_its_class_and_fills_it(name: str) -> None:
    (x, y), student = batch(), network()
    method = make(name, getattr(PARAMS.methods, name))
    shares = [0.5, 1.0, 1.5, 2.0] if name == "cfa" else [0.98, 1.0, 1.5, 3.0]
    eps = [share * 8 / 255 for share in shares]
    state = dict(method.init(4))
    if name == "cfa":
        state["radius"] = torch.tensor(eps)
    else:  # exp(2·λ) is below, at, inside and above the bounds
        state["lambda_margin"] = torch.tensor([-4.0, 0.0, torch.tensor(1.5).log() / 2, 4.0])
    nets = networks(student)
    with inputs_of(student) as asked:
        method.step(nets, Batch(x, y), state)
    x_adv = asked[1]
    for i, label in enumerate(y.tolist()):
        assert (x_adv[i] - x[i]).abs().max() == pytest.approx(eps[label], rel=1e-5)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
