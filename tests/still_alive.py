"""The processes that a test starts: which are still alive, and that none outlives the test.

One that has ended and waits to be reaped is gone: where process 1 reaps nothing, it waits for ever.
"""

import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import AnyStr

import psutil


def lives(process: psutil.Process) -> bool:
    """Whether it still runs; it may go between the two questions."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def survivors(processes: Iterable[psutil.Process], seconds: float = 0) -> list[psutil.Process]:
    """Those that live now, or when so many seconds have passed; none as soon as all are gone."""
    left, deadline = list(filter(lives, processes)), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = list(filter(lives, left))
    return left


def descendants(process: "subprocess.Popen[AnyStr]") -> list[psutil.Process]:
    """Parents come before their children."""
    return psutil.Process(process.pid).children(recursive=True)


def command_of(process: psutil.Process) -> list[str]:
    """Nothing where it has gone."""
    with suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def kill_family(process: "subprocess.Popen[AnyStr]") -> None:
    """kill -9 for it and all that it started, unless it has ended; none of them lives when this returns."""
    if process.poll() is not None:
        return
    family = [psutil.Process(process.pid), *descendants(process)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    assert not survivors(family, 60)  # what still dies may still hold a lock


@contextmanager
def killed_in_the_end(process: "subprocess.Popen[AnyStr]") -> Iterator["subprocess.Popen[AnyStr]"]:
    """However the block ends, nothing of it goes on and takes the cores of the tests that follow."""
    with process:
        try:
            yield process
        finally:
            kill_family(process)
