"""The evaluation as a whole: which images, which numbers, what is written."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from small_evaluations import CLASSES, WALKS, Net, labelled, settings, small_budgets, trained

from absld.attacks.gradient import pgd
from absld.attacks.linf_walk import LinfWalk
from absld.data.dataset import Split, to_images
from absld.evaluation.arrays import read_npz, write_npz
from absld.evaluation.evaluate import Evaluation, evaluate
from absld.evaluation.forward import Forward
from absld.evaluation.measure import measure
from absld.evaluation.selection import balanced, chunks
from absld.evaluation.verdicts import Kept, fewest
from absld.records.attacks import AUTOATTACK
from absld.records.files import sha256_of
from absld.seeds import stream


@pytest.fixture(scope="module")
def split() -> Split:
    return labelled()


@pytest.fixture(scope="module")
def net() -> Net:
    return trained()


@pytest.fixture(scope="module")
def _small_budgets() -> Iterator[None]:
    with small_budgets():
        yield


@pytest.fixture(scope="module")
def found(net: Net, split: Split, _small_budgets: None) -> Evaluation:
    """One evaluation with everything, PGD on 20 images only."""
    return evaluate(net, net, split, CLASSES, settings(aa=True, pgd=20))


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


@pytest.mark.usefixtures("_small_budgets")
def test_with_no_room_to_move_every_attack_gives_the_clean_verdicts(net: Net, split: Split) -> None:
    found = evaluate(net, net, split, CLASSES, settings(eps=0.0, aa=True))
    assert found.verdicts["clean"].sum() > 0
    for key in (*WALKS, *AUTOATTACK, "aa"):
        np.testing.assert_array_equal(found.verdicts[key], found.verdicts["clean"], err_msg=key)
        assert key in AUTOATTACK or found.attacks[key]["accuracy"] == found.attacks["clean"]["accuracy"]
    assert found.adversarial["aa_x"].shape == (0, 1, 6, 6)


def test_the_cascade_loses_images_part_by_part(found: Evaluation) -> None:
    left = found.verdicts
    for before, after in zip(("clean", *AUTOATTACK), (*AUTOATTACK, "aa"), strict=True):
        assert (left[before] >= left[after]).all()
    assert left["aa"].sum() < left["clean"].sum() < 44


@pytest.mark.parametrize(
    ("wanted", "run", "version", "judged"),
    [
        (["apgd_t", "apgd_ce"], ["apgd_ce", "apgd_t"], "standard without FAB-T, Square", False),
        (["square", "apgd_ce"], ["apgd_ce", "square"], "standard without APGD-T, FAB-T", True),
        (["square"], ["square"], "standard without APGD-CE, APGD-T, FAB-T", False),
        (["square", "fab_t"], ["fab_t", "square"], "standard without APGD-CE, APGD-T", False),
    ],
)
@pytest.mark.usefixtures("_small_budgets")
def test_parts_of_autoattack_are_a_cascade_of_their_own(
    net: Net, split: Split, found: Evaluation, wanted: list[str], run: list[str], version: str, judged: bool
) -> None:
    some = evaluate(net, None, split, CLASSES, settings(aa=wanted))
    assert [key for key in some.verdicts if key in AUTOATTACK] == run
    for before, after in pairwise(["clean", *run, "aa"]):
        assert (some.verdicts[before] >= some.verdicts[after]).all()
    np.testing.assert_array_equal(some.verdicts["aa"], some.verdicts[run[-1]])
    aa = some.attacks["aa"]["settings"]
    assert (aa["version"], aa["standard"]) == (version, False)
    assert set(aa["left_out"]) == set(AUTOATTACK) - set(run)
    assert list(aa["parts"]) == run
    assert ("square_beats_apgd" in some.checks) is judged
    if run[0] == "apgd_ce":  # it met the same images with the same seed as in the whole cascade
        np.testing.assert_array_equal(some.verdicts["apgd_ce"], found.verdicts["apgd_ce"])
    if run == ["apgd_ce", "apgd_t"]:
        np.testing.assert_array_equal(some.verdicts["aa"], found.verdicts["apgd_t"])


@pytest.mark.usefixtures("_small_budgets")
def test_square_alone_need_not_outdo_pgd(net: Net, split: Split) -> None:
    """PGD leaves fewer than Square with few queries, which is no sign of masked gradients."""
    alone = evaluate(net, None, split, CLASSES, settings(aa=["square"]))
    assert alone.verdicts["pgd"].sum() + 5 < alone.verdicts["aa"].sum()
    assert alone.checks["attack_order"]["passed"]
    assert "aa" not in alone.checks["attack_order"]["detail"]


def test_the_network_is_left_as_it_was(net: Net, split: Split) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(net, net, split, CLASSES, settings())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_class_wise_verdicts_add_up_to_the_averages_exactly(found: Evaluation) -> None:
    for key, block in found.attacks.items():
        rows = found.verdicts.get(f"{key}_index", np.arange(44))
        y, survived = found.verdicts["y"][rows], found.verdicts[key]
        right, images = np.zeros(4, int), np.zeros(4, int)
        for label, verdict in zip(y.tolist(), survived.tolist(), strict=True):
            right[label] += verdict
            images[label] += 1
        rates = [int(a) / int(b) for a, b in zip(right, images, strict=True)]
        assert list(block["accuracy"]["per_class"].values()) == rates
        assert block["accuracy"]["average"] == sum(rates) / 4
        assert block["accuracy"]["micro"] == int(right.sum()) / len(y)
        assert block["accuracy"]["worst"] == min(rates)


def test_confusion_counts_every_attacked_image_once(found: Evaluation) -> None:
    for key, block in found.attacks.items():
        rows = found.verdicts.get(f"{key}_index", np.arange(44))
        y, label = found.verdicts["y"][rows], found.verdicts[f"{key}_label"]
        np.testing.assert_array_equal(label == y, found.verdicts[key])
        assert list(block["confusion"]) == CLASSES
        for number, true in enumerate(CLASSES):
            counted = {CLASSES[other]: int(((y == number) & (label == other)).sum()) for other in range(4)}
            assert block["confusion"][true] == {name: n for name, n in counted.items() if n}
    assert any(true not in row or len(row) > 1 for true, row in found.attacks["aa"]["confusion"].items())


def test_labels_are_those_of_the_kept_examples(net: Net, found: Evaluation) -> None:
    for key in ("fgsm", "pgd", "cw", "aa"):
        rows = found.verdicts.get(f"{key}_index", np.arange(44))
        places = np.searchsorted(rows, found.adversarial[f"{key}_index"])
        label = net(torch.from_numpy(found.adversarial[f"{key}_x"])).argmax(1).numpy()
        np.testing.assert_array_equal(found.verdicts[f"{key}_label"][places], label)


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4)), st.integers(0, 12), st.data())
def test_keeping_few_of_each_part_keeps_what_keeping_all_would(y: np.ndarray, n: int, data: st.DataObject) -> None:
    part = data.draw(hnp.arrays(np.int64, len(y), elements=st.integers(0, 3)))
    kept = [
        Kept(rows, rows[:, None, None, None].astype(np.float32))
        for rows in (np.flatnonzero(part == p) for p in range(3))
    ]
    few = fewest([fewest([one], y, n) for one in kept], y, n)
    rows = np.flatnonzero(part < 3)
    np.testing.assert_array_equal(few.rows, rows[balanced(y[rows], n)])
    np.testing.assert_array_equal(few.x.ravel(), few.rows)


def test_no_more_examples_are_held_than_will_be_written(net: Net, split: Split, tmp_path: Path) -> None:
    few = evaluate(net, None, split, CLASSES, settings(keep=2, aa=True, eps=0.3), scratch=tmp_path)
    parts = [read_npz(file) for file in (tmp_path / "best").glob("*.npz")]
    assert max(len(part["kept_rows"]) for part in parts) == 2
    assert len(few.adversarial["aa_index"]) == 2


def test_a_single_model_needs_no_last_epoch(net: Net, split: Split) -> None:
    both, alone = (evaluate(net, last, split, CLASSES, settings()) for last in (net, None))
    assert alone.last == {}
    assert (alone.attacks, alone.checks) == (both.attacks, both.checks)


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
    assert aa["left_out"] == []
    assert aa["implementation"].startswith("pyautoattack ")
    assert list(aa["parts"]) == list(AUTOATTACK)
    assert aa["parts"]["square"] == found.attacks["aa"]["accuracy"]["average"]
    assert list(found.checks) == [
        "attack_order", "deterministic", "gradient_not_zero", "huge_eps", "logit_scale", "square_beats_apgd"
    ]  # fmt: skip
    assert found.curves is None
    json.dumps([found.attacks, found.last, found.checks], allow_nan=False)


def test_capped_attacks_say_which_images_they_saw(split: Split, found: Evaluation) -> None:
    verdicts = found.verdicts
    np.testing.assert_array_equal(verdicts["pgd_index"], balanced(split.y, 20))
    assert verdicts["pgd"].shape == (20,)
    assert "cw_index" not in verdicts
    assert verdicts["y"].tolist() == split.y.tolist()
    keys = (*WALKS, *AUTOATTACK, "aa")
    assert {verdicts[key].dtype for key in keys} == {np.dtype(bool)}
    assert {verdicts[f"{key}_label"].dtype for key in keys} == {np.dtype(np.int16)}
    assert verdicts.keys() == {"y", "pgd_index", *keys, *(f"{key}_label" for key in keys)}


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
