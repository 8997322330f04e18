"""What the stages left in their logs: how long each took, and why one failed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absld.records.files import read_json
from absld.records.layout import RunKey
from pipeline.dvc import DONE, FAILED, WRONG_INPUT
from pipeline.processes import Ended

FAILURE = ".absld/failure.json"
Logs = Mapping[Path, int]
"""Log file to the time it was written, in nanoseconds."""


def logs(root: Path) -> Logs:
    """The logs there are."""
    return {path: path.stat().st_mtime_ns for path in (root / "logs").rglob("*.json")}


def ran_since(root: Path, before: Logs) -> list[dict[str, Any]]:
    """The logs of the stages that ran since, in the order in which they began."""
    new = [(path, read_json(path)) for path, written in logs(root).items() if before.get(path) != written]
    return [log for _, log in sorted(new, key=lambda item: (item[1]["started"], item[0]))]


def forget_failure(root: Path) -> None:
    """What the last run said is not what the next one will say."""
    (root / FAILURE).unlink(missing_ok=True)


def failure(root: Path) -> dict[str, Any] | None:
    """Which stage failed, and why, in its own words."""
    path = root / FAILURE
    return read_json(path) if path.is_file() else None


def why(root: Path, key: RunKey, output: Path, since: float) -> str:
    """Why a run was not made: a stage's own words, else DVC's.

    Args:
        root: the project's folder.
        key: the run.
        output: what DVC and the stages printed.
        since: when it began, in seconds; an older log speaks of another time.

    """
    for path in (root / "logs" / str(key)).glob("*.json"):
        if path.stat().st_mtime >= since and (log := read_json(path))["exit_code"]:
            return f"{log['stage']}: {log['message'].splitlines()[0]}" if log["message"] else log["stage"]
    said = output.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("ERROR: ") for line in said if line.startswith("ERROR: ")]
    return errors[0] if errors else "DVC ended without a word"


def exit_code(root: Path, ended: Ended) -> int:
    """The exit code of the command line: DVC's own is 255 whatever happened."""
    if ended.told is not None:
        return 128 + ended.told
    if ended.code == 0:
        return DONE
    said = failure(root)
    return WRONG_INPUT if said is not None and said["code"] == WRONG_INPUT else FAILED
