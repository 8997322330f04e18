"""Many runs at once: a worker for each device takes one run after another and makes its stages with DVC.

DVC decides what is up to date, restores from its cache and records, as in `absld repro`; it lets go of its lock while a
stage works (docs/adr/0013).
"""

import os
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from absld.errors import InputError
from absld.params.root import Params
from absld.records.layout import RunKey
from pipeline import dvc, processes
from pipeline.outcome import why
from pipeline.publish import item, keys
from stages.contracts import ALL, EVALUATE, EXPORT, REPORT, TRAIN

OF_A_RUN = (TRAIN, EVALUATE, EXPORT)
SHARED = tuple(stage.name for stage in ALL if stage not in (*OF_A_RUN, REPORT))
"""What all runs need: made once, before the first of them begins."""
LOGS = Path(".absld/sweep")
PINNED = hasattr(os, "sched_setaffinity")
"""Whether the system can keep a process on some of its cores."""


@dataclass(frozen=True, eq=False)
class Worker:
    """Where runs are made, one at a time."""

    name: str
    """``GPU 0``, ``worker 1``."""
    environment: Mapping[str, str]
    cores: Collection[int] | None = None
    """Those that its runs may use; None: all."""


class Made(NamedTuple):
    """How a run ended."""

    key: RunKey
    seconds: float
    problem: str | None
    """The stage that failed, and why; None: all is made."""
    log: Path
    """What its stages printed."""


@dataclass
class Sweep:
    """How it stands."""

    waiting: list[RunKey]
    at_work: dict[Worker, "Job"] = field(default_factory=dict)
    made: list[Made] = field(default_factory=list)

    @property
    def failed(self) -> list[Made]:
        """The runs that are not what they should be."""
        return [made for made in self.made if made.problem is not None]


@dataclass(frozen=True)
class Job:
    """A run that a worker makes."""

    key: RunKey
    child: processes.Child
    log: Path
    began: float = field(default_factory=time.monotonic)
    began_at: float = field(default_factory=time.time)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began


def workers(devices: Sequence[object], number: int | None) -> list[Worker]:
    """One for each GPU, else one; or as many as are asked for, which then share the GPUs, or the processor's cores.

    Args:
        devices: the GPUs that torch finds and params.yaml lets it use.
        number: how many are asked for.

    """
    if devices:
        listed = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = listed.split(",") if listed else [str(index) for index in range(len(devices))]
        gpus = [names[index % len(devices)] for index in range(number or len(devices))]
        shared = len(gpus) > len(devices)
        return [
            Worker(f"GPU {gpu}, worker {index}" if shared else f"GPU {gpu}", {"CUDA_VISIBLE_DEVICES": gpu})
            for index, gpu in enumerate(gpus, start=1)
        ]
    if number in (None, 1):
        return [Worker("worker 1", {})]
    return _sharing_cores(number)


def unfinished(params: Params, changed: Container[str]) -> list[RunKey]:
    """The runs of params.yaml that differ from their last time in at least one stage."""
    return [key for key in keys(params) if any(item(stage, key) in changed for stage in OF_A_RUN)]


def run(
    root: Path,
    todo: Sequence[RunKey],
    places: Sequence[Worker],
    show: Callable[[Sweep], None],
    *,
    grace: float = processes.GRACE_SECONDS,
) -> tuple[Sweep, Signals | None, bool]:
    """Make all runs; one that fails costs the others nothing.

    Args:
        root: the project's folder.
        todo: the runs, in the order in which they begin.
        places: the workers.
        show: is told how it stands, several times a second.
        grace: how many seconds a stage may take to end when we are told to stop.

    Returns:
        How it ended, the signal that ended it, and whether something had to be killed.

    """
    sweep, killed = Sweep(list(todo)), False
    with processes.listening() as heard:
        try:
            while (sweep.waiting or sweep.at_work) and not heard:
                _step(root, sweep, places)
                show(sweep)
                time.sleep(0.1)
                _collect(root, sweep)
            show(sweep)
        finally:  # told to stop, or unable to go on: nobody listens to what we print, the disk is full
            if sweep.at_work:
                killed = processes.end([job.child for job in sweep.at_work.values()], heard, grace)
        return sweep, heard[0] if heard else None, killed


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One sweep at a time.

    Raises:
        InputError: there is another one.

    """
    from filelock import FileLock, Timeout

    lock = FileLock(root / ".absld" / "sweep.lock", timeout=0)
    lock_folder = root / ".absld"
    lock_folder.mkdir(exist_ok=True)
    try:
        with lock:
            yield
    except Timeout:
        raise InputError("another `absld sweep` is at work in this project: wait for it, or end it") from None


def _sharing_cores(number: int) -> list[Worker]:
    """Each with its part of the cores; where there are fewer than workers, with one that it shares."""
    allowed = sorted(os.sched_getaffinity(0)) if PINNED else list(range(os.cpu_count() or 1))
    threads = os.environ.get("OMP_NUM_THREADS", str(max(len(allowed) // number, 1)))
    bounds = [index * len(allowed) // number for index in range(number + 1)]
    shares = [allowed[start : max(stop, start + 1)] for start, stop in pairwise(bounds)]
    return [
        Worker(f"worker {index}", {"OMP_NUM_THREADS": threads}, share if PINNED else None)
        for index, share in enumerate(shares, start=1)
    ]


def _step(root: Path, sweep: Sweep, places: Sequence[Worker]) -> None:
    """Give work to those that have none."""
    for place in places:
        if sweep.waiting and place not in sweep.at_work:
            sweep.at_work[place] = _start(root, sweep.waiting.pop(0), place)


def _start(root: Path, key: RunKey, place: Worker) -> Job:
    command = dvc.of_one_run([item(stage, key) for stage in OF_A_RUN])
    log = root / LOGS / f"{key}.log"
    environment = {**dvc.environment(), **place.environment}
    with _on(place.cores):
        return Job(key, processes.start(command, cwd=root, env=environment, output=log), log)


@contextmanager
def _on(cores: Collection[int] | None) -> Iterator[None]:
    """What is started meanwhile runs on these cores, and so does all that it starts."""
    if cores is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _collect(root: Path, sweep: Sweep) -> None:
    """Take note of the runs that have ended."""
    for place, job in list(sweep.at_work.items()):
        if job.child.poll() is not None:
            del sweep.at_work[place]
            sweep.made.append(_end_of(root, job))


def _end_of(root: Path, job: Job) -> Made:
    code = job.child.wait()
    if code < 0:  # DVC itself was killed: what it had started goes too
        processes.end([job.child], [])
    problem = None if code == 0 else why(root, job.key, job.log, job.began_at)
    return Made(job.key, job.seconds, problem, job.log)
