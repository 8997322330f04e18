"""Measure, record, show: `python -m benchmarks.run`, or `make bench` and `make bench-slow`."""

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from absld.device import cores, pick
from benchmarks import history, table
from benchmarks.cases import CASES
from benchmarks.contestants import NAMES
from benchmarks.history import HISTORY, Record, flat
from benchmarks.machine import described
from benchmarks.measure import measured, turns
from benchmarks.remembered import saved
from benchmarks.telling import telling
from benchmarks.timing import Seconds, Spread, times_faster
from benchmarks.two_processes import CORES, two_over_one

ROOT = Path(__file__).parents[1]
AUTOATTACK, TEACHER_MEMORY, TWO_PROCESSES = "autoattack", "teacher_memory", "two_processes"
QUICK = [name for name, case in CASES.items() if not case.slow]
SLOW = [*(name for name, case in CASES.items() if case.slow), AUTOATTACK, TEACHER_MEMORY, TWO_PROCESSES]
ATTACKED = {"cpu": 8, "cuda": 200}
"""Images for AutoAttack, by type of device."""
FEW = 3
"""How often, at most, what takes minutes is repeated."""
Measure = Callable[[int, Callable[[], None]], tuple[dict[str, Any], Spread]]
"""Given rounds and whom to call after each turn: a block for the history, and a ratio."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--only", nargs="+", choices=[*QUICK, *SLOW], metavar="NAME", help=", ".join([*QUICK, *SLOW]))
    parser.add_argument("--slow", action="store_true", help="all that `make bench` leaves out")
    parser.add_argument("--rounds", type=int, default=7, help="how often each contestant has its turn")
    parser.add_argument("--images", type=int, help="for AutoAttack")
    parser.add_argument("--history", type=Path, default=HISTORY, help="the file to add a line to")
    parser.add_argument("--commit", help="where git cannot say it")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> None:
    """Measure what is asked for, add a line to the history, write the document's tables anew, print them."""
    asked = arguments(given)
    device = pick(asked.device)
    record: Record = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), **described(device, ROOT)}
    record["commit"] = asked.commit or record["commit"]
    names = _possible(asked.only or (SLOW if asked.slow else QUICK), device)
    ratios: dict[str, Spread] = {}
    record["cases"] = {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        _cases([name for name in names if name in CASES], device, asked.rounds, record["cases"], ratios)
        for name, (rounds, measure, ratio) in _others(asked, device).items():
            if name in names:
                with telling(name, 2 * rounds) as each:
                    record[name], ratios[ratio] = measure(rounds, each)
    finally:  # what was measured is kept, whatever ends the rest
        if ratios:
            record |= flat(ratios)
            history.append(record, asked.history)
    if asked.history == HISTORY:
        table.write()
    _show(table.tables([record]))


def _possible(names: Sequence[str], device: torch.device) -> list[str]:
    left_out = {TWO_PROCESSES} if device.type != "cpu" or cores() < CORES else set()
    for name in left_out.intersection(names):
        print(f"{name}: left out, it is measured on a CPU with {CORES} cores or more", file=sys.stderr)
    return [name for name in names if name not in left_out]


def _cases(
    names: Sequence[str], device: torch.device, rounds: int, cases: dict[str, Any], ratios: dict[str, Spread]
) -> None:
    """Add the cases' blocks to `cases`, and to `ratios` theirs and that of all their matrix products."""
    products: list[Seconds] = []
    for name in names:
        with telling(name, turns(rounds, NAMES, device)) as each:
            found = measured(CASES[name], device, rounds, each=each)
        cases[name] = found.block
        ratios |= found.ratios
        products.append(found.products)
    if products and "bfloat16" in products[0]:
        pooled = {of: [second for each in products for second in each[of]] for of in products[0]}
        ratios["matmul_bf16_over_fp32"] = times_faster(pooled, "bfloat16", "float32")


def _others(asked: argparse.Namespace, device: torch.device) -> dict[str, tuple[int, Measure, str]]:
    """What is no case, by name: its rounds, what measures it, and the name of its ratio."""
    few = min(asked.rounds, FEW)

    def attacked(rounds: int, each: Callable[[], None]) -> tuple[dict[str, Any], Spread]:
        from benchmarks.attack import compared  # it needs pyautoattack, and nothing else does

        return compared("resnet18", asked.images or ATTACKED[device.type], device, rounds, each)

    return {
        AUTOATTACK: (few, attacked, "autoattack_ours_over_reference"),
        TEACHER_MEMORY: (few, partial(saved, device), "digits_run_remembering_over_asking"),
        TWO_PROCESSES: (asked.rounds, partial(two_over_one, CASES["resnet18_step"], "fast"), "two_processes_over_one"),
    }


def _show(tables: str) -> None:
    if not sys.stdout.isatty():
        print(tables)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(tables))


if __name__ == "__main__":
    main(sys.argv[1:])
