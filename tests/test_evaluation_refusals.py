"""What an evaluation refuses: no number comes out."""

import re
import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from small_evaluations import CLASSES, EPS, Net, labelled, settings, trained
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split
from absld.data.fetch import fetch
from absld.errors import DivergedError, EvaluationRefusedError, FailedError, InputError, ParityError
from absld.evaluation import refusals
from absld.evaluation.evaluate import evaluate
from absld.evaluation.measure import measure
from absld.networks.weights import save
from absld.networks.zoo import Spec, build
from absld.params.load import load
from absld.records.files import read_json
from stages.contracts import CARD, DATA, EVALUATE
from stages.evaluate import work
from stages.opening import Opened, main

ROOT = Path(__file__).parents[1]


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


def test_an_attack_that_leaves_the_ball_gives_no_numbers(
    net: Net, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoattack, "perturb", lambda part, x, y, seed: x + 2 * EPS)
    with pytest.raises(
        EvaluationRefusedError, match=r"apgd_ce left the ball: a distance of 0\.24.* at eps 0\.12: this is"
    ):
        evaluate(net, None, split, CLASSES, settings(aa=True))


def test_pixels_of_more_than_eight_bits_give_no_numbers(net: Net, split: Split) -> None:
    deep = Split(split.x.astype(np.int16) * 16, split.y)
    with pytest.raises(EvaluationRefusedError, match=r"inputs must be float32 in \[0, 1\], .*: give pixels"):
        evaluate(net, None, deep, CLASSES, settings())


def test_a_refusal_names_the_network(net: Net, split: Split) -> None:
    spoilt = deepcopy(net)
    with torch.no_grad():
        spoilt.head.bias[0] = torch.nan
    with pytest.raises(EvaluationRefusedError, match=r"^the last epoch: 10 of 10 rows .*; make them anew"):
        evaluate(net, spoilt, split, CLASSES, settings())
    for name, others in (("last epoch", (Net(), None)), ("teacher", (None, Net()))):
        with pytest.raises(EvaluationRefusedError, match=f"^the {name}: the model is in training mode"):
            evaluate(net, others[0], split, CLASSES, settings(), teacher=others[1])


@pytest.mark.parametrize("coarse", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 10])
def test_probabilities_of_half_precision_are_no_logits(coarse: torch.dtype, classes: int) -> None:
    """As behind a Cast. Their sums are off by more than 1e-4, and logits that are not negative pass."""
    probabilities = torch.randn(50, classes).softmax(1).to(coarse).float()
    assert (probabilities.sum(1) - 1).abs().max() > 1e-4
    with pytest.raises(EvaluationRefusedError, match="look like probabilities"):
        refusals.refuse_probabilities(probabilities)
    refusals.refuse_probabilities(torch.cat((probabilities, 1.01 * probabilities[:1])))


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stage `evaluate` of rslad-s0, whose student answers nan, would write its evaluation.json."""
    for name, path in (("params.yaml", "pipeline/profiles/digits.yaml"), ("src", "src"), ("stages", "stages")):
        (tmp_path / name).symlink_to(ROOT / path)
    writes = {name: tmp_path / path for name, path in (DATA | CARD).items()}
    fetch(load(tmp_path / "params.yaml").data, tmp_path, writes)
    student = build(Spec("tiny_resnet8", 10, 1, 8, None))
    next(student.parameters()).data.fill_(torch.nan)
    axes = {"method": "rslad", "seed": "0"}
    for name in ("best", "last", "teacher"):
        save(tmp_path / EVALUATE.reads[name].format(**axes), student)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate", *axes.values()])
    monkeypatch.setattr("stages.evaluate.worthwhile", lambda device: 1)
    return tmp_path / EVALUATE.writes["evaluation"].format(**axes)


def test_the_stage_ends_with_the_refusal_and_writes_nothing(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(EVALUATE, work)
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert re.fullmatch(r"evaluate: rslad-s0: (\d+) of \1 rows of logits are not finite: .*; make them anew\n", said)
    assert read_json(tmp_path / ".absld/failure.json")["message"] in said
    assert not written.exists()


@pytest.mark.parametrize("error", [DivergedError, ParityError])
def test_work_that_came_to_nothing_ends_in_a_line(
    error: type[FailedError], written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: Opened) -> None:
        raise error("the loss is nan")

    with pytest.raises(SystemExit) as ended:
        main(EVALUATE, fails)
    assert (ended.value.code, capsys.readouterr().err) == (1, "evaluate: the loss is nan\n")
    assert not written.exists()


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
