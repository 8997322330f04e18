"""Each contestant in a process of its own: nobody's threads, settings of torch, freed memory or caches are another's.

Those whose turn it is not wait for a message and take no time.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from benchmarks.cases import Case
from benchmarks.clock import Clock, Part
from benchmarks.contestants import Name, entered
from benchmarks.memory import peak_of_this_process
from benchmarks.problem import posed

Request = Literal["train", "shares", "facts"]
PATIENCE = 10.0
"""Seconds that a process has to end by itself."""


class Facts(NamedTuple):
    """What is known of a contestant once it has trained."""

    first_seconds: float
    """Its first steps, with whatever it compiles and tries out."""
    memory: int | None
    """Bytes that its process took at most, beyond what it had after importing; None where nobody counts."""
    threads: int
    report: dict[str, float | str]
    """What it says of itself."""


@dataclass(frozen=True)
class Seat:
    """The place of a process among several that train together."""

    rank: int
    world: int
    threads: int
    meeting_point: Path
    """A file that does not exist yet."""

    def take(self) -> None:
        """Wait for the others."""
        torch.set_num_threads(self.threads)
        if self.world > 1:
            meet = f"file://{self.meeting_point}"
            torch.distributed.init_process_group("gloo", init_method=meet, rank=self.rank, world_size=self.world)


class Opponent:
    """A contestant elsewhere."""

    def __init__(self, name: str, connection: "Connection[Any, Any]") -> None:
        self.name, self._connection = name, connection

    def train(self) -> float:
        """The seconds that the problem's steps took, by its own clock."""
        seconds: float = self._ask("train")
        return seconds

    def shares(self) -> dict[Part, float]:
        """The same steps, with a look at the clock at every turn: which part took which share of the time."""
        found: dict[Part, float] = self._ask("shares")
        return found

    def facts(self) -> Facts:
        """What is known of it by now."""
        found: Facts = self._ask("facts")
        return found

    def _ask(self, request: Request) -> Any:
        self.ask(request)
        return self.answer()

    def ask(self, request: Request) -> None:
        """Ask for something, and do not wait for the answer."""
        try:
            self._connection.send(request)
        except OSError:
            raise self._ended() from None

    def answer(self) -> Any:
        """What it says next."""
        try:
            return self._connection.recv()
        except EOFError:
            raise self._ended() from None

    def _ended(self) -> RuntimeError:
        return RuntimeError(f"{self.name} has ended: see what it printed above")


@contextmanager
def arena(
    case: Case, names: Sequence[Name], device: torch.device, each: Callable[[], None] = lambda: None
) -> Iterator[dict[Name, Opponent]]:
    """The contestants of a case, by name. Each takes its first steps before the next is built; then `each` is told."""
    with ExitStack() as stack:
        opponents = {}
        for name in names:
            opponents[name] = stack.enter_context(opponent(case, name, device))
            opponents[name].answer()
            each()
        yield opponents


@contextmanager
def opponent(case: Case, name: Name, device: torch.device, seat: Seat | None = None) -> Iterator[Opponent]:
    """A process that begins at once with its first steps; it answers when they are taken."""
    context = get_context("spawn")  # a fork would inherit threads and the device
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, case, name, device, seat), name=name)
    process.start()
    there.close()
    try:
        yield Opponent(name, here)
    finally:
        here.close()
        process.join(PATIENCE)
        if process.is_alive():
            process.terminate()
            process.join()


def _serve(connection: "Connection[Any, Any]", case: Case, name: Name, device: torch.device, seat: Seat | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks is interrupted, and then asks no more
    if seat is not None:
        seat.take()
    corner = _Corner(case, name, device)
    connection.send("ready")
    while (request := _heard(connection)) is not None:
        connection.send({"train": corner.train, "shares": corner.shares, "facts": corner.facts}[request]())


def _heard(connection: "Connection[Any, Any]") -> Request | None:
    """The next request; None where nobody is left to make one."""
    try:
        request: Request = connection.recv()
    except EOFError:
        return None
    return request


class _Corner:
    """Where an opponent's work is done."""

    def __init__(self, case: Case, name: Name, device: torch.device) -> None:
        self.clock = Clock(device)
        self.memory = peak_of_this_process(device)
        self.contestant = entered(name, posed(case, device), self.clock)
        self.first_seconds = self.train()

    def train(self) -> float:
        start = self.clock.now()
        self.contestant.train()
        return self.clock.now() - start

    def shares(self) -> dict[Part, float]:
        self.clock.start()
        self.contestant.train()
        return self.clock.stop()

    def facts(self) -> Facts:
        peak = peak_of_this_process(self.clock.device)
        taken = None if peak is None or self.memory is None else peak - self.memory
        return Facts(self.first_seconds, taken, torch.get_num_threads(), dict(self.contestant.report()))
