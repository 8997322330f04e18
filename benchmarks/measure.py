"""One case, measured: the contestants, and what the device reaches at most, take turns."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import torch

from absld.engine.precision import has_bfloat16
from benchmarks.arena import Opponent, arena
from benchmarks.cases import Case
from benchmarks.contestants import NAMES, Name
from benchmarks.flops import Arithmetic, of_an_image
from benchmarks.peak import Peak
from benchmarks.problem import settings_of, spec_of
from benchmarks.timing import Seconds, Spread, in_turns, times_faster

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """What a case gave."""

    block: dict[str, Any]
    """For the history."""
    ratios: dict[str, Spread]
    """How many times as fast one contestant was as another, by `<case>_<fast>_over_<slow>`."""
    products: Seconds
    """Of one size of matrix product, by precision."""


def precisions(device: torch.device) -> list[str]:
    """Those in which the device itself multiplies matrices."""
    return [name for name in PRECISIONS if name == "float32" or has_bfloat16(device)]


def turns(rounds: int, names: Sequence[Name], device: torch.device) -> int:
    """How often `measured` says that it has got on: for each first step, each turn and each look at the parts."""
    return 2 * len(names) + rounds * (len(names) + len(precisions(device)))


def measured(
    case: Case,
    device: torch.device,
    rounds: int,
    names: Sequence[Name] = NAMES,
    each: Callable[[], None] = lambda: None,
) -> Measured:
    """Measure a case, `rounds` times; `each` is called when something is done."""
    peaks = {name: Peak(PRECISIONS[name], device) for name in precisions(device)}
    for peak in peaks.values():
        peak()  # the first one is slower
    with arena(case, names, device, each) as opponents:
        everyone = {name: opponent.train for name, opponent in opponents.items()} | peaks
        seconds = in_turns(everyone, rounds, each)
        reached = {name: peak.reached for name, peak in peaks.items()}
        flops = of_an_image(spec_of(case, case.student), spec_of(case, case.teacher), settings_of(case)[0])
        scale = case.scales[device.type]
        rates = {name: Spread.of(scale.images / each_took for each_took in seconds[name]) for name in names}
        results = {name: _result(opponents[name], rates[name], flops, reached, each) for name in names}
    block = {
        "student": case.student,
        "teacher": case.teacher,
        **asdict(scale),
        "rounds": rounds,
        "flops_per_image": sum(flops),
        "peak": reached,
        "contestants": results,
    }
    ratios = {
        f"{case.name}_{fast}_over_{slow}": times_faster(seconds, fast, slow) for slow, fast in combinations(names, 2)
    }
    return Measured(block, ratios, {name: seconds[name] for name in peaks})


def _result(
    opponent: Opponent, rate: Spread, flops: Arithmetic, peak: dict[str, float], each: Callable[[], None]
) -> dict[str, Any]:
    shares, facts = opponent.shares(), opponent.facts()
    each()
    precision = str(facts.report["precision"])
    of_teacher = str(facts.report.get("teacher_precision", precision))
    return {
        "images_per_second": rate.median,
        "images_per_second_low": rate.low,
        "images_per_second_high": rate.high,
        "flops_per_second": sum(flops) * rate.median,
        "share_of_peak": rate.median * (flops.student / peak[precision] + flops.teacher / peak[of_teacher]),
        "memory_mib": None if facts.memory is None else facts.memory / MIB,
        "first_seconds": facts.first_seconds,
        "threads": facts.threads,
        "report": facts.report,
        "shares": shares,
    }
