"""The attacks against their definitions, written out slowly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyautoattack import AutoAttack
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.gradient import GradientAttack, cw, fgsm, margin, pgd
from absld.attacks.linf_walk import LinfWalk, end_of
from absld.divergences import cross_entropy
from absld.errors import InputError
from absld.evaluation.forward import Forward
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec, build
from absld.params.attacks import AutoAttackPart
from absld.records.attacks import AUTOATTACK

ULPS = 4 * torch.finfo(torch.float32).eps
STARTS = ("none", "gaussian", "uniform")


def network(classes: int, channels: int = 1, scale: float = 1.0) -> nn.Module:
    """A smooth little network, the same every time, for images of 6x6."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        net = nn.Sequential(
            nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.Tanh(), nn.Flatten(), nn.Linear(96, classes)
        )
        with torch.no_grad():
            net[4].weight.mul_(scale)
    return net.eval().requires_grad_(False)


def images(n: int, channels: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, 6, 6, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def learnt() -> tuple[nn.Module, Tensor, Tensor]:
    """A network that knows five noisy patterns, and 60 images of them: some fall to a small attack, some do not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        y = torch.arange(60) % 5
        x = (0.5 + 0.25 * torch.randn(5, 1, 6, 6)[y] * torch.rand(60, 1, 1, 1) + 0.1 * torch.randn(60, 1, 6, 6)).clamp(
            0, 1
        )
        net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))
        optimiser = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(60):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimiser.step()
    return net.eval().requires_grad_(False), x, y


# the walk's ends -----------------------------------------------------------------------------------------------------


def plain_walk(net: nn.Module, x: Tensor, loss: object, eps: float, step: float, steps: int, noise: Tensor) -> Tensor:
    """Madry et al. 2018, one image after the other."""
    ends = []
    for image, start in zip(x, noise, strict=True):
        point = (image + start).clamp(0, 1)
        for _ in range(steps):
            point = point.clone().requires_grad_()
            loss(net(point[None])).sum().backward()
            point = point.detach() + step * point.grad.sign()
            point = image + (point - image).clamp(-eps, eps)
            point = point.clamp(0, 1)
        ends.append(point)
    return torch.stack(ends)


def test_pgd_is_the_plain_loop() -> None:
    net, x, y = network(4), images(1), torch.tensor([2])
    torch.manual_seed(11)
    noise = 0.1 * (2 * torch.rand_like(x) - 1)
    torch.manual_seed(11)
    found = pgd(LinfWalk(0.1, 0.03, 7, "uniform"))(net, x, y)
    expected = plain_walk(net, x, lambda z: -z.log_softmax(1)[:, 2], 0.1, 0.03, 7, noise)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kappa", [50.0, 0.2])
def test_cw_is_the_plain_loop(kappa: float) -> None:
    net, x, y = network(4, scale=3), images(1), torch.tensor([1])
    torch.manual_seed(11)
    noise = 0.1 * (2 * torch.rand_like(x) - 1)

    def loss(z: Tensor) -> Tensor:
        others = torch.cat((z[:, :1], z[:, 2:]), 1).max(1).values
        return -torch.relu(z[:, 1] - others + kappa)

    torch.manual_seed(11)
    found = cw(LinfWalk(0.1, 0.03, 7, "uniform"), kappa)(net, x, y)
    torch.testing.assert_close(found, plain_walk(net, x, loss, 0.1, 0.03, 7, noise), rtol=0, atol=1e-6)


def test_t14_fgsm_is_one_step_of_pgd_as_long_as_the_ball_is_wide() -> None:
    net, x, y = network(4), images(8), torch.arange(8) % 4
    found = fgsm(0.07, "none")(net, x, y)
    assert torch.equal(found, pgd(LinfWalk(0.07, 0.07, 1, "none"))(net, x, y))
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(net(leaf), y).backward()
    torch.testing.assert_close(found, (x + 0.07 * leaf.grad.sign()).clamp(0, 1))


@pytest.mark.parametrize("start", ["gaussian", "uniform"])
def test_fgsm_can_start_elsewhere(start: str) -> None:
    net, x, y = network(4, scale=5), images(8), torch.arange(8) % 4
    assert not torch.equal(fgsm(0.3, start)(net, x, y), fgsm(0.3, "none")(net, x, y))


def test_margin_by_hand() -> None:
    z = torch.tensor([[3.0, 1.0, -2.0], [3.0, 1.0, -2.0], [0.0, 0.0, 5.0]])
    assert margin(z, torch.tensor([0, 1, 2])).tolist() == [2.0, -2.0, 5.0]


@given(st.integers(0, 2**31))
def test_t14_cw_gradient_is_the_margins_while_logits_stay_below_25(seed: int) -> None:
    z = 25 * (2 * torch.rand(6, 5, generator=torch.Generator().manual_seed(seed)) - 1)
    y = torch.arange(6) % 5
    leaves = [z.clone().requires_grad_() for _ in range(2)]
    cw(LinfWalk(0.1, 0.1, 1, "none"), 50).loss(leaves[0], y).sum().backward()
    (-margin(leaves[1], y)).sum().backward()
    assert torch.equal(leaves[0].grad, leaves[1].grad)
    expected = torch.zeros(6, 5)
    for row, (logits, label) in enumerate(zip(z.tolist(), y.tolist(), strict=True)):
        expected[row, label] = -1
        expected[row, max((j for j in range(5) if j != label), key=logits.__getitem__)] = 1
    assert torch.equal(leaves[0].grad, expected)


def test_cw_stops_where_a_wrong_answer_leads_by_kappa() -> None:
    z = torch.tensor([[0.0, 60.0, 0.0], [0.0, 40.0, 0.0]], requires_grad=True)
    cw(LinfWalk(0.1, 0.1, 1, "none"), 50).loss(z, torch.tensor([0, 0])).sum().backward()
    assert z.grad is not None
    assert z.grad[0].abs().sum() == 0
    assert z.grad[1].tolist() == [-1.0, 1.0, 0.0]


@settings(deadline=None, max_examples=60)
@given(
    eps=st.floats(0, 1),
    step=st.floats(0, 1),
    steps=st.integers(1, 4),
    start=st.sampled_from(STARTS),
    name=st.sampled_from(["fgsm", "pgd", "cw"]),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 99),
)
def test_every_walk_stays_in_the_ball_and_among_images(
    eps: float, step: float, steps: int, start: str, name: str, channels: int, seed: int
) -> None:
    net, x, y = network(3, channels), images(4, channels, seed), torch.arange(4) % 3
    x[0], x[1] = 0, 1
    walk = LinfWalk(eps, step, steps, start)
    attack: GradientAttack = {"fgsm": fgsm(eps, walk.start), "pgd": pgd(walk), "cw": cw(walk, 50)}[name]
    found = attack(net, x, y)
    assert found.dtype == torch.float32
    assert (found - x).abs().max() <= eps + ULPS
    assert found.min() >= 0
    assert found.max() <= 1


@settings(deadline=None, max_examples=20)
@given(radius=st.lists(st.floats(0, 0.5), min_size=3, max_size=3), start=st.sampled_from(STARTS))
def test_a_walk_with_a_radius_for_each_class_stays_in_each_ball(radius: list[float], start: str) -> None:
    net, x, y = network(3), images(6), torch.arange(6) % 3
    eps = torch.tensor(radius)[y]
    walk = LinfWalk(1.0, 0.2, 3, start)
    found = end_of(walk(net, x, lambda _, z: cross_entropy(z, y), radius=eps))
    assert ((found - x).abs().amax((1, 2, 3)) <= eps + ULPS).all()
    assert found.min() >= 0
    assert found.max() <= 1


# AutoAttack ----------------------------------------------------------------------------------------------------------


def survivors(net: nn.Module, x: Tensor, y: Tensor, eps: float, classes: int, seed: int, budget: int | None) -> Tensor:
    """The cascade; `budget`: iterations of each part (times ten for Square) instead of the standard ones."""
    alive = net(x).argmax(1) == y
    for part in autoattack.standard(net, eps, classes, torch.device("cpu")).values():
        if budget:
            part.n_iter = budget
            part.n_queries = 10 * budget
        if alive.any():
            index = alive.nonzero().squeeze(1)
            x_adv = autoattack.perturb(part, x[index], y[index], seed)
            assert (x_adv - x[index]).abs().max() <= eps + ULPS
            assert x_adv.min() >= 0
            assert x_adv.max() <= 1
            alive[index] = net(x_adv).argmax(1) == y[index]
    return alive


@pytest.mark.parametrize("budget", [25, pytest.param(None, marks=pytest.mark.slow, id="standard")])
def test_the_cascade_is_the_official_standard_evaluation(
    learnt: tuple[nn.Module, Tensor, Tensor], budget: int | None
) -> None:
    net, x, y = learnt
    official = AutoAttack(net, eps=0.04, seed=5, version="standard")
    official.apgd_targeted.n_target_classes = official.fab.n_target_classes = 4
    if budget:
        official.apgd.n_iter = official.apgd_targeted.n_iter = official.fab.n_iter = budget
        official.square.n_queries = 10 * budget
    x_adv, _ = official.run_standard_evaluation(x, y, batch_size=len(x))
    expected = net(x_adv).argmax(1) == y
    assert 5 < expected.sum() < (net(x).argmax(1) == y).sum() - 5
    assert torch.equal(survivors(net, x, y, 0.04, 5, 5, budget), expected)


def test_the_fast_form_of_a_student_gives_the_same_robust_accuracy() -> None:
    torch.manual_seed(0)
    student, x = build(Spec("tiny_resnet16", 5, 3, 8, None)), torch.rand(40, 3, 8, 8)
    for _ in range(20):
        student(x)
    net = frozen_view(student)
    y = net(x).argmax(1)
    alive = survivors(net, x, y, 0.05, 5, 5, budget=10)
    assert 5 < alive.sum() < 35
    assert (survivors(Forward(student.eval()), x, y, 0.05, 5, 5, budget=10) != alive).sum() <= 1


@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (3, 1), (4, 3), (10, 1), (12, 1)])
def test_any_number_of_classes_from_two(classes: int, channels: int) -> None:
    net = network(classes, channels, scale=4)
    x = images(12, channels)
    y = net(x).argmax(1)
    alive = survivors(net, x, y, 0.02, classes, 0, budget=6)
    assert alive.sum() <= (survivors(net, x, y, 0.0, classes, 0, budget=6)).sum() == 12
    assert survivors(net, x, y, 0.6, classes, 0, budget=30).sum() < alive.sum()


def test_below_four_classes_it_is_not_the_standard_version() -> None:
    parts = {c: list(autoattack.standard(network(c), 0.1, c, torch.device("cpu"))) for c in (2, 3, 4, 10)}
    assert parts[2] == parts[3] == ["apgd_ce", "fab_t", "square"]
    assert parts[4] == parts[10] == list(AUTOATTACK)
    assert [autoattack.targets(c) for c in (2, 3, 4, 10, 100)] == [1, 2, 3, 9, 9]


@pytest.mark.parametrize(
    ("wanted", "classes", "run"),
    [
        (["square", "apgd_ce"], 10, ["apgd_ce", "square"]),
        (["apgd_t", "fab_t"], 3, ["fab_t"]),
        (["apgd_t"], 4, ["apgd_t"]),
        (list(reversed(AUTOATTACK)), 4, list(AUTOATTACK)),
    ],
)
def test_what_is_asked_for_runs_in_the_order_of_the_standard_version(
    wanted: list[AutoAttackPart], classes: int, run: list[str]
) -> None:
    assert autoattack.cascade(wanted, classes) == run


def test_apgd_t_alone_needs_four_classes() -> None:
    with pytest.raises(InputError, match=r"evaluate\.attacks\.aa\.parts: APGD-T needs 4 classes, and there are 3"):
        autoattack.cascade(["apgd_t"], 3)


def test_only_all_apgd_that_can_run_outdoes_the_walks() -> None:
    assert autoattack.outdoes_walks(["apgd_ce", "apgd_t"], 10)
    assert not autoattack.outdoes_walks(["apgd_ce", "fab_t", "square"], 10)
    assert autoattack.outdoes_walks(["apgd_ce", "fab_t", "square"], 3)
    assert not autoattack.outdoes_walks(["fab_t", "square"], 3)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="another class"):
        autoattack.standard(network(1), 0.1, 1, torch.device("cpu"))


def test_the_budgets_are_those_of_the_standard_version() -> None:
    parts = autoattack.standard(network(100), 8 / 255, 100, torch.device("cpu"))
    apgd, targeted, fab, square = (parts[name] for name in AUTOATTACK)
    assert (apgd.loss, apgd.n_iter, apgd.n_restarts, apgd.thr_decr, apgd.use_largereps) == ("ce", 100, 1, 0.75, False)
    assert (targeted.n_iter, targeted.n_restarts, targeted.n_target_classes) == (100, 1, 9)
    assert (fab.targeted, fab.n_iter, fab.n_restarts, fab.n_target_classes) == (True, 100, 1, 9)
    assert (square.n_queries, square.n_restarts, square.p_init, square.rescale_schedule) == (5000, 1, 0.8, False)
    assert {part.eps for part in parts.values()} == {8 / 255}
    assert {part.norm for part in parts.values()} == {"Linf"}


def test_the_same_seed_gives_the_same_examples(learnt: tuple[nn.Module, Tensor, Tensor]) -> None:
    net, x, y = learnt
    square = autoattack.standard(net, 0.05, 5, torch.device("cpu"))["square"]
    square.n_queries = 30
    first, again, other = (autoattack.perturb(square, x, y, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
