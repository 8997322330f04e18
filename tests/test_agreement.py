"""The evaluation against others: the reference's own cascade, a loop written here, and Foolbox.

All on a student that was trained adversarially, so that some images fall to each attack and some do not. Foolbox and not
torchattacks, because that pins requests below 2.26, and so urllib3 below 2, for everybody.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import foolbox
import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.networks.zoo import Classifier, Spec, build
from absld.params.evaluate import Evaluate
from absld.records.attacks import AUTOATTACK
from absld.seeds import stream

EPS, STEP, KAPPA = 0.1, 0.025, 50.0
CLASSES = [str(digit) for digit in range(10)]
STANDARD = autoattack.standard
ITERATIONS, QUERIES = 5, 60
"""Budgets that take seconds. The standard ones take minutes."""
ONE_IN = 500
"""Of so many images one may differ: the attacks work on a network whose BatchNorm is folded, the same to rounding."""
RARE = 1e-3
"""How improbable chance must be before it is no explanation."""


@pytest.fixture(scope="module")
def digits() -> tuple[Split, Split]:
    """1,297 images to train with and 500 to attack."""
    bunch = load_digits()
    x = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    y = bunch.target.astype(np.int64)
    return Split(x[500:], y[500:]), Split(x[:500], y[:500])


@pytest.fixture(scope="module")
def student(digits: tuple[Split, Split]) -> Classifier:
    """Five epochs of adversarial training with one step from a random start: seconds, and two thirds are robust."""
    x, y = to_images(digits[0].x), torch.from_numpy(digits[0].y)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = build(Spec("tiny_resnet8", 10, 1, 8, None)).train()
        attack = pgd(LinfWalk(EPS, EPS, 1, "uniform"))
        velocities = [torch.zeros_like(parameter) for parameter in net.parameters()]
        for _ in range(5):
            for rows in torch.randperm(len(y)).split(128):
                x_adv = attack(net, x[rows], y[rows])
                loss = nn.functional.cross_entropy(net(x_adv), y[rows])
                gradients = torch.autograd.grad(loss, list(net.parameters()))
                with torch.no_grad():  # torch.optim takes seconds to import, more than this training
                    for parameter, velocity, gradient in zip(net.parameters(), velocities, gradients, strict=True):
                        parameter -= 0.1 * velocity.mul_(0.9).add_(gradient)
    return net.eval().requires_grad_(False)


@pytest.fixture
def held(digits: tuple[Split, Split]) -> Split:
    return digits[1]


def first(split: Split, n: int) -> Split:
    return Split(split.x[:n], split.y[:n])


def found(
    net: Classifier, split: Split, *attacks: str, chunk: int = 500, seed: int = 0, start: str = "uniform"
) -> Evaluation:
    """The evaluation with those of FGSM, PGD-20, CW-30 and AutoAttack that are named."""
    walk = {"n": None, "step": STEP, "start": start}
    blocks = {
        "fgsm": {"n": None, "start": "none"},
        "pgd": walk | {"steps": 20},
        "cw": walk | {"steps": 30, "kappa": KAPPA},
        "aa": {"n": None, "parts": list(AUTOATTACK)},
    }
    wanted = {key: block if key in attacks else None for key, block in blocks.items()}
    settings = {"eps": EPS, "seed": seed, "chunk": chunk, "keep": len(split), "attacks": wanted, "curves": None}
    return evaluate(net, None, split, CLASSES, Evaluate.model_validate(settings))


# AutoAttack's own run_standard_evaluation ----------------------------------------------------------------------------


def shorten(*parts: Any) -> None:
    for part in parts:
        part.n_iter, part.n_queries = ITERATIONS, QUERIES


@pytest.fixture
def _few_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    def shorter(*arguments: Any) -> dict[str, Any]:
        parts = STANDARD(*arguments)
        shorten(*parts.values())
        return parts

    monkeypatch.setattr(autoattack, "standard", shorter)


def reference(
    net: nn.Module, x: Tensor, y: Tensor, batch: int, *, seed: int = 0, seeds: Iterator[int] | None = None, few: bool
) -> np.ndarray:
    """Which images survive the reference. It asks for a seed before each batch of each part; `seeds` answers."""
    official = AutoAttack(net, norm="Linf", eps=EPS, seed=seed, version="standard", device="cpu")
    if seeds is not None:
        official.get_seed = partial(next, seeds)
    if few:
        shorten(official.apgd, official.apgd_targeted, official.fab, official.square)
    x_adv, _ = official.run_standard_evaluation(x, y, batch_size=batch)
    assert (x_adv - x).abs().max() <= EPS + 1e-6
    with torch.no_grad():
        return (net(x_adv).argmax(1) == y).numpy()


def chunk_by_chunk(net: nn.Module, split: Split, chunk: int, *, few: bool) -> np.ndarray:
    """The reference on each of our chunks, with the seeds that the evaluation's documentation promises."""
    x, y = to_images(split.x), torch.from_numpy(split.y)
    survived = [
        reference(
            net, x[rows], y[rows], chunk, seeds=(stream(0, part, number) for part in AUTOATTACK), few=few
        )
        for number, rows in enumerate(torch.arange(len(y)).split(chunk))
    ]  # fmt: skip
    return np.concatenate(survived)


