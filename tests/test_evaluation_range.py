"""Curves, numbers of classes, and the forms a network is attacked in."""

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_evaluations import CLASSES, Net, labelled, settings, small_budgets, trained
from torch import Tensor, nn

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.errors import InputError
from absld.evaluation.curves import eps_walks, steps_walks
from absld.evaluation.evaluate import evaluate
from absld.evaluation.forward import Forward
from absld.evaluation.selection import balanced
from absld.networks.folded import folded
from absld.networks.zoo import ARCHITECTURES, Spec, build
from absld.seeds import stream


@pytest.fixture(scope="module")
def split() -> Split:
    return labelled()


@pytest.fixture(scope="module")
def net() -> Net:
    return trained()


UNFOLDED = {"preact_resnet18": 9, "preact_resnet18_bare": 8}
"""BatchNorms that follow no convolution, or one that a shortcut sees too: the first of each block, and the last of all."""
CURVES = {"n": 20, "eps": [0.3, 0, 0.05], "steps": [5, 1, 20]}


def test_curves_are_pgd_at_each_radius_and_length(net: Net, split: Split) -> None:
    found = evaluate(net, None, split, CLASSES, settings(curves=CURVES)).curves
    assert found is not None
    assert [(point["value"], point["text"]) for point in found["eps"]] == [(0, "0"), (0.05, "0.05"), (0.3, "0.3")]
    assert [point["value"] for point in found["steps"]] == [1, 5, 20]
    rows = balanced(split.y, 20)
    x, y = to_images(split.x[rows]), torch.from_numpy(split.y[rows])
    walks = [(value, value / 4, 5) for value in (0, 0.05, 0.3)] + [(0.12, 0.03, steps) for steps in (1, 5, 20)]
    for (eps, step, steps), point in zip(walks, (*found["eps"], *found["steps"]), strict=True):
        right = np.zeros(20, bool)
        for number, part in enumerate(torch.arange(20).split(10)):
            torch.manual_seed(stream(0, "curve", number))
            x_adv = pgd(LinfWalk(eps, step, steps, "uniform"))(Forward(net), x[part], y[part])
            right[part] = (net(x_adv).argmax(1) == y[part]).numpy()
        by_class = [right[split.y[rows] == c].mean() for c in range(4)]
        assert point["average"] == pytest.approx(np.mean(by_class))
        assert point["worst"] == min(by_class)
        assert point["n"] == 20
        assert point["settings"] == {"eps": eps, "step": step, "steps": steps, "start": "uniform"}
    assert found["eps"][0]["average"] > found["eps"][-1]["average"]


def test_without_pgd_in_the_table_the_curves_say_what_they_were_measured_with() -> None:
    """Then it is PGD-20 with steps of a quarter of the radius."""
    wanted = settings(curves={"n": 20, "eps": [0.2], "steps": [7]})
    wanted = wanted.model_copy(update={"attacks": wanted.attacks.model_copy(update={"pgd": None})})
    (by_eps,), (by_steps,) = eps_walks(wanted).values(), steps_walks(wanted).values()
    assert by_eps == LinfWalk(0.2, 0.05, 20, "uniform")
    assert by_steps == LinfWalk(0.12, 0.03, 7, "uniform")


def test_a_curve_needs_an_image_of_each_class(net: Net, split: Split) -> None:
    with pytest.raises(InputError, match=r"evaluate\.curves\.n: 3 images are fewer than the 4 classes"):
        evaluate(net, None, split, CLASSES, settings(curves={"n": 3, "eps": [], "steps": [1]}))


def test_curves_are_no_part_of_the_table(net: Net, split: Split) -> None:
    plain, curved = (evaluate(net, None, split, CLASSES, settings(curves=curves)) for curves in (None, CURVES))
    assert (plain.attacks, plain.verdicts.keys()) == (curved.attacks, curved.verdicts.keys())


@pytest.mark.parametrize("classes", [2, 3, 1000])
def test_from_two_classes_to_a_thousand(classes: int) -> None:
    random = np.random.default_rng(0)
    y = np.concatenate([np.arange(classes), random.integers(classes, size=20)])
    split = Split(random.integers(256, size=(len(y), 8, 8, 1), dtype=np.uint8), y)
    names = [f"class {number}" for number in range(classes)]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()
    with small_budgets():
        found = evaluate(net, None, split, names, settings(aa=True, chunk=600))
    aa = found.attacks["aa"]
    assert aa["settings"]["standard"] is (classes >= 4)
    assert aa["settings"]["targets"] == min(9, classes - 1)
    assert ("apgd_t" in found.verdicts) is (classes >= 4)
    assert len(aa["accuracy"]["per_class"]) == len(aa["confusion"]) == classes
    assert sum(sum(row.values()) for row in aa["confusion"].values()) == len(y)
    assert found.checks["huge_eps"]["passed"]


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - {"wrn_34_10", "dm_wrn_70_16"}))
def test_folding_batchnorm_changes_nothing_but_rounding(architecture: str) -> None:
    net = build(Spec(architecture, 10, 3, 8, ((0.4, 0.5, 0.6), (0.2, 0.2, 0.3)))).train()
    x = torch.rand(6, 3, 8, 8)
    for _ in range(3):
        net(x)
    fast = folded(net.eval())
    norms = [m for m in fast.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == UNFOLDED.get(architecture, 0)
    torch.testing.assert_close(fast(x), net(x), rtol=1e-4, atol=1e-4)


def test_a_network_that_cannot_be_traced_is_used_as_it_is() -> None:
    class Branching(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    net = Branching().eval()
    assert folded(net) is net


def test_a_convolution_whose_output_is_used_twice_keeps_its_batchnorm() -> None:
    class Shared(Net):
        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            return self.head((self.bn(a) + a).flatten(1))

    net = Shared().train()
    net(torch.rand(8, 1, 6, 6))
    x = torch.rand(3, 1, 6, 6)
    torch.testing.assert_close(folded(net.eval())(x), net(x))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_kept() -> None:
    """Pages that come back from the system cost a fault each; those that were kept do not."""
    program = """
import resource, sys
import numpy as np
from absld.heap import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for turn in range(40):
    if turn == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    several = [np.ones(2**17) for _ in range(8)]
    del several
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True).stdout
        )
        for how in ("keep", "default")
    }
    assert faults["keep"] < 200 < faults["default"]
