"""Several processes on one evaluation: each does its share of the chunks, and the scratch folder brings them together.

A chunk's verdicts depend on nothing but its images, seed and number, so who does it does not matter. Small networks
gain most: two threads on one pass of theirs wait for each other, two processes do not. Of several GPUs each has one.
"""

import mmap
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from absld.data.dataset import Split
from absld.device import cores
from absld.evaluation.curves import curve_attacks
from absld.evaluation.fingerprint import claim, fingerprint
from absld.evaluation.forward import Forward, float32
from absld.evaluation.plan import Attack, planned
from absld.evaluation.probes import probes
from absld.evaluation.telling import Telling
from absld.evaluation.verdicts import Bench, Share, Verdict
from absld.heap import keep_freed_memory
from absld.params.evaluate import Evaluate

MOST = 8
"""Processes; each holds a network, its activations and a Python of its own."""


@dataclass(frozen=True)
class Job:
    """All attacks on one network, as it is handed to each process."""

    network: nn.Module
    split: Split
    classes: Sequence[str]
    settings: Evaluate
    scratch: Path | None
    only: Sequence[str] | None = None
    """Keys of the attacks that are run; None: all that the settings ask for, the curves and the checks."""
    teacher: nn.Module | None = None

    def on(self, device: torch.device) -> "Job":
        """The same, with copies of its networks on `device`."""
        teacher = None if self.teacher is None else deepcopy(self.teacher).to(device)
        return replace(self, network=deepcopy(self.network).to(device), teacher=teacher)

    def begin(self, telling: Telling) -> tuple[Bench, list[Attack]]:
        """The network ready to be attacked, and the attacks."""
        settings, y = self.settings, self.split.y
        net = Forward(self.network, telling.work)
        teacher = None if self.teacher is None else Forward(self.teacher, telling.work)
        plan = planned(net, settings, y, self.classes)
        plan += curve_attacks(net, settings, y, self.classes) + probes(net, teacher, settings.eps, y)
        bench = Bench(
            net, self.split, len(self.classes), settings.seed, settings.chunk, settings.keep, telling, self.scratch
        )
        plan = [attack for attack in plan if self.only is None or attack.key in self.only]
        net.quicken(settings.chunk, sum(len(attack.rows) * attack.passes for attack in plan))
        return bench, plan


def examined(job: Job, processes: int, telling: Telling) -> tuple[dict[str, Verdict], list[Attack], Forward]:
    """The verdicts of all attacks, the attacks, and the network as it was judged.

    `telling` hears of the progress of our share, and of each attack's classes: on all images that are done when ours
    are, and once more at the end where others took longer.

    Raises:
        InputError: the scratch folder holds work of another network or other settings.

    """
    bench, plan = job.begin(telling)
    if job.scratch is not None:
        claim(job.scratch, fingerprint(job.network, job.teacher, job.split, job.settings, plan))
    together = min(processes, max(-(-len(attack.rows) // bench.chunk) for attack in plan))
    if together > 1 and job.scratch is not None:
        with _helped(job, bench.net.device, together):
            bench.work(plan, Share(0, together))
        bench = replace(bench, telling=Telling(on_classes=telling.classes))
    return bench.verdicts(plan), plan, bench.net


def worthwhile(device: torch.device) -> int:
    """As many processes as there are GPUs; on a CPU as cores allow, where each takes as many threads as this one."""
    return min(MOST, max(1, torch.cuda.device_count() if device.type == "cuda" else cores() // torch.get_num_threads()))


@contextmanager
def _helped(job: Job, device: torch.device, processes: int) -> Iterator[None]:
    """Let others do the other shares while the block runs, and wait for them; what they leave undone is done later."""
    context = get_context("spawn")
    threads = torch.get_num_threads() if device.type == "cpu" else max(1, torch.get_num_threads() // processes)
    portable = job.on(torch.device("cpu"))
    helpers = [
        context.Process(target=_help, args=(portable, Share(number, processes), theirs, threads), daemon=True)
        for number in range(1, processes)
        for theirs in [device if device.type == "cpu" else torch.device(device.type, number)]
    ]
    try:
        for helper in helpers:
            helper.start()
        yield
        for helper in helpers:
            helper.join()
    finally:
        for helper in helpers:
            if helper.is_alive():
                helper.terminate()
                helper.join()


def _by_path(array: "np.memmap[Any, Any]") -> tuple[Any, ...]:
    """An array that np.load has mapped is opened once more by whom it is sent to; a piece of one is copied."""
    if isinstance(array.base, mmap.mmap) and array.offset:
        return np.load, (array.filename, "r")
    return array.__reduce__()  # type: ignore[return-value]


ForkingPickler.register(np.memmap, _by_path)


def _help(job: Job, share: Share, device: torch.device, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with float32():
        bench, plan = job.on(device).begin(Telling())
        bench.work(plan, share)


def _end_with_the_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
