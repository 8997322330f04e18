"""Two processes with one thread each, on one batch together, against one process with two threads."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.arena import Opponent, Seat, opponent
from benchmarks.cases import Case
from benchmarks.contestants import Name
from benchmarks.timing import Spread, in_turns, times_faster

CORES = 2


class Team:
    """Processes that train together: a step has ended when it has ended for all."""

    def __init__(self, members: list[Opponent]) -> None:
        self.members = members
        for member in members:
            member.answer()

    def train(self) -> float:
        """The seconds of the problem's steps."""
        for member in self.members:
            member.ask("train")
        return float(max(member.answer() for member in self.members))


def two_over_one(
    case: Case, name: Name, rounds: int, each: Callable[[], None] = lambda: None
) -> tuple[dict[str, Any], Spread]:
    """Take the steps of a case on the CPU in both ways, in turns, `rounds` times; `each` is called after every turn.

    Returns a block for the history, and how many times as fast two processes were.
    """
    with TemporaryDirectory() as folder, _team(case, name, 1, folder) as one, _team(case, name, CORES, folder) as two:
        seconds = in_turns({"one": one.train, "two": two.train}, rounds, each)
    block = {
        "case": case.name,
        "engine": name,
        "rounds": rounds,
        "seconds": {who: Spread.of(took).median for who, took in seconds.items()},
    }
    return block, times_faster(seconds, "two", "one")


@contextmanager
def _team(case: Case, name: Name, world: int, folder: str) -> Iterator[Team]:
    seats = [Seat(rank, world, CORES // world, Path(folder) / f"meeting-{world}") for rank in range(world)]
    with ExitStack() as stack:
        yield Team([stack.enter_context(opponent(case, name, torch.device("cpu"), seat)) for seat in seats])
