"""A child process that never outlives us: what we are told to stop, it and all that it started is told too.

Where we were killed ourselves, nobody could tell it: the next command finds it by the mark in its environment.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
MARK = "ABSLD_STARTED_BY"
"""Set for all that a command starts: the command's process, where that number is known, and the project's folder."""


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
    marked = {**env, MARK: f"{os.getpid()} {_mark_of(cwd)}"}
    if output is None:
        return subprocess.Popen(command, cwd=cwd, env=marked, start_new_session=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        return subprocess.Popen(
            command, cwd=cwd, env=marked, start_new_session=True,
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
    killed = _end(lambda: _families(children), first, heard, grace)
    for child in children:
        child.wait()
    return killed


def end_left_over(root: Path, grace: float = GRACE_SECONDS) -> int:
    """End what commands in this project left at work because they were killed. Returns how many processes that were."""
    with listening() as heard:
        found = len(_left_over(root))
        if found:
            _end(lambda: _left_over(root), signal.SIGTERM, heard, grace)
        return found


def _end(
    find: "Callable[[], set[psutil.Process]]", first: signal.Signals, heard: list[signal.Signals], grace: float
) -> bool:
    """Tell the processes to end, then kill those that are left. Returns whether there were any."""
    family = find()
    _send(family, first)
    deadline = time.monotonic() + grace
    while alive := _alive(family | find()):
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


def _mark_of(root: Path) -> str:
    """The project here: a container that sees the same folder has other numbers for its processes."""
    with suppress(OSError):
        return f"{Path('/proc/self/ns/pid').readlink()} {root.resolve()}"
    return str(root.resolve())


def _left_over(root: Path) -> "set[psutil.Process]":
    """What bears the mark of a command that is no more."""
    import psutil

    found, ours = set(), psutil.Process()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            starter, _, where = process.environ().get(MARK, "").partition(" ")
            if where == _mark_of(root) and not _lives_since(int(starter), process.create_time()):
                found |= {process, *process.children(recursive=True)}
    return _alive(found - {ours, *ours.parents()})


def _lives_since(pid: int, moment: float) -> bool:
    """Whether the process was there already: a later one has only taken its number."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment)
    return False


def _alive(processes: "set[psutil.Process]") -> "set[psutil.Process]":
    import psutil

    def lives(process: "psutil.Process") -> bool:
        try:
            return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    return {process for process in processes if lives(process)}


def _send(processes: "set[psutil.Process]", number: signal.Signals) -> None:
    """To parents first: a DVC that saw its stage end would begin to write its files, and be killed at that."""
    import psutil

    def born(process: "psutil.Process") -> tuple[float, int]:
        with suppress(psutil.NoSuchProcess):
            return process.create_time(), process.pid
        return 0, process.pid

    for process in sorted(processes, key=born):
        try:
            process.send_signal(number)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
