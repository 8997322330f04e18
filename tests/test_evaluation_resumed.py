"""Killed, shared among processes, short of memory: the verdicts are the same, and nothing foreign is mixed in."""

import pickle
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from small_evaluations import (
    CLASSES,
    STANDARD,
    Killed,
    KilledAfter,
    Net,
    assert_same,
    labelled,
    settings,
    small_budgets,
    trained,
)
from torch import Tensor, nn

from absld.attacks import autoattack
from absld.data.dataset import Split
from absld.errors import InputError
from absld.evaluation.arrays import read_npz, write_npz
from absld.evaluation.evaluate import evaluate
from absld.evaluation.fingerprint import claim, fingerprint
from absld.evaluation.telling import Telling
from absld.evaluation.verdicts import Share
from absld.evaluation.workers import Job, examined, worthwhile
from absld.statistics.metrics import ClassTable
from absld.watch.progress import class_line


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


WHOLE = settings(aa=True, curves={"n": 20, "eps": [0.05], "steps": [2]})


@pytest.mark.usefixtures("_small_budgets")
def test_an_evaluation_killed_anywhere_goes_on_as_if_nothing_had_been(net: Net, split: Split, tmp_path: Path) -> None:
    other = Net().eval()
    undisturbed = evaluate(net, other, split, CLASSES, WHOLE, teacher=other)
    kills = 0
    while True:
        try:
            found = evaluate(
                net,
                other,
                split,
                CLASSES,
                WHOLE,
                teacher=other,
                scratch=tmp_path,
                on_progress=KilledAfter(3 + 11 * kills),
            )
            break
        except Killed:
            kills += 1
            torch.manual_seed(kills)
    assert kills >= 3
    assert_same(found, undisturbed)


def test_finished_chunks_are_read_back_and_not_computed_again(net: Net, split: Split, tmp_path: Path) -> None:
    found = evaluate(net, net, split, CLASSES, settings(), scratch=tmp_path)
    files = sorted(tmp_path.glob("*/*.npz"))
    assert len(files) == 5 * (4 + 2) + 3 * 5
    written = {file: file.stat().st_mtime_ns for file in files}
    assert_same(evaluate(net, net, split, CLASSES, settings(), scratch=tmp_path), found)
    assert {file: file.stat().st_mtime_ns for file in files} == written
    write_npz(tmp_path / "best/pgd-00000.npz", read_npz(tmp_path / "best/clean-00000.npz"))
    again = evaluate(net, net, split, CLASSES, settings(), scratch=tmp_path)
    np.testing.assert_array_equal(again.verdicts["pgd"][:10], found.verdicts["clean"][:10])
    assert not np.array_equal(again.verdicts["pgd"][:10], found.verdicts["pgd"][:10])


def test_what_was_done_before_is_no_work_of_now(net: Net, split: Split, tmp_path: Path) -> None:
    """The bar begins where the last one ended, so nothing that was read back counts as speed."""
    clean, pgd = 44 * 1, 44 * (5 * 3 + 1)
    job = Job(net, split, CLASSES, settings(), tmp_path, only=["clean", "pgd"])
    examined(job, 1, Telling())
    for number in (2, 4):
        (tmp_path / f"pgd-{number:05d}.npz").unlink()
    left = 14 * (5 * 3 + 1)  # the third chunk, of ten images, and the last, of four
    told: list[int] = []
    examined(job, 1, Telling(lambda text, done, total: told.append(done)))
    assert told[0] == 100 * (clean + pgd - left) // (clean + pgd)
    assert told == sorted(told)
    assert told[-1] == 100


def test_a_chunk_that_a_power_cut_has_spoilt_is_done_again(net: Net, split: Split, tmp_path: Path) -> None:
    job = Job(net, split, CLASSES, settings(), tmp_path, only=["clean", "fgsm", "pgd"])
    undisturbed, _, _ = examined(job, 1, Telling())
    whole = (tmp_path / "pgd-00001.npz").read_bytes()
    for name, content in (("clean-00000", b""), ("fgsm-00002", bytes(len(whole))), ("pgd-00001", whole[:-99])):
        (tmp_path / f"{name}.npz").write_bytes(content)
    bench, plan = job.begin(Telling())
    bench.work(plan, Share(1, 2))  # asks about the others' chunks, which are not its own to mend
    found, _, _ = examined(job, 1, Telling())
    for key, verdict in undisturbed.items():
        np.testing.assert_array_equal(found[key].label, verdict.label)
    assert (tmp_path / "pgd-00001.npz").read_bytes() == whole


