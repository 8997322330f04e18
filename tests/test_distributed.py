"""Two processes that share every batch are one process, to rounding; whatever the method does with its batch."""

import pytest
import torch
from torch import Tensor
from two_processes import EPOCHS, SPEC, Found, all_of_it, by

from absld import distributed
from absld.methods.registry import METHODS
from absld.networks.zoo import build


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    return by(2, all_of_it, tmp_path_factory.mktemp("distributed") / "two")


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return all_of_it(tmp_path_factory.mktemp("alone"))


def close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_are_one(name: str, one: Found, two: list[Found]) -> None:
    """Uneven shares, random starts, BatchNorm in attack and training, validation, class sums, the method's memory."""
    alone, shared = one[name], two[0][name]
    for key, value in alone["weights"].items():
        assert close(shared["weights"][key], value, 1e-6), key
    for key, value in alone["state"].items():
        assert close(shared["state"][key], value, 1e-5), key
    assert [row[:3] for row in shared["rows"]] == [row[:3] for row in alone["rows"]]
    for ours, theirs in zip(shared["rows"], alone["rows"], strict=True):
        assert ours[3] == pytest.approx(theirs[3], rel=1e-5, abs=1e-6), ours


def test_two_processes_are_one_in_bfloat16_too(one: Found, two: list[Found]) -> None:
    """To its rounding: losses, risks and temperatures, statistics, and where the weights have gone."""
    alone, shared = one["bfloat16"], two[0]["bfloat16"]
    for ours, theirs in zip(shared["rows"], alone["rows"], strict=True):
        if not ours[1].startswith("validation"):  # which counts few images
            assert ours[3] == pytest.approx(theirs[3], rel=0.03), ours
    for key, value in alone["weights"].items():
        assert torch.allclose(shared["weights"][key].float(), value.float(), rtol=0.02, atol=5e-3), key
    torch.manual_seed(1)
    start = build(SPEC)
    alone_moved, shared_moved = (
        torch.cat([(found["weights"][key] - value.detach()).flatten() for key, value in start.named_parameters()])
        for found in (alone, shared)
    )
    assert torch.cosine_similarity(alone_moved, shared_moved, dim=0) > 0.98
    assert not torch.equal(alone_moved, shared_moved)


@pytest.mark.parametrize("name", [*METHODS, "fast", "bfloat16"])
def test_both_processes_hold_the_same(name: str, two: list[Found]) -> None:
    first, second = (found[name] for found in two)
    assert first["rows"] == second["rows"]
    assert first["best"] == second["best"]
    for part in ("state", "weights"):
        assert all(torch.equal(value, second[part][key]) for key, value in first[part].items())


def test_temperatures_have_moved(two: list[Found]) -> None:
    """So the test above compares something."""
    tau = two[0]["absld"]["state"]["tau_adv"]
    assert tau.unique().numel() > 1


def test_the_fast_engine_remembers_all_logits_in_each_process(one: Found, two: list[Found]) -> None:
    """Nothing is augmented, so the second epoch asks nothing, whoever had an image in the first."""
    losses = [[row[3] for row in found["fast"]["rows"] if row[1] == "train/loss"] for found in (one, *two)]
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-3)
    assert [found["fast"]["report"]["teacher_hit_rate"] for found in (one, *two)] == [(EPOCHS - 1) / EPOCHS] * 3


def test_two_processes_go_on_from_a_checkpoint(two: list[Found]) -> None:
    for found in two:
        whole, resumed = found["fast"], found["resumed"]
        assert whole["rows"] == resumed["rows"]
        assert all(torch.equal(value, resumed["weights"][key]) for key, value in whole["weights"].items())


def test_one_process_is_everyone() -> None:
    x = torch.rand(5)
    assert distributed.rows(5) == slice(0, 5)
    assert distributed.total(x) is x
    assert distributed.highest(x) is x
    with distributed.part_of(9):
        assert distributed.drawn(torch.zeros_like, x).shape == x.shape


@pytest.mark.parametrize("processes", range(1, 6))
@pytest.mark.parametrize("count", [0, 3, 7, 64])
def test_shares_are_all_of_a_batch(processes: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    monkeypatch.setattr(distributed, "world", lambda: processes)
    for number in range(processes):
        monkeypatch.setattr(distributed, "rank", lambda number=number: number)
        shares += list(range(count))[distributed.rows(count)]
        assert len(range(count)[distributed.rows(count)]) in (count // processes, distributed.largest(count))
    assert shares == list(range(count))
