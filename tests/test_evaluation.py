"""The evaluation as a whole: what it refuses, that it can be interrupted, and what it writes."""

import json
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.errors import InputError
from absld.evaluation import refusals
from absld.evaluation.arrays import read_npz, write_npz
from absld.evaluation.checks import attack_order, deterministic, square_beats_apgd
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.evaluation.folded import folded
from absld.evaluation.forward import Forward
from absld.evaluation.measure import measure
from absld.evaluation.refusals import EvaluationRefusedError
from absld.evaluation.selection import balanced, chunks
from absld.evaluation.telling import silent
from absld.evaluation.verdicts import Share, Verdict
from absld.evaluation.workers import Job, examined, worthwhile
from absld.metrics import ClassTable
from absld.networks.zoo import ARCHITECTURES, Spec, build
from absld.params.evaluate import Evaluate
from absld.records.files import sha256_of
from absld.seeds import stream

STANDARD = autoattack.standard
CLASSES = ["round", "square", "star", "cross"]
WALKS = ("clean", "fgsm", "pgd", "cw")


class Net(nn.Module):
    """Small enough to be attacked in a moment, and with a BatchNorm."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv, self.bn, self.head = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(96, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.bn(self.conv(x))).flatten(1))


def images(n: int, seed: int = 0) -> Split:
    """Four noisy patterns; the classes are unbalanced: half of the images belong to the first."""
    random = np.random.default_rng(seed)
    y = random.choice(4, n, p=(0.5, 0.2, 0.2, 0.1))
    y[:4] = range(4)
    patterns = np.random.default_rng(9).integers(60, 195, (4, 6, 6, 1))
    return Split((patterns[y] + random.normal(0, 40, (n, 6, 6, 1))).clip(0, 255).astype(np.uint8), y.astype(np.int64))


@pytest.fixture(scope="module")
def split() -> Split:
    """Two of the labels are wrong, so that clean accuracy is below 1."""
    found = images(44)
    found.y[[20, 30]] = (found.y[[20, 30]] + 1) % 4
    return found


@pytest.fixture(scope="module")
def net() -> Net:
    """A network that knows the patterns and can be fooled."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model, train = Net(), images(300, seed=5)
        x, y = to_images(train.x), torch.from_numpy(train.y)
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(80):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    model.zero_grad()
    return model.eval()


def settings(*, eps: float = 0.12, aa: bool = False, chunk: int = 10, keep: int = 6, **n: int) -> Evaluate:
    attacks = {
        "fgsm": {"n": n.get("fgsm"), "start": "none"},
        "pgd": {"n": n.get("pgd"), "steps": 5, "step": 0.03, "start": "uniform"},
        "cw": {"n": n.get("cw"), "steps": 5, "step": 0.03, "start": "uniform", "kappa": 50},
        "aa": {"n": n.get("aa")} if aa else None,
    }
    return Evaluate.model_validate({"eps": eps, "seed": 0, "chunk": chunk, "keep": keep, "attacks": attacks})


@pytest.fixture(scope="module")
def _small_budgets() -> Iterator[None]:
    """AutoAttack's own parts, with a tenth of their iterations."""

    def smaller(*arguments: object) -> dict[str, object]:
        parts = STANDARD(*arguments)
        for part in parts.values():
            part.n_iter, part.n_queries = 10, 100
        return parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoattack, "standard", smaller)
        yield


@pytest.fixture(scope="module")
def found(net: Net, split: Split, _small_budgets: None) -> Evaluation:
    """One evaluation with everything, PGD on 20 images only."""
    return evaluate(net, net, split, CLASSES, settings(aa=True, pgd=20))


small_budgets = pytest.mark.usefixtures("_small_budgets")


def assert_same(first: Evaluation, second: Evaluation) -> None:
    for one, other in ((first.verdicts, second.verdicts), (first.adversarial, second.adversarial)):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key], err_msg=key)
    assert (first.attacks, first.last, first.checks) == (second.attacks, second.last, second.checks)


