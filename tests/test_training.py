"""The loop: that a resumed run is the run that was never stopped, what it keeps and what it writes down."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits

from absld.data.task import Held, Task, own_augmentation
from absld.device import pick
from absld.errors import DivergedError, InputError
from absld.methods.registry import METHODS
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Classifier, Spec, build
from absld.params.agreement import brought
from absld.params.attacks import Walk
from absld.params.load import load
from absld.params.train import Augmentation
from absld.seeds import stream
from absld.training.checkpoint import Checkpoint
from absld.training.run import Run
from absld.training.session import train_network
from absld.training.validate import validate

PAPER = load(Path(__file__).parents[1] / "pipeline/profiles/cifar10.yaml")
DIGITS = load(Path(__file__).parents[1] / "params.yaml")
SPEC = Spec("tiny_resnet16", 3, 1, 8, None)


def make_task(seed: int) -> Task:
    """Three classes: a bright left half, a bright right half, neither."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(36) % 3
    x = torch.randint(0, 90, (36, 1, 8, 8), generator=generator, dtype=torch.uint8)
    x[y == 0, :, :, :4] += 150
    x[y == 1, :, :, 4:] += 150
    held = Held(x[:9].float() / 255, y[:9])
    return Task(
        classes=("left", "right", "none"),
        x=x,
        y=y,
        validation=held,
        selection=held,
        augmentation=Augmentation(crop_padding=1, padding="zeros", horizontal_flip=False),
        attack=Walk(eps=0.1, step=0.05, steps=2, start="uniform"),
        seed=seed,
    )


def short(name: str) -> Any:
    """The paper's block, cut to four epochs of the toy task; what it brings is cut too."""
    block = getattr(PAPER.methods, name) or getattr(DIGITS.methods, name)
    update: dict[str, Any] = {
        "optimiser": block.optimiser.model_copy(update={"batch_size": 10}),
        "epochs": 4,
        "milestones": [2],
    }
    if "attack" in type(block).model_fields:
        update["attack"] = block.attack.model_copy(update={"eps": 0.1, "step": 0.05, "steps": 2})
    if "hard_classes" in type(block).model_fields:
        update["hard_classes"] = block.hard_classes[:1]
    if "normalisation" in type(block).model_fields:
        update["normalisation"] = None
    early = {"introspect_from": 3, "calibrate_from": 3, "rate_halves_every": 2}
    update |= {key: epoch for key, epoch in early.items() if key in type(block).model_fields}
    if block.averaging:
        update["averaging"] = block.averaging.model_copy(update={"begin": 2, "threshold": 0.0})
    return block.model_copy(update=update)


def network(seed: int) -> Classifier:
    torch.manual_seed(seed)
    return build(SPEC)


def train(
    name: str, folder: Path, *, epochs: int = 4, seed: int = 0, block: Any = None, task: Task | None = None
) -> Run:
    block = block or short(name)
    return train_network(
        SPEC,
        name,
        block,
        task or make_task(seed),
        Checkpoint(folder),
        lambda run: None,
        epochs=epochs,
        teacher=frozen_view(network(77)),
        brought={key: network(78) for key in brought(block)},
    )


def same(a: Run, b: Run) -> bool:
    weights = [run.student.state_dict() for run in (a, b)]
    return (
        a.rows == b.rows
        and (a.best_epoch, a.best_score) == (b.best_epoch, b.best_score)
        and all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
        and all(torch.equal(a.best_weights[name], b.best_weights[name]) for name in a.best_weights)
        and all(torch.equal(a.average[name], b.average[name]) for name in a.average)
        and set(a.state) == set(b.state)
        and all(torch.equal(a.state[name], b.state[name]) for name in a.state)
    )


@pytest.mark.parametrize("name", METHODS)
def test_t18_a_resumed_run_is_the_run_that_was_never_stopped(name: str, tmp_path: Path) -> None:
    whole = train(name, tmp_path / "whole")
    train(name, tmp_path / "cut", epochs=2)
    torch.rand(7)  # whatever happened in between
    resumed = train(name, tmp_path / "cut")
    assert resumed.epoch == 4
    assert same(whole, resumed)
    assert not same(whole, train(name, tmp_path / "other", seed=1))