def assert_the_same_but_for_one_in_500(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    assert abs(int(ours.sum()) - int(theirs.sum())) <= max(1, len(ours) // ONE_IN)
    assert (ours != theirs).sum() <= max(1, 2 * len(ours) // ONE_IN)


def cascade_is_the_reference(net: Classifier, split: Split, chunk: int, *, few: bool) -> None:
    ours = found(net, split, "aa", chunk=chunk)
    theirs = chunk_by_chunk(net, split, chunk, few=few)
    assert_the_same_but_for_one_in_500(ours.verdicts["aa"], theirs)
    assert ours.attacks["aa"]["accuracy"]["micro"] == ours.verdicts["aa"].mean()
    fell = ours.verdicts["clean"] & ~ours.verdicts["aa"]
    assert min(fell.sum(), ours.verdicts["aa"].sum()) >= len(split) // 10


@pytest.mark.usefixtures("_few_iterations")
def test_the_cascade_is_the_references_with_the_same_seeds_and_batches(student: Classifier, held: Split) -> None:
    cascade_is_the_reference(student, first(held, 40), chunk=20, few=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_standard_cascade_is_the_references_on_500_images(student: Classifier, held: Split) -> None:
    cascade_is_the_reference(student, held, chunk=250, few=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_other_seeds_and_batches_the_standard_cascade_is_within_the_references_spread(
    student: Classifier, held: Split
) -> None:
    split = first(held, 80)
    x, y = to_images(split.x), torch.from_numpy(split.y)
    theirs = [int(reference(student, x, y, len(y), seed=seed, few=False).sum()) for seed in range(1, 6)]
    ours = int(found(student, split, "aa", chunk=30).verdicts["aa"].sum())
    assert min(theirs) - 1 <= ours <= max(theirs) + 1, (ours, theirs)  # one: five seeds that agree leave no spread


# a loop --------------------------------------------------------------------------------------------------------------


def plain_loop(
    net: nn.Module, image: Tensor, start: Tensor, loss: Callable[[Tensor], Tensor], steps: int
) -> Tensor:  # fmt: skip
    """Madry et al. 2018, Eq. 2, on one image."""
    point = (image + start).clamp(0, 1)
    for _ in range(steps):
        point = point.detach().requires_grad_()
        loss(net(point[None])[0]).backward()
        point = point.detach() + STEP * point.grad.sign()
        point = torch.minimum(torch.maximum(point, image - EPS), image + EPS).clamp(0, 1)
    return point


def cross_entropy(label: int, z: Tensor) -> Tensor:
    return z.logsumexp(0) - z[label]


def negative_margin(label: int, z: Tensor) -> Tensor:
    others = torch.stack([z[k] for k in range(10) if k != label])
    return -torch.clamp(z[label] - others.max() + KAPPA, min=0)


@pytest.mark.parametrize(("key", "loss", "steps"), [("pgd", cross_entropy, 20), ("cw", negative_margin, 30)])
def test_pgd_and_cw_are_the_plain_loop_image_by_image(
    student: Classifier, held: Split, key: str, loss: Callable[[int, Tensor], Tensor], steps: int
) -> None:
    split = first(held, 45)
    ours = found(student, split, key, chunk=20)
    x, y = to_images(split.x), torch.from_numpy(split.y)
    ends = []
    for number, rows in enumerate(torch.arange(len(y)).split(20)):
        torch.manual_seed(stream(0, key, number))
        noise = EPS * (2 * torch.rand_like(x[rows]) - 1)
        ends += [
            plain_loop(student, x[row], start, partial(loss, int(y[row])), steps)
            for row, start in zip(rows, noise, strict=True)
        ]
    x_adv = torch.stack(ends)
    assert (ours.verdicts[key] == (student(x_adv).argmax(1) == y).numpy()).all()
    distance = np.abs(ours.adversarial[f"{key}_x"] - x_adv.numpy()).max((1, 2, 3))
    assert (distance < 1e-6).sum() >= 40, np.sort(distance)  # a gradient of nearly 0 may turn its sign by rounding
    assert 0 < ours.verdicts[key].sum() < ours.verdicts["clean"].sum()


# another library -----------------------------------------------------------------------------------------------------


def foolboxed(net: nn.Module, split: Split, attack: Any) -> tuple[Tensor, np.ndarray]:
    """Foolbox's adversarial examples, and which images survive them."""
    x, y = to_images(split.x), torch.from_numpy(split.y)
    x_adv = attack.run(foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu"), x, y, epsilon=EPS)
    return x_adv, (net(x_adv).argmax(1) == y).numpy()


FOOLBOX = {
    "fgsm": partial(foolbox.attacks.LinfFastGradientAttack, random_start=False),
    "pgd": partial(foolbox.attacks.LinfPGD, abs_stepsize=STEP, steps=20, random_start=False),
}


@pytest.mark.parametrize("key", FOOLBOX)
def test_from_the_image_itself_foolbox_finds_the_same_examples(student: Classifier, held: Split, key: str) -> None:
    ours = found(student, held, key, start="none")
    x_adv, survived = foolboxed(student, held, FOOLBOX[key]())
    assert_the_same_but_for_one_in_500(ours.verdicts[key], survived)
    distance = np.abs(ours.adversarial[f"{key}_x"] - x_adv.numpy()).max((1, 2, 3))
    assert (distance < 1e-6).mean() > 0.9, np.sort(distance)


def test_from_a_random_start_foolbox_differs_by_chance_only(student: Classifier, held: Split) -> None:
    """Two attacks that are the same but for their random numbers disagree on few images, and on either side alike.

    An image that survives a start with probability p is one that two independent runs disagree on with probability
    2p(1 − p); where k of n runs of ours survive, 2k(n − k) / n(n − 1) estimates it without bias. The number of images
    that are disagreed on has at most its mean as variance. Each of them is as likely to be our success as theirs:
    McNemar's exact test. Five steps instead of 20, or a radius of 0.09, are found out by both.
    """
    split, n = first(held, 300), 4
    runs = np.stack([found(student, split, "pgd", seed=seed).verdicts["pgd"] for seed in range(n)])
    torch.manual_seed(3)
    _, theirs = foolboxed(student, split, foolbox.attacks.LinfPGD(abs_stepsize=STEP, steps=20, random_start=True))
    k, ours = runs.sum(0), runs[0]
    expected = (2 * k * (n - k) / (n * (n - 1))).sum()
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    apart = only_ours + only_theirs
    assert apart <= expected + 3.3 * np.sqrt(expected) + 1
    assert apart == 0 or binomtest(only_ours, apart).pvalue > RARE
    assert 0.5 < ours.mean() < 0.9