# which images --------------------------------------------------------------------------------------------------------


def test_the_first_of_each_class_in_turn() -> None:
    y = np.array([2, 0, 0, 0, 1, 2, 0, 1])
    assert balanced(y, 3).tolist() == [0, 1, 4]
    assert balanced(y, 5).tolist() == [0, 1, 2, 4, 7]
    assert balanced(y, 7).tolist() == [0, 1, 2, 3, 4, 5, 7]
    assert balanced(y, None).tolist() == balanced(y, 99).tolist() == list(range(8))


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 5)), st.integers(1, 60))
def test_a_selection_is_as_balanced_as_the_images_allow(y: np.ndarray, n: int) -> None:
    rows = balanced(y, n)
    assert len(rows) == min(n, len(y))
    assert (np.diff(rows) > 0).all()
    there, taken = np.bincount(y, minlength=6), np.bincount(y[rows], minlength=6)
    assert all(taken[c] == there[c] or taken[c] >= taken.max() - 1 for c in range(6))
    for c in range(6):
        assert (rows[y[rows] == c] == np.flatnonzero(y == c)[: taken[c]]).all()


@given(st.integers(1, 40), st.integers(1, 50))
def test_chunks_are_the_rows_in_order(n: int, size: int) -> None:
    parts = chunks(np.arange(n), size)
    assert np.concatenate(parts).tolist() == list(range(n))
    assert all(len(part) == size for part in parts[:-1])
    assert 1 <= len(parts[-1]) <= size


# the same numbers ----------------------------------------------------------------------------------------------------


def test_verdicts_are_those_of_a_plain_loop(net: Net, split: Split) -> None:
    found = evaluate(net, net, split, CLASSES, settings())
    x, y = to_images(split.x), torch.from_numpy(split.y)
    for number, rows in enumerate(torch.arange(44).split(10)):
        torch.manual_seed(stream(0, "pgd", number))
        x_adv = pgd(LinfWalk(0.12, 0.03, 5, "uniform"))(Forward(net), x[rows], y[rows])
        assert ((net(x_adv).argmax(1) == y[rows]).numpy() == found.verdicts["pgd"][rows]).all()
    clean = (net(x).argmax(1) == y).numpy()
    assert (found.verdicts["clean"] == clean).all()
    accuracy = found.attacks["clean"]["accuracy"]
    by_class = [clean[split.y == c].mean() for c in range(4)]
    assert accuracy["average"] == pytest.approx(np.mean(by_class))
    assert accuracy["micro"] == pytest.approx(clean.mean())
    assert list(accuracy["per_class"].values()) == pytest.approx(by_class)
    assert found.attacks["pgd"]["accuracy"]["micro"] < accuracy["micro"]


@small_budgets
def test_with_no_room_to_move_every_attack_gives_the_clean_verdicts(net: Net, split: Split) -> None:
    found = evaluate(net, net, split, CLASSES, settings(eps=0.0, aa=True))
    assert found.verdicts["clean"].sum() > 0
    for key in (*WALKS, *autoattack.PARTS, "aa"):
        np.testing.assert_array_equal(found.verdicts[key], found.verdicts["clean"], err_msg=key)
        assert key in autoattack.PARTS or found.attacks[key]["accuracy"] == found.attacks["clean"]["accuracy"]
    assert found.adversarial["aa_x"].shape == (0, 1, 6, 6)


def test_the_cascade_loses_images_part_by_part(found: Evaluation) -> None:
    left = found.verdicts
    for before, after in zip(("clean", *autoattack.PARTS), (*autoattack.PARTS, "aa"), strict=True):
        assert (left[before] >= left[after]).all()
    assert left["aa"].sum() < left["clean"].sum() < 44


class Killed(BaseException):
    pass


