"""Who makes the runs of a sweep: GPUs, cores, numbers of runs; and that nobody goes on where the sweep itself fails."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from still_alive import survivors

from absld.errors import InputError
from absld.params.load import check
from absld.params.yaml_file import read_yaml
from absld.records.layout import RunKey
from pipeline import commands_of_sweeps, dvc, preflight, sweep
from pipeline.sweep import Sweep, Worker, workers

ROOT = Path(__file__).parents[1]
NINE = set(range(10, 19))
"""Cores that we may use, of more."""
linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to cores")


def test_every_gpu_gets_a_worker_and_more_workers_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    visible = "CUDA_VISIBLE_DEVICES"
    monkeypatch.delenv(visible, raising=False)
    assert [place.environment[visible] for place in workers(["a", "b"], None)] == ["0", "1"]
    assert [place.environment[visible] for place in workers(["a", "b"], 1)] == ["0"]
    three = workers(["a", "b"], 3)
    assert [place.environment[visible] for place in three] == ["0", "1", "0"]
    assert len({place.name for place in three}) == 3
    monkeypatch.setenv(visible, "3,GPU-7f")
    assert [place.environment[visible] for place in workers(["a", "b"], None)] == ["3", "GPU-7f"]


@pytest.mark.parametrize(
    ("number", "threads", "shares"),
    [
        (2, "4", [{10, 11, 12, 13}, {14, 15, 16, 17, 18}]),
        (9, "1", [{core} for core in range(10, 19)]),
        (18, "1", [{core} for core in range(10, 19) for _ in range(2)]),
    ],
)
@linux
def test_on_a_cpu_each_worker_has_its_own_cores(
    number: int, threads: str, shares: list[set[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: NINE)
    places = workers([], number)
    assert [place.environment for place in places] == [{"OMP_NUM_THREADS": threads}] * number
    assert [set(place.cores or ()) for place in places] == shares
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert workers([], number)[0].environment["OMP_NUM_THREADS"] == "7"


@pytest.mark.parametrize("number", [None, 1])
def test_one_worker_has_all_that_we_have(number: int | None) -> None:
    assert [(place.environment, place.cores) for place in workers([], number)] == [({}, None)]


# what a sweep starts -------------------------------------------------------------------------------------------------


@linux
def test_a_run_and_all_that_it_starts_stays_on_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = os.sched_getaffinity(0)
    asks = "python -c 'import os; print(sorted(os.sched_getaffinity(0)))'"
    monkeypatch.setattr(dvc, "of_one_run", lambda names: ["sh", "-c", f"{asks}; exit 0"])
    place = Worker("worker 1", {}, [max(allowed)])
    swept, _, _ = sweep.run(tmp_path, [RunKey("absld", 0)], [place], lambda _: None)
    assert swept.made[0].problem is None
    assert swept.made[0].log.read_text() == f"[{max(allowed)}]\n"
    assert os.sched_getaffinity(0) == allowed


def test_a_sweep_that_fails_itself_ends_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`absld sweep | head`: what is shown goes nowhere from some moment on."""
    monkeypatch.setattr(dvc, "of_one_run", lambda names: ["sleep", "300"])
    started: list[psutil.Process] = []

    def show(state: Sweep) -> None:
        started.extend(psutil.Process(job.child.pid) for job in state.at_work.values())
        if started:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        sweep.run(tmp_path, [RunKey("absld", seed) for seed in range(3)], workers([], 2), show)
    assert len(started) == 2
    assert not survivors(started)


# what is asked for ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "seeds"), [("0,1,2", "[0, 1, 2]"), ("0-2, 7", "[0, 1, 2, 7]"), ("4", "[4]")])
def test_seeds_are_numbers_and_ranges(text: str, seeds: str) -> None:
    assert commands_of_sweeps._lists("rslad, absld", text) == ["runs.methods=[rslad, absld]", f"runs.seeds={seeds}"]


@pytest.mark.parametrize("text", ["", "a", "3-1", "1..3", "-1"])
def test_what_is_no_seed_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="like 0,1,2 or 0-4"):
        commands_of_sweeps._lists(None, text)


@pytest.mark.parametrize("text", ["0-9999999999", "2147483648", "0-10000", "0-9999,10000", "2147483640-2147483650"])
def test_seeds_that_are_too_many_or_too_large_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"10,000"):
        commands_of_sweeps._lists(None, text)


@pytest.mark.parametrize("number", [None, 2])
def test_a_run_that_wants_several_gpus_is_refused_where_each_has_one(
    number: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    document: Any = read_yaml(ROOT / "params.yaml")
    document["train"] |= {"processes": 2, "device": "auto"}
    params = check(document, ROOT / "params.yaml")
    monkeypatch.setattr(preflight, "devices", lambda root: {"cuda": ["H100", "H100"]})
    with pytest.raises(InputError, match=r"train\.processes: 2: each takes a GPU, and each run of a sweep has one"):
        commands_of_sweeps._workers(ROOT, params, number)
    document["train"]["processes"] = "auto"
    assert len(commands_of_sweeps._workers(ROOT, check(document, ROOT / "params.yaml"), number)) == 2
    monkeypatch.setattr(preflight, "devices", lambda root: {"cuda": []})
    assert len(commands_of_sweeps._workers(ROOT, params, number)) == (number or 1)
