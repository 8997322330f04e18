"""Every run of the benchmarks: a line of JSON each, in the order in which they were taken."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread

HISTORY = Path(__file__).with_name("history.jsonl")

Record = dict[str, Any]
"""`date`, what benchmarks.machine tells, `cases`, `autoattack`, `teacher_memory`; `ratios` and `spread`, by name."""


def flat(ratios: Mapping[str, Spread]) -> dict[str, dict[str, Any]]:
    """`ratios`: the medians; `spread`: smallest and largest of the same names."""
    return {
        "ratios": {name: ratio.median for name, ratio in ratios.items()},
        "spread": {name: [ratio.low, ratio.high] for name, ratio in ratios.items()},
    }


def read(path: Path = HISTORY) -> list[Record]:
    """All runs, the oldest first; none where there is no file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def append(record: Record, path: Path = HISTORY) -> None:
    """Add a run, its numbers with four significant digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(_rounded(record), ensure_ascii=False, allow_nan=False) + "\n")


def newest(records: Sequence[Record], part: str) -> dict[str, dict[str, Any]]:
    """By device, and then by name, the newest entry of a part (`cases`, `ratios`, ...) of all runs on that device."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        found.setdefault(record["device"], {}).update(record.get(part, {}))
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(of) for name, of in value.items()}
    return [_rounded(of) for of in value] if isinstance(value, list) else value
