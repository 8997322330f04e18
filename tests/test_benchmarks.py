"""The yardstick: what it measures is the same mathematics, and what it writes is what it measured."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from absld.evaluation.forward import Forward
from absld.methods.absld import Absld
from absld.methods.protocol import Batch, Networks
from absld.networks.frozen import frozen_view
from absld.networks.zoo import Spec
from absld.params.train import Augmentation
from benchmarks import history, run, table
from benchmarks.announcing import Announcing
from benchmarks.arena import arena
from benchmarks.attack import Ours, Target, compared
from benchmarks.cases import CASES, Case, Scale
from benchmarks.clock import PARTS, Clock
from benchmarks.contestants import NAMES, entered
from benchmarks.flops import of_an_image
from benchmarks.measure import Measured, measured
from benchmarks.peak import WORK, Peak, convolution, matrix_product
from benchmarks.problem import Problem, posed, settings_of
from benchmarks.published import Pictures, Published, add_risks, softened
from benchmarks.remembered import saved, share_remembered, variants
from benchmarks.run import QUICK, SLOW, arguments
from benchmarks.timing import Spread, in_turns, times_faster
from benchmarks.two_processes import two_over_one

CPU = torch.device("cpu")
TINY = {"cpu": Scale(batch_size=16, steps=2)}
STEP = Case("tiny_step", "digits", "tiny_resnet8", "tiny_resnet8", False, TINY)
EPOCH = Case("tiny_epoch", "digits", "tiny_resnet8", "tiny_resnet8", True, TINY)


def problem(case: Case = STEP) -> Problem:
    return posed(case, CPU)


# --- the same mathematics ------------------------------------------------------------------------------------------


def test_a_published_step_is_a_step_of_absld_with_separate_temperatures() -> None:
    ours, theirs = problem(), problem()
    published, method = Published(theirs, Clock(CPU)), Absld(ours.block)
    assert ours.block.coupling == "separate"
    x, y = ours.x[:16].float() / 255, ours.y[:16]
    tau_adv, tau_clean = torch.linspace(0.6, 3, 10), torch.linspace(4, 0.7, 10)
    published.tau_adv, published.tau_clean = tau_adv, tau_clean
    nets = Networks(ours.student, frozen_view(ours.student), ours.teacher)
    recipe = ours.block.optimiser
    optimiser = torch.optim.SGD(ours.student.parameters(), recipe.lr, recipe.momentum, 0, recipe.weight_decay)

    torch.manual_seed(3)
    loss = published.step(x, y)
    torch.manual_seed(3)
    step = method.step(nets, Batch(x, y), {"tau_adv": tau_adv, "tau_clean": tau_clean})
    step.loss.backward()
    optimiser.step()

    torch.testing.assert_close(loss, step.loss.detach(), rtol=1e-5, atol=1e-6)
    for name, tensor in ours.student.state_dict().items():
        torch.testing.assert_close(theirs.student.state_dict()[name], tensor, rtol=1e-4, atol=1e-6, msg=name)
    for risk, seen in ((published.risk_adv, "risk_adv"), (published.risk_clean, "risk_clean")):
        expected = torch.zeros(10).index_add_(0, y, step.seen[seen])
        torch.testing.assert_close(risk, expected, rtol=1e-4, atol=1e-5)


def test_every_sample_meets_the_temperature_of_its_class_and_counts_for_it() -> None:
    z, y = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([1, 0])
    p = softened(z, torch.tensor([1.0, 2.0]), y)
    assert p[:, 1] == pytest.approx([1 / (1 + np.e), 1 / (1 + np.e**2)])
    assert z.tolist() == [[2, 0], [2, 0]], "the other branch needs them too"
    risk = torch.tensor([1.0, 0.0])
    add_risks(risk, z, y)
    assert risk == pytest.approx([1 + np.log(1 + np.exp(-2)), 2 + np.log(1 + np.exp(-2))])


def test_a_picture_is_a_crop_of_the_padded_image_and_mirrored_half_of_the_time() -> None:
    x = np.arange(1, 28, dtype=np.uint8).reshape(1, 3, 3, 3)
    pictures = Pictures(x, np.array([7]), Augmentation(crop_padding=1, padding="zeros", horizontal_flip=True))
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0))).transpose(2, 0, 1) / np.float32(255)
    crops = [padded[:, top : top + 3, left : left + 3] for top in range(3) for left in range(3)]
    allowed = {image.tobytes() for crop in crops for image in (crop.copy(), crop[:, :, ::-1].copy())}
    seen = {pictures[0][0].numpy().tobytes() for _ in range(400)}
    assert seen == allowed and len(allowed) == 18
    assert pictures[0][1] == 7


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", [STEP, EPOCH], ids=lambda case: case.name)
def test_a_contestant_trains_and_its_parts_sum_to_one(name: str, case: Case) -> None:
    clock, given = Clock(CPU), problem(case)
    before = given.student.get_parameter("backbone.conv1.weight").detach().clone()
    contestant = entered(name, given, clock)  # type: ignore[arg-type]
    clock.start()
    contestant.train()
    shares = clock.stop()
    assert not torch.equal(before, given.student.get_parameter("backbone.conv1.weight"))
    assert set(shares) == set(PARTS) and sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert shares["attack"] > shares["teacher"], "seven passes with a gradient against one without"
    assert contestant.report()["precision"] in ("float32", "bfloat16")


def test_all_contestants_begin_with_the_same_weights_and_images() -> None:
    first, second = problem(), problem()
    assert torch.equal(first.x, second.x)
    assert len(first.x) == 32 and first.steps == 2
    for name, tensor in first.student.state_dict().items():
        assert torch.equal(tensor, second.student.state_dict()[name])


# --- timing --------------------------------------------------------------------------------------------------------


def test_contestants_take_turns() -> None:
    order: list[str] = []

    def contestant(name: str, seconds: float):
        def turn() -> float:
            order.append(name)
            return seconds * (1 + order.count(name))

        return turn

    seconds = in_turns({"a": contestant("a", 1.0), "b": contestant("b", 4.0)}, 3, each=lambda: order.append("."))
    assert "".join(order) == "a.b.a.b.a.b."
    assert seconds == {"a": [2, 3, 4], "b": [8, 12, 16]}
    assert times_faster(seconds, fast="a", slow="b") == Spread(4, 4, 4)


def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_medians() -> None:
    seconds = {"fast": [1.0, 2.0, 10.0], "slow": [3.0, 2.0, 40.0]}
    assert times_faster(seconds, "fast", "slow") == Spread(median=3, low=1, high=4)


def test_a_clock_that_does_not_run_counts_nothing() -> None:
    clock = Clock(CPU)
    clock.enter("attack")
    assert clock.seconds == {}
    clock.start()
    clock.enter("teacher")
    assert clock.stop().keys() == set(PARTS)


@pytest.mark.slow
def test_opponents_work_in_processes_of_their_own_and_report() -> None:
    found = measured(STEP, CPU, rounds=2, names=("published", "plain"))
    assert found.ratios.keys() == {"tiny_step_plain_over_published"}
    low, high = (found.ratios["tiny_step_plain_over_published"][part] for part in (1, 2))
    assert 0 < low <= high
    for result in found.block["contestants"].values():
        assert 0 < result["share_of_peak"] < 1
        assert sum(result["shares"].values()) == pytest.approx(1)
        assert result["memory_mib"] is None or result["memory_mib"] > 0
    json.dumps(found.block, allow_nan=False)


@pytest.mark.slow
def test_an_opponent_that_fails_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    broken = Case("broken", "digits", "no_such_network", "tiny_resnet8", False, TINY)
    with pytest.raises(RuntimeError, match="plain has ended"), arena(broken, ["plain"], CPU):
        pass
    assert "no_such_network" in capfd.readouterr().err


@pytest.mark.slow
def test_two_processes_take_the_steps_together() -> None:
    block, ratio = two_over_one(STEP, "plain", rounds=2)
    assert 0 < ratio.low <= ratio.median <= ratio.high
    assert block["seconds"].keys() == {"one", "two"}


def test_autoattack_prepares_for_all_of_the_test_images(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[tuple[int, int]] = []
    monkeypatch.setattr(Forward, "quicken", lambda self, chunk, passes: prepared.append((chunk, passes)))
    given = Target(problem().student.eval(), torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4).long(), 0.1)
    assert Ours(given, 4).seconds_compiling == 0
    of_an_image = 1 + (3 * 101 + 1) + (3 * 101 * 9 + 1) + (4 * 100 * 9 + 1) + (5002 + 1)
    assert prepared == [(4, 10_000 * of_an_image)]


@pytest.mark.slow
def test_both_ways_to_run_autoattack_agree() -> None:
    torch.set_num_threads(1)
    block, ratio = compared("tiny_resnet8", count=4, device=CPU, rounds=1)
    assert block["verdicts_that_differ"] == 0
    assert 0 < block["survived"] < 4
    assert ratio.median > 0


@pytest.mark.slow
def test_what_the_teachers_memory_saves_is_what_is_expected() -> None:
    torch.set_num_threads(1)
    block, _ = saved(CPU, rounds=1)
    digits = block["digits"]
    assert (digits["variants"], digits["epochs"]) == (9, 24)
    assert digits["teacher_hit_rate"] == pytest.approx(digits["expected_hit_rate"], abs=0.01)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def test_the_arithmetic_of_a_step_is_that_of_its_passes() -> None:
    block, _ = settings_of(STEP)
    spec = Spec("tiny_resnet8", 10, 1, 8, None)
    forward = 2 * (
        64 * 8 * 9  # the first convolution: 8x8 places, 8 filters of 3x3
        + 2 * 64 * 8 * 8 * 9
        + 16 * (16 * 8 * 9 + 16 * 16 * 9 + 16 * 8)
        + 4 * (32 * 16 * 9 + 32 * 32 * 9 + 32 * 16)
        + 32 * 10
    )
    first = 2 * 64 * 8 * 9
    attack = block.attack.steps * 2 * forward  # a pass forwards, a gradient of each layer's input
    training = 2 * (3 * forward - first)  # of the weights too, but none of the images
    assert of_an_image(spec, spec, block) == (attack + training, forward)


def test_the_arithmetic_of_the_peak_is_counted() -> None:
    product, convolved = matrix_product(4, torch.float32, CPU), convolution(2, 3, 5, torch.float32, CPU)
    assert product.operation().shape == (4, 4)
    assert product.flops == 2 * 4 * 4 * 4 * product.times
    assert convolved.operation().shape == (2, 3, 5, 5)
    assert convolved.flops == 2 * (2 * 3 * 5 * 5) * (3 * 3 * 3) * convolved.times
    assert product.times == round(WORK["cpu"] / 128)


def test_the_peak_is_that_of_the_best_operation_in_its_best_round(monkeypatch: pytest.MonkeyPatch) -> None:
    took = iter([4.0, 5.0, 2.0, 10.0, 8.0, 9.0, 10.0, 10.0])

    class Timed:
        def __init__(self, flops: int) -> None:
            self.flops = flops

        def __call__(self) -> float:
            return next(took)

    monkeypatch.setattr("benchmarks.peak.matrix_product", lambda side, dtype, device: Timed(side))
    monkeypatch.setattr("benchmarks.peak.convolution", lambda *_: Timed(10_000))
    peak = Peak(torch.float32, CPU)
    assert [peak(), peak()] == [4.0, 8.0], "seconds of the product that precisions are compared by"
    assert peak.reached == 4096 / 2.0


@given(count=st.integers(1, 60), epochs=st.integers(1, 80))
def test_the_share_that_is_remembered_is_that_of_drawing_with_repetition(count: int, epochs: int) -> None:
    draws = np.random.default_rng(0).integers(count, size=(4000, epochs))
    new = np.mean([len(np.unique(row)) for row in draws])
    assert share_remembered(count, epochs) == pytest.approx(1 - new / epochs, abs=0.02)


def test_cifar_has_162_variants_and_asks_for_less_than_half_of_300_epochs() -> None:
    cifar = variants(Augmentation(crop_padding=4, padding="zeros", horizontal_flip=True))
    assert cifar == 162
    assert 0.5 < share_remembered(cifar, 300) < 0.6
    assert share_remembered(cifar, 1) == pytest.approx(0)


# --- what is written -----------------------------------------------------------------------------------------------


def record(**changes: object) -> history.Record:
    shares = dict.fromkeys(PARTS, 0.2)
    result = {
        "images_per_second": 1234.5, "flops_per_second": 2e12, "share_of_peak": 0.5, "memory_mib": 100.4,
        "first_seconds": 3.21, "report": {"precision": "bfloat16"}, "shares": shares,
    }  # fmt: skip
    case = {"student": "s", "teacher": "t", "steps": 1, "batch_size": 32, "rounds": 7, "contestants": {"fast": result}}
    return {
        "date": "2026-01-01", "device": "A CPU", "cores": 2, "versions": {"torch": "2"}, "commit": "abc",
        "cases": {"x_step": case}, "ratios": {"x_step_fast_over_published": 2.5},
        "spread": {"x_step_fast_over_published": [2.25, 2.75]}, **changes,
    }  # fmt: skip


def test_the_table_shows_the_newest_of_each_device() -> None:
    old, new = record(ratios={"x_step_fast_over_published": 9.0, "other": 7.0}), record()
    old["spread"] = {"x_step_fast_over_published": [8.0, 9.5], "other": [6.0, 8.0]}
    text = table.tables([old, new, record(device="A GPU")])
    assert "| fast (bfloat16) | 1,234 | 2.50 (2.25 to 2.75) | 2 | 50 % | 100 | 3.2 | 20.0 % |" in text
    assert "9.00" not in text and "| other | 7.00 | 6.00 to 8.00 |" in text
    assert text.count("### A CPU") == text.count("### A GPU") == 1


def test_the_table_says_of_each_case_when_it_was_measured() -> None:
    later = record(date="2026-01-02", commit="def", ratios={}, spread={}, teacher_memory={})
    later["cases"] = {"y_step": later["cases"]["x_step"]}
    latest = record(date="2026-01-03", commit="fed", cases={}, ratios={}, spread={}, teacher_memory={})
    text = table.tables([record(), later, latest])
    for name, measured_in in (("x_step", "2026-01-01, commit abc"), ("y_step", "2026-01-02, commit def")):
        assert f"`{name}`: student s, teacher t, 1 steps of 32 images, 7 rounds;\n{measured_in}\n" in text
    assert "`teacher_memory`: 2026-01-03, commit fed\n" in text


def test_a_run_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history.append(record(ratios={"a": 1.23456}), path)
    history.append(record(), path)
    assert len(path.read_text().splitlines()) == 2
    assert history.read(path)[0]["ratios"] == {"a": 1.235}
    with pytest.raises(ValueError, match="not JSON compliant"):
        history.append(record(ratios={"a": float("nan")}), path)


def test_a_run_that_is_ended_keeps_what_it_has_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured_or_ended(case: Case, device: torch.device, rounds: int, *, each: Callable[[], None]) -> Measured:
        del device, rounds, each
        if case.name == "digits_epoch":
            raise SystemExit(143)
        return Measured({"student": "s"}, {"digits_step_fast_over_plain": Spread(1.2, 1.1, 1.3)}, {})

    monkeypatch.setattr(run, "measured", measured_or_ended)
    path = tmp_path / "history.jsonl"
    with pytest.raises(SystemExit):
        run.main(["--device", "cpu", "--only", "digits_step", "digits_epoch", "--history", str(path)])
    (line,) = history.read(path)
    assert line["ratios"] == {"digits_step_fast_over_plain": 1.2}
    assert list(line["cases"]) == ["digits_step"]


def test_the_document_shows_the_history() -> None:
    text = table.PAGE.read_text("utf-8")
    assert text == table.page(text, history.read()), "run `python -m benchmarks.table`"


def test_quick_and_slow_are_everything() -> None:
    assert {*QUICK, *SLOW} >= CASES.keys()
    assert not {*QUICK} & {*SLOW}
    assert "resnet18_step" in QUICK and "digits_step" in QUICK
    assert arguments(["--only", "autoattack"]).only == ["autoattack"]


def test_announcing_has_all_that_an_engine_has() -> None:
    from absld.engine.protocol import Engine

    wanted = {name for name in vars(Engine) if not name.startswith("_")}
    assert wanted <= set(dir(Announcing))