@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_of_the_profile_on_real_digits(name: str, digits: Task, tmp_path: Path) -> None:
    """Each method as the profile sets it, but for what it brings: the loss is finite and the weights have moved."""
    block = getattr(DIGITS.methods, name)
    spec = Spec("tiny_resnet8", 10, 1, 8, None)
    torch.manual_seed(3)
    teacher, brought_one = build(replace(spec, architecture="tiny_resnet16")), build(spec)
    run = train_network(
        spec, name, block, replace(digits, augmentation=own_augmentation(block, digits.augmentation)),
        Checkpoint(tmp_path), lambda run: None,
        epochs=1, teacher=frozen_view(teacher), brought=dict.fromkeys(brought(block), brought_one),
    )  # fmt: skip
    assert run.epoch == 1
    assert all(math.isfinite(row.value) for row in run.rows)
    assert all(tensor.isfinite().all() for tensor in run.weights.values())
    torch.manual_seed(stream(digits.seed, "weights"))
    fresh = build(spec).backbone.state_dict()
    assert not torch.equal(run.weights["conv1.weight"], fresh["conv1.weight"])


@pytest.fixture(scope="module")
def digits() -> Task:
    """A fifth of scikit-learn's digits."""
    found = load_digits()
    x = torch.from_numpy(found.images[:360] * 255 / 16).round().to(torch.uint8)[:, None]
    y = torch.from_numpy(found.target[:360]).to(torch.int64)
    held = Held(x[:60].float() / 255, y[:60])
    common = Augmentation(crop_padding=1, padding="zeros", horizontal_flip=False)
    walk = Walk(eps=0.1, step=0.05, steps=2, start="uniform")
    return Task(tuple("0123456789"), x[60:], y[60:], held, held, common, walk, 0)


def test_a_method_learns_from_validation_even_where_the_test_images_select(tmp_path: Path) -> None:
    """FRL's multipliers and FAWA's gate must not see the images that select in the papers' way."""
    task = make_task(0)
    poor = Held(task.validation.x, (task.validation.y + 1) % 3)
    other = replace(task, selection=poor)
    for name in ("frl", "cfa"):
        honest, selected = train(name, tmp_path / name / "a"), train(name, tmp_path / name / "b", task=other)
        assert all(torch.equal(honest.state[key], selected.state[key]) for key in honest.state)
        assert all(torch.equal(honest.average[key], selected.average[key]) for key in honest.average)
        assert honest.best_score[1] > selected.best_score[1]


def test_frl_looks_at_its_start_before_the_first_epoch(tmp_path: Path) -> None:
    run = train("frl", tmp_path, epochs=1)
    start = frozen_view(network(78))
    found = validate(start, make_task(0), make_task(0).validation, epoch=0).accuracy
    boundary = (found["clean"] - found["pgd"]).float()
    expected = 0.2 * (boundary - boundary.mean() - 0.05)
    trained_with = [row.value for row in run.rows if row.epoch == 1 and row.quantity == "lambda_margin"]
    assert trained_with == pytest.approx(expected.tolist(), abs=1e-6)


def test_training_starts_from_the_weights_that_are_brought(tmp_path: Path) -> None:
    still = short("frl").model_copy(update={"optimiser": PAPER.methods.frl.optimiser.model_copy(update={"lr": 1e-20})})
    run = train("frl", tmp_path, epochs=1, block=still)
    start = network(78).backbone.state_dict()
    for name, tensor in run.student.backbone.named_parameters():
        torch.testing.assert_close(tensor, start[name])


def test_the_last_epoch_is_kept_where_the_block_says_so(tmp_path: Path) -> None:
    run = train("natural", tmp_path)
    assert short("natural").keep == "last"
    assert run.best_epoch == 4
    assert all(torch.equal(run.best_weights[name], t) for name, t in run.student.backbone.state_dict().items())


def test_averaged_weights_are_what_is_validated_and_reported(tmp_path: Path) -> None:
    run = train("cfa", tmp_path)
    entered = {row.epoch: row.value for row in run.rows if row.quantity == "averaging/accepted"}
    assert entered == {1: 0, 2: 1, 3: 1, 4: 1}
    assert not torch.equal(run.average["conv1.weight"], run.student.backbone.state_dict()["conv1.weight"])
    averaged = network(0).eval()
    averaged.backbone.load_state_dict(run.weights)
    expected = validate(averaged, make_task(0), make_task(0).validation, epoch=4).accuracy
    for name, accuracy in expected.items():
        found = [row.value for row in run.rows if row.epoch == 4 and row.quantity == f"validation_{name}"]
        assert found == accuracy.tolist()


def test_a_state_of_single_numbers_moves_with_every_step_and_is_written_down(tmp_path: Path) -> None:
    run = train("mtard", tmp_path)
    weights = [row.value for row in run.rows if row.quantity == "state/weight_clean"]
    assert weights[0] == 0.5
    assert len(set(weights)) == 4
    assert float(run.state["rate"]) == pytest.approx(0.1 * PAPER.methods.mtard.rate)


