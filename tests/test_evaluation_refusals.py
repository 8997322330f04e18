"""What an evaluation refuses: no number comes out."""

import numpy as np
import pytest
import torch
from small_evaluations import CLASSES, Net, labelled, settings, trained
from torch import Tensor, nn

from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split
from absld.errors import InputError
from absld.evaluation import refusals
from absld.evaluation.evaluate import evaluate
from absld.evaluation.measure import measure
from absld.evaluation.refusals import EvaluationRefusedError


@pytest.fixture(scope="module")
def split() -> Split:
    return labelled()


@pytest.fixture(scope="module")
def net() -> Net:
    return trained()


def test_a_network_in_training_mode_is_refused(net: Net, split: Split) -> None:
    with pytest.raises(EvaluationRefusedError, match="training mode"):
        evaluate(Net(), net, split, CLASSES, settings())
    half = nn.Sequential(Net()).eval()
    half[0].bn.train()
    with pytest.raises(EvaluationRefusedError, match="training mode"):
        measure(half, split, 4, LinfWalk(0.1, 0.1, 1, "none"), seed=0, chunk=10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.softmax(1), "look like probabilities"),
        (lambda z: z / 0, "not finite"),
        (lambda z: torch.where(z > z.mean(), torch.nan, z), "not finite"),
        (lambda z: torch.cat((z, z), 1), "8 outputs, the data set 4"),
    ],
    ids=["probabilities", "infinite", "nan", "outputs"],
)
def test_outputs_that_are_no_logits_are_refused(net: Net, split: Split, change: object, message: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> Tensor:
            return change(self.inner(x))

    with pytest.raises(EvaluationRefusedError, match=message):
        evaluate(Odd().eval(), net, split, CLASSES, settings())


@pytest.mark.parametrize("scale", [255.0, -1.0, float("nan")])
def test_inputs_outside_the_unit_interval_are_refused(scale: float) -> None:
    with pytest.raises(EvaluationRefusedError, match=r"float32 in \[0, 1\]"):
        refusals.refuse_range(torch.rand(2, 1, 3, 3) * scale)


@pytest.mark.parametrize(
    ("move", "message"),
    [(0.1 + 3e-6, "left the ball"), (float("nan"), "left the ball"), (-0.05, "range of pixels")],
)
def test_examples_outside_the_ball_or_the_pixels_are_refused(move: float, message: str) -> None:
    x = torch.zeros(2, 1, 3, 3)
    x_adv = x.clone()
    x_adv[1, 0, 2, 2] = move
    with pytest.raises(EvaluationRefusedError, match=message):
        refusals.refuse_escape(x, x_adv, 0.1, "pgd")


def test_rounding_at_the_rim_of_the_ball_is_no_escape() -> None:
    x = torch.linspace(0, 1, 100_000).reshape(10, 1, 100, 100)
    for eps in (8 / 255, 0.1, 0.031):
        refusals.refuse_escape(x, (x + eps).clamp(0, 1), eps, "pgd")
        refusals.refuse_escape(x, (x - eps).clamp(0, 1), eps, "pgd")


def test_one_class_is_refused() -> None:
    split = Split(np.zeros((3, 6, 6, 1), np.uint8), np.zeros(3, np.int64))
    net = Net(classes=1).eval()
    with pytest.raises(EvaluationRefusedError, match="1 class"):
        evaluate(net, net, split, ["only"], settings(aa=True))


def test_a_class_without_images_is_said_before_anything_is_done(net: Net, split: Split) -> None:
    with pytest.raises(InputError, match="none of class 'cross'"):
        evaluate(net, net, Split(split.x, split.y % 3), CLASSES, settings())
    with pytest.raises(InputError, match=r"attacks\.cw\.n: 3 images are fewer than the 4 classes"):
        evaluate(net, net, split, CLASSES, settings(cw=3))