class Heavier(Net):
    """The same weights, another function."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def heavier(net: Net) -> Net:
    other = Heavier()
    other.load_state_dict(net.state_dict())
    return other.eval()


def moved(net: Net) -> Net:
    other = deepcopy(net)
    with torch.no_grad():
        other.head.bias[0] += 1e-6
    return other


def brighter(split: Split) -> Split:
    x = split.x.copy()
    x[7, 0, 0, 0] ^= 1
    return Split(x, split.y)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda job: replace(job, network=moved(job.network)), "weights_sha256 was"),
        (lambda job: replace(job, network=heavier(job.network)), "layers_sha256 was"),
        (lambda job: replace(job, split=brighter(job.split)), "data_sha256 was"),
        (lambda job: replace(job, teacher=job.network), "teacher_sha256 was None and is"),
        (lambda job: replace(job, settings=settings(eps=0.1)), "eps was 0.12 and is 0.1; attacks.fgsm.step was"),
        (lambda job: replace(job, settings=settings(chunk=11)), "chunk was 10 and is 11"),
        (lambda job: replace(job, settings=settings(keep=5)), "keep was 6 and is 5"),
        (lambda job: replace(job, settings=settings(pgd=20)), "attacks.pgd.n was 44 and is 20"),
        (lambda job: replace(job, settings=settings().model_copy(update={"seed": 3})), "seed was 0 and is 3"),
    ],
    ids=["weights", "layers", "data", "teacher", "eps", "chunk", "keep", "pgd", "seed"],
)
def test_unfinished_work_of_something_else_is_not_gone_on_with(
    net: Net, split: Split, tmp_path: Path, change: Callable[[Job], Job], named: str
) -> None:
    job = Job(net, split, CLASSES, settings(), tmp_path)
    examined(job, 1, Telling())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match=re.escape(named)):
        examined(change(job), 1, Telling())
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_another_version_is_named(net: Net, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(net, split, CLASSES, settings(), tmp_path)
    examined(job, 1, Telling())
    monkeypatch.setattr("absld.evaluation.fingerprint.version", lambda name: "0.0")
    with pytest.raises(InputError, match=r"versions\.torch was .* and is 0\.0; versions\.pyautoattack was"):
        examined(job, 1, Telling())


def test_chunks_of_nobody_are_refused(net: Net, split: Split, tmp_path: Path) -> None:
    write_npz(tmp_path / "clean-00000.npz", {"label": np.zeros(10, np.int16)})
    for content in (None, ""):
        if content is not None:
            (tmp_path / "fingerprint.json").write_text(content)
        with pytest.raises(
            InputError, match=r"chunks but no fingerprint\.json that .* to begin anew, delete the folder"
        ):
            examined(Job(net, split, CLASSES, settings(), tmp_path), 1, Telling())


def test_a_mapped_file_is_sent_by_its_path_and_a_piece_of_it_is_not(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(100_000))
    whole = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array, most in ((whole, 1000), (whole[::-1], 10**7)):
        sent = bytes(ForkingPickler.dumps(array))
        assert len(sent) < most
        np.testing.assert_array_equal(pickle.loads(sent), array)
    assert len(bytes(ForkingPickler.dumps(whole[::-1]))) > 1000


def test_each_attack_that_ends_tells_its_classes(net: Net, split: Split) -> None:
    told: dict[str, ClassTable] = {}
    found = evaluate(net, None, split, CLASSES, settings(pgd=20), on_classes=told.__setitem__)
    assert list(told) == ["clean", "fgsm", "pgd", "cw"]
    for key, table in told.items():
        assert table.total.sum() == found.attacks[key]["n"]
        assert table.accuracy.tolist() == list(found.attacks[key]["accuracy"]["per_class"].values())


def test_with_several_processes_the_classes_are_those_of_all_finished_chunks(
    net: Net, split: Split, tmp_path: Path
) -> None:
    """The other process has done its share of all but the last attack. 44 images are 5 chunks; of CW, at place 3 of the
    plan, the chunks 1 and 3 are ours.
    """
    told: list[tuple[str, ClassTable]] = []
    telling = Telling(on_classes=lambda attack, table: told.append((attack, table)))
    job = Job(net, split, CLASSES, settings(), tmp_path, only=["clean", "fgsm", "pgd", "cw"])
    bench, plan = job.begin(telling)
    replace(bench, telling=Telling()).work(plan[:3], Share(1, 2))
    bench.work(plan, Share(0, 2))
    assert [(key, int(table.total.sum())) for key, table in told] == [
        ("clean", 44), ("fgsm", 44), ("pgd", 44), ("cw", 20),
    ]  # fmt: skip
    told.clear()
    found = replace(bench, telling=Telling(on_classes=telling.classes)).verdicts(plan)
    [(key, table)] = told  # the others were whole already
    assert key == "cw"
    assert table.correct.tolist() == found["cw"].table(4).correct.tolist()


def test_the_line_of_an_attack_that_ended() -> None:
    few = class_line("pgd", ["cat", "dog"], ClassTable(np.array([1, 3]), np.array([4, 3])))
    assert few == "pgd       n 7   cat  25.0   dog 100.0"
    many = class_line("clean", [f"c{i}" for i in range(12)], ClassTable(np.arange(12), np.full(12, 12)))
    assert many.startswith("clean     n 144   lowest   c0   0.0   c1   8.3")
    assert "c9" in many
    assert "c10" not in many


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
    bench, plan = job.begin(Telling())
    claim(tmp_path, fingerprint(net, None, split, settings(), plan))
    bench.work(plan, Share(1, 3))
    attacks = ("fgsm", "pgd", "cw")
    assert [len(list(tmp_path.glob(f"{key}-*.npz"))) for key in attacks] == [2, 1, 2]
    found, _, _ = examined(job, 1, Telling())
    undisturbed, _, _ = examined(replace(job, scratch=None), 1, Telling())
    for key, verdict in undisturbed.items():
        np.testing.assert_array_equal(found[key].survived, verdict.survived)


def test_processes_are_as_many_as_cores_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)), raising=False)
    for threads, processes in ((1, 6), (2, 3), (4, 1), (8, 1)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert (worthwhile(cpu), worthwhile(gpu)) == (processes, 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert worthwhile(gpu) == 3


def test_the_random_numbers_of_everyone_else_are_left_alone(net: Net, split: Split) -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    first = evaluate(net, net, split, CLASSES, settings())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    assert_same(evaluate(net, net, split, CLASSES, settings()), first)


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


@pytest.mark.usefixtures("_small_budgets")
def test_lack_of_memory_splits_the_pass_and_not_the_chunk(net: Net, split: Split) -> None:
    split = Split(split.x[:20], split.y[:20])
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