def test_a_diverged_run_ends_at_once_and_keeps_the_epoch_before(tmp_path: Path) -> None:
    block = short("rslad")
    hot = block.model_copy(update={"optimiser": block.optimiser.model_copy(update={"lr": 1e30})})
    with pytest.raises(DivergedError, match="epoch 1"):
        train_network(
            SPEC,
            "rslad",
            hot,
            make_task(0),
            Checkpoint(tmp_path),
            lambda run: None,
            epochs=4,
            teacher=frozen_view(network(77)),
        )
    assert Checkpoint(tmp_path).load(torch.device("cpu")) is None


def test_weights_that_are_lost_answer_nothing() -> None:
    lost = frozen_view(network(1))
    lost.get_parameter("backbone.linear.bias").data.fill_(math.nan)
    small = make_task(0)
    accuracy = validate(lost, small, small.validation, epoch=1).accuracy
    assert all(not values.any() for values in accuracy.values())


@pytest.mark.parametrize(("batch_size", "refused"), [(5, True), (6, False), (1, True)])
def test_a_last_batch_of_one_pixel_is_refused_before_the_first_epoch(
    batch_size: int, refused: bool, tmp_path: Path
) -> None:
    block = short("trades")
    block = block.model_copy(update={"optimiser": block.optimiser.model_copy(update={"batch_size": batch_size})})
    spec = Spec("resnet18", 3, 1, 8, None)
    told: list[int] = []

    def run() -> None:
        train_network(
            spec, "trades", block, make_task(0), Checkpoint(tmp_path), lambda run: told.append(run.epoch), epochs=0
        )

    if refused:
        with pytest.raises(InputError, match="last batch of one"):
            run()
    else:
        run()
    assert told == ([] if refused else [0])


@pytest.mark.parametrize(
    ("batch_size", "warned"), [(12, False), (33, True), (30, True), (28, False), (36, False), (64, False)]
)
def test_a_small_last_batch_is_warned_of(
    batch_size: int, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = short("trades")
    block = block.model_copy(update={"optimiser": block.optimiser.model_copy(update={"batch_size": batch_size})})
    train_network(SPEC, "trades", block, make_task(0), Checkpoint(tmp_path), lambda run: None, epochs=0)
    said = f"an epoch's last batch has {36 % batch_size} of {batch_size} images"
    assert (said in capsys.readouterr().out) == warned


def test_history_has_every_epoch_and_class_once(tmp_path: Path) -> None:
    run = train("absld", tmp_path)
    keys = [(row.epoch, row.key) for row in run.rows]
    assert len(keys) == len(set(keys))
    assert {row.epoch for row in run.rows} == {1, 2, 3, 4}
    first = {row.key: row.value for row in run.rows if row.epoch == 1}
    assert {f"tau_adv/{name}" for name in ("left", "right", "none")} <= set(first)
    assert first["tau_adv/left"] == first["tau_clean/none"] == 1
    assert first["train/lr"] == PAPER.methods.absld.optimiser.lr
    second = {row.key: row.value for row in run.rows if row.epoch == 2}
    moved = [abs(second[f"tau_adv/{name}"] - 1) for name in ("left", "right", "none")]
    assert max(moved) == pytest.approx(PAPER.methods.absld.beta, abs=1e-6)


def test_the_harder_class_gets_the_sharper_labels(tmp_path: Path) -> None:
    rows = train("absld", tmp_path).rows
    at = {(row.epoch, row.key): row.value for row in rows}
    names = ("left", "right", "none")
    hardest = max(names, key=lambda name: at[1, f"risk_adv/{name}"])
    easiest = min(names, key=lambda name: at[1, f"risk_adv/{name}"])
    assert at[2, f"tau_adv/{hardest}"] < 1 < at[2, f"tau_adv/{easiest}"]


def test_streams_are_told_apart_by_every_part() -> None:
    seeds = {
        stream(*parts)
        for parts in [
            (0, "epoch", 1),
            (0, "epoch", 2),
            (0, "data", 1),
            (1, "epoch", 1),
            (0, "epoch", 12),
            (0, "epoch1", 2),
        ]
    }
    assert len(seeds) == 6
    assert stream(0, "epoch", 1) == 3227900496889367144


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_where_cuda_is_asked_for() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        pick("cuda")
    assert pick("auto") == pick("cpu") == torch.device("cpu")
