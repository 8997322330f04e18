"""DVC's note of the files that are being read and written, and by which process: what killed DVCs leave in it.

DVC forgets a process that is gone. One that was killed but not yet waited for by its parent it takes for alive, which
in a container can mean for ever. And it writes the note in place: killed at that, it leaves half of one, which no DVC
reads.
"""

import fcntl
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

NOTE = Path(".dvc/tmp/rwlock")
GUARD = Path(".dvc/tmp/rwlock.lock")
"""Whoever holds it, by flock, may change the note."""


def forget_the_dead(root: Path) -> None:
    """Remove the dead from the note in this project, and the note itself where it is half written."""
    with suppress(FileNotFoundError), (root / GUARD).open("rb") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        note = root / NOTE
        try:
            used = json.loads(note.read_bytes())
        except ValueError:
            note.unlink()
            return
        living = _of_the_living(used)
        if living != used:
            note.write_text(json.dumps(living), encoding="utf-8")


def _of_the_living(used: dict[str, Any]) -> dict[str, Any]:
    """``{"write": {path: process}, "read": {path: [process, ...]}}`` without zombies."""
    read = {path: [one for one in those if not _is_zombie(one)] for path, those in used.get("read", {}).items()}
    return {
        "write": {path: one for path, one in used.get("write", {}).items() if not _is_zombie(one)},
        "read": {path: those for path, those in read.items() if those},
    }


def _is_zombie(process: dict[str, Any]) -> bool:
    import psutil

    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(process["pid"]).status() == psutil.STATUS_ZOMBIE)
    return False