class KilledAfter:
    """A watcher that lets so many messages pass."""

    def __init__(self, messages: int) -> None:
        self.left = messages

    def __call__(self, text: str, done: int, total: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@small_budgets
def test_an_evaluation_killed_anywhere_goes_on_as_if_nothing_had_been(net: Net, split: Split, tmp_path: Path) -> None:
    other = Net().eval()
    undisturbed = evaluate(net, other, split, CLASSES, settings(aa=True))
    kills = 0
    while True:
        try:
            found = evaluate(
                net, other, split, CLASSES, settings(aa=True), scratch=tmp_path, on_progress=KilledAfter(3 + 7 * kills)
            )
            break
        except Killed:
            kills += 1
            torch.manual_seed(kills)
    assert kills >= 3
    assert_same(found, undisturbed)


def test_finished_chunks_are_read_back_and_not_computed_again(net: Net, split: Split, tmp_path: Path) -> None:
    evaluate(net, net, split, CLASSES, settings(), scratch=tmp_path)
    files = sorted(tmp_path.glob("*/*.npz"))
    assert len(files) == 5 * (4 + 2)
    stored = {file: file.stat().st_mtime_ns for file in files}
    again = evaluate(nn.Sequential(net, nn.Linear(4, 4)).eval(), net, split, CLASSES, settings(), scratch=tmp_path)
    assert {file: file.stat().st_mtime_ns for file in files} == stored
    assert_same(again, evaluate(net, net, split, CLASSES, settings()))


def test_several_processes_come_to_the_same_verdicts(
    net: Net, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoattack, "standard", STANDARD)
    whole = settings(aa=True, eps=0.6, pgd=20)
    alone = evaluate(net, net, split, CLASSES, whole)
    told: list[int] = []
    together = evaluate(
        net, net, split, CLASSES, whole,
        scratch=tmp_path, processes=2, on_progress=lambda text, done, total: told.append(done),
    )  # fmt: skip
    assert_same(together, alone)
    assert max(told) == 100


def test_a_share_that_is_not_done_is_done_by_whoever_comes_last(net: Net, split: Split, tmp_path: Path) -> None:
    job = Job(net, split, CLASSES, settings(), tmp_path)
    bench, plan = job.begin(silent)
    bench.work(plan, Share(1, 3))
    assert len(list(tmp_path.glob("pgd-*.npz"))) == 2
    found, _, _ = examined(job, 1, silent)
    undisturbed, _, _ = examined(replace(job, scratch=None), 1, silent)
    for key, verdict in undisturbed.items():
        np.testing.assert_array_equal(found[key].survived, verdict.survived)


def test_processes_are_as_many_as_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    for threads, processes in ((1, 6), (2, 3), (4, 1), (8, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert (worthwhile(cpu), worthwhile(gpu)) == (processes, 1)


def test_the_random_numbers_of_everyone_else_are_left_alone(net: Net, split: Split) -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first = evaluate(net, net, split, CLASSES, settings())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert_same(evaluate(net, net, split, CLASSES, settings()), first)


def test_the_network_is_left_as_it_was(net: Net, split: Split) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(net, net, split, CLASSES, settings())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


class Cramped(nn.Module):
    """Runs out of memory with more than three images at once."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.most = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.most = max(self.most, len(x))
        return self.inner(x)


@small_budgets
def test_lack_of_memory_splits_the_pass_and_not_the_chunk(net: Net, split: Split) -> None:
    found = evaluate(Cramped(net).eval(), Cramped(net).eval(), split, CLASSES, settings(aa=True))
    roomy = evaluate(net, net, split, CLASSES, settings(aa=True))
    for key in roomy.verdicts:
        assert (found.verdicts[key] != roomy.verdicts[key]).sum() <= 1, key
    np.testing.assert_allclose(found.adversarial["pgd_x"], roomy.adversarial["pgd_x"], atol=0.061)


def test_memory_that_does_not_hold_one_image_is_an_error(net: Net, split: Split) -> None:
    class Full(Net):
        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > -1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return x

    with pytest.raises(torch.cuda.OutOfMemoryError):
        evaluate(Full().eval(), net, split, CLASSES, settings())


UNFOLDED = {"preact_resnet18": 9, "preact_resnet18_bare": 8}
"""BatchNorms that follow no convolution, or one that a shortcut sees too: the first of each block, and the last of all."""


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


# what it refuses -----------------------------------------------------------------------------------------------------


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


# the checks ----------------------------------------------------------------------------------------------------------


def test_a_stronger_attack_that_leaves_more_is_noticed() -> None:
    def table(*correct: int) -> ClassTable:
        return ClassTable(np.array(correct), np.array([100, 100]))

    assert attack_order({"clean": table(95, 90), "fgsm": table(70, 60), "pgd": table(60, 50), "aa": table(50, 40)})[
        "passed"
    ]
    assert attack_order({"clean": table(95, 90), "fgsm": table(60, 60), "pgd": table(63, 62)})["passed"]
    masked = attack_order({"clean": table(95, 90), "fgsm": table(40, 30), "pgd": table(60, 50), "aa": table(60, 50)})
    assert not masked["passed"]
    assert "pgd above fgsm" in masked["detail"]


def test_two_standard_errors_of_the_average() -> None:
    # 2·sqrt((0.25 + 0.25)/100/4 · 2) = 0.1 for two classes at one half in both attacks
    weak = ClassTable(np.array([50, 50]), np.array([100, 100]))
    near = ClassTable(np.array([59, 59]), np.array([100, 100]))
    far = ClassTable(np.array([61, 61]), np.array([100, 100]))
    assert attack_order({"fgsm": weak, "pgd": near})["passed"]
    assert not attack_order({"fgsm": weak, "pgd": far})["passed"]


@pytest.mark.parametrize(
    ("images", "broken", "passed"), [(360, 2, True), (360, 3, False), (10_000, 20, True), (10_000, 21, False)]
)
def test_square_that_finds_what_gradients_missed_is_noticed(images: int, broken: int, passed: bool) -> None:
    rows, before = np.arange(images), np.ones(images, bool)
    after = before.copy()
    after[:broken] = False
    nothing = (rows[:0], np.zeros((0, 1, 6, 6), np.float32))
    check = square_beats_apgd(Verdict(rows, after, *nothing), Verdict(rows, before, *nothing))
    assert check["passed"] is passed


def test_a_random_network_is_noticed(net: Net, split: Split) -> None:
    class Random(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1e-3 * torch.rand(len(x), 1)

    x = to_images(split.x)
    assert deterministic(Forward(net), x)["passed"]
    assert not deterministic(Forward(Random().eval()), x)["passed"]


# what it writes ------------------------------------------------------------------------------------------------------


def test_the_record_says_what_was_done(found: Evaluation) -> None:
    assert list(found.attacks) == ["clean", "fgsm", "pgd", "cw", "aa"]
    assert list(found.last) == ["clean", "pgd"]
    assert found.last == {key: found.attacks[key] for key in ("clean", "pgd")}
    assert [block["n"] for block in found.attacks.values()] == [44, 44, 20, 44, 44]
    common = {"seed": 0, "chunk": 10}
    assert found.attacks["clean"]["settings"] == common
    assert found.attacks["fgsm"]["settings"] == {"steps": 1, "step": 0.12, "start": "none", **common}
    walk = {"steps": 5, "step": 0.03, "start": "uniform"}
    assert found.attacks["pgd"]["settings"] == {**walk, **common}
    assert found.attacks["cw"]["settings"] == {**walk, "kappa": 50, **common}
    aa = found.attacks["aa"]["settings"]
    assert (aa["version"], aa["standard"], aa["targets"]) == ("standard", True, 3)
    assert aa["implementation"].startswith("pyautoattack ")
    assert list(aa["parts"]) == list(autoattack.PARTS)
    assert aa["parts"]["square"] == found.attacks["aa"]["accuracy"]["average"]
    assert found.checks.keys() == {"attack_order", "deterministic", "square_beats_apgd"}
    json.dumps([found.attacks, found.last, found.checks], allow_nan=False)


def test_capped_attacks_say_which_images_they_saw(split: Split, found: Evaluation) -> None:
    verdicts = found.verdicts
    np.testing.assert_array_equal(verdicts["pgd_index"], balanced(split.y, 20))
    assert verdicts["pgd"].shape == (20,)
    assert "cw_index" not in verdicts
    assert verdicts["y"].tolist() == split.y.tolist()
    assert {verdicts[key].dtype for key in (*WALKS, *autoattack.PARTS, "aa")} == {np.dtype(bool)}


def test_kept_examples_are_the_attacks_own(net: Net, split: Split, found: Evaluation) -> None:
    kept = found.adversarial
    assert kept.keys() == {f"{key}_{what}" for key in ("fgsm", "pgd", "cw", "aa") for what in ("x", "y", "index")}
    for key in ("fgsm", "pgd", "cw", "aa"):
        x_adv, y, index = (kept[f"{key}_{what}"] for what in ("x", "y", "index"))
        rows = found.verdicts.get(f"{key}_index", np.arange(44))
        assert len(index) == 6
        assert x_adv.dtype == np.float32
        np.testing.assert_array_equal(y, split.y[index])
        right = net(torch.from_numpy(x_adv)).argmax(1).numpy() == y
        np.testing.assert_array_equal(right, found.verdicts[key][np.searchsorted(rows, index)])
        assert np.abs(x_adv - to_images(split.x[index]).numpy()).max() <= 0.12 + 1e-6
    np.testing.assert_array_equal(kept["cw_index"], balanced(split.y, 6))
    assert not found.verdicts["aa"][kept["aa_index"]].any()
    fooled = np.flatnonzero(found.verdicts["clean"] & ~found.verdicts["aa"])
    np.testing.assert_array_equal(kept["aa_index"], fooled[balanced(split.y[fooled], 6)])


def test_the_same_arrays_are_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"a": np.arange(5), "b": np.zeros((2, 3), np.float32)}
    write_npz(tmp_path / "one.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2001, 1, 1, 0, 0, 0, 0, 1, 0))
    write_npz(tmp_path / "two.npz", arrays)
    assert sha256_of(tmp_path / "one.npz") == sha256_of(tmp_path / "two.npz")
    assert {key: value.tolist() for key, value in read_npz(tmp_path / "one.npz").items()} == {
        key: value.tolist() for key, value in arrays.items()
    }


def test_progress_rises_to_the_end_and_names_accuracies(net: Net, split: Split) -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(net, net, split, CLASSES, settings(), on_progress=lambda *message: told.append(message))
    ends = [i for i, (_, done, total) in enumerate(told) if done == total]
    assert told[-1][1] == told[-1][2]
    assert "clean" in told[-1][0]
    assert "%" in told[-1][0]
    done = [done for _, done, _ in told]
    assert all(0 <= done <= total for _, done, total in told)
    assert done[: ends[0] + 1] == sorted(done[: ends[0] + 1])


def test_the_short_measurement_gives_the_numbers_of_the_long_one(net: Net, split: Split) -> None:
    long = evaluate(net, net, split, CLASSES, settings()).attacks
    short = measure(net, split, 4, LinfWalk(0.12, 0.03, 5, "uniform"), seed=0, chunk=10)
    for key, table in short.items():
        assert table.average == long[key]["accuracy"]["average"]
    assert (
        measure(net, split, 4, LinfWalk(0.12, 0.03, 5, "uniform"), seed=0, chunk=10, n=8)["pgd"].total.tolist()
        == [2] * 4
    )


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
