"""A child process that never outlives us: what we are told to stop, it and all that it started is told too."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil

GRACE_SECONDS = 20.0
"""How long a stage may take to say goodbye: an epoch in a compiled kernel, a checkpoint, MLflow."""
Child = subprocess.Popen[bytes]
TOLD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ended(NamedTuple):
    """How a child ended."""

    code: int
    """Its exit code; negative: the signal that ended it."""
    told: signal.Signals | None
    """The signal that we were sent meanwhile."""
    killed: bool
    """Whether something had to be killed because it did not go by itself."""


def run(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], grace: float = GRACE_SECONDS) -> Ended:
    """Run a command to its end, in a session of its own, with our standard output.

    Signals that we get are passed on to all that it started, SIGHUP as SIGTERM. What has not gone after `grace`
    seconds, or at our second signal, is killed.
    """
    with listening() as heard:
        child = start(command, cwd=cwd, env=env)
        while child.poll() is None and not heard:
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.1)
        killed = False
        if heard or (child.returncode is not None and child.returncode < 0):
            killed = end([child], heard, grace)
        return Ended(child.wait(), heard[0] if heard else None, killed)


def start(command: Sequence[str], *, cwd: Path, env: Mapping[str, str], output: Path | None = None) -> Child:
    """Start a command in a session of its own. What it prints goes to `output`, else where ours goes."""
    if output is None:
        return subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(
            command, cwd=cwd, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip


@contextmanager
def listening() -> Iterator[list[signal.Signals]]:
    """Signals that arrive meanwhile are noted down and do nothing else."""
    heard: list[signal.Signals] = []

    def note(number: int, _: FrameType | None) -> None:
        heard.append(signal.Signals(number))

    if threading.current_thread() is not threading.main_thread():  # Python takes signals in the main thread only
        yield heard
        return
    before = {number: signal.signal(number, note) for number in TOLD}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end(children: Sequence[Child], heard: list[signal.Signals], grace: float = GRACE_SECONDS) -> bool:
    """End the children and all that they started. Returns whether something had to be killed.

    Args:
        children: started by `start`; some may have ended.
        heard: what we were sent; a second signal that arrives meanwhile ends the patience.
        grace: seconds until what is left is killed.

    """
    first = signal.SIGINT if heard[:1] == [signal.SIGINT] else signal.SIGTERM
    family = _families(children)
    _send(family, first)
    deadline = time.monotonic() + grace
    while alive := _alive(family | _families(children)):
        for child in children:
            child.poll()  # a child that is not waited for stays in the list of processes
        if time.monotonic() > deadline or len(heard) > 1:
            _send(alive, signal.SIGKILL)
            return True
        time.sleep(0.05)
    return False


def _families(children: Sequence[Child]) -> "set[psutil.Process]":
    """The processes of the children's sessions, and their descendants in other sessions (torchrun's workers)."""
    import psutil

    found, leaders = set(), {child.pid for child in children}
    for leader in leaders:
        with suppress(psutil.NoSuchProcess):
            found |= {psutil.Process(leader), *psutil.Process(leader).children(recursive=True)}
    for process in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(process.pid) in leaders:
                found.add(process)
    return found


def _alive(processes: "set[psutil.Process]") -> "set[psutil.Process]":
    import psutil

    def lives(process: "psutil.Process") -> bool:
        try:
            return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    return {process for process in processes if lives(process)}


def _send(processes: "set[psutil.Process]", number: signal.Signals) -> None:
    import psutil

    for process in processes:
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
