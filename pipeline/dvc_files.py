"""What DVC writes in place, and a kill can spoil: its note of the files in use, and dvc.lock.

DVC forgets a process that is gone from that note. One that was killed but not yet waited for by its parent it takes for
alive, which in a container can mean for ever; and so it takes a process that was given the same number later. Half a
note, or half a dvc.lock, no DVC reads.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from absld.records.files import write_text
from stages.contracts import ALL

NOTE, GUARD_OF_NOTE = Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/rwlock.lock")
LOCK, GUARD_OF_LOCK = Path("dvc.lock"), Path(".dvc/tmp/lock")
KEPT_LOCK = Path(".absld/dvc.lock")
"""The last dvc.lock that was whole. What was made since then DVC has in its cache, and does not make again."""
BROKEN_LOCK = Path(".absld/dvc.lock.broken")
"""What was replaced, for whoever had changed it by hand."""
OURS = frozenset(stage.name for stage in ALL)
"""A stage of another name its user has added."""
CONFLICT = "<<<<<<<"
"""Written by git: a file to be mended by its user."""


def mend(root: Path) -> None:
    """Remove the dead from the note, and replace what is half written."""
    _forget_the_dead(root)
    _restore_lock(root)


def in_use(root: Path) -> bool:
    """Whether a DVC that lives has noted a file that a stage of its is making."""
    import psutil

    try:
        writing = json.loads((root / NOTE).read_bytes())["write"]
    except (OSError, ValueError, KeyError):
        return False
    return any(psutil.pid_exists(process["pid"]) for process in writing.values())


def _restore_lock(root: Path) -> None:
    lock, kept = root / LOCK, root / KEPT_LOCK
    with suppress(FileNotFoundError):
        text = lock.read_text(encoding="utf-8", errors="replace")
        known = kept.read_text(encoding="utf-8") if kept.exists() else None
        if text == known or CONFLICT in text:
            return
        if _is_whole(text):
            kept.parent.mkdir(exist_ok=True)
            write_text(kept, text)
            return
        with _held(root / GUARD_OF_LOCK):
            if _is_whole(lock.read_text(encoding="utf-8", errors="replace")):  # another DVC was writing it
                return
            kept.parent.mkdir(exist_ok=True)
            lock.replace(root / BROKEN_LOCK)
            if known is not None:
                write_text(lock, known)


def _is_whole(text: str) -> bool:
    """A cut is seldom at the end of a line and between two files or stages; what that loses DVC has in its cache."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(text)
    except YAMLError:
        return False
    if not (text.endswith("\n") and isinstance(document, dict) and "schema" in document):
        return False
    stages = document.get("stages")
    return isinstance(stages, dict) and all(_is_whole_stage(*stage) for stage in stages.items())


def _is_whole_stage(name: str, stage: Any) -> bool:
    """All of ours have outs, which stand last, and files of this machine; a stage that the user has added may not."""
    ours = name.partition("@")[0] in OURS
    if not isinstance(stage, dict) or (ours and "outs" not in stage):
        return False
    parts = [stage.get("deps", []), stage.get("outs", [])]
    known = {"path", "md5", "size"} if ours else {"path"}
    return all(isinstance(part, list) for part in parts) and all(
        isinstance(file, dict) and known <= file.keys() for part in parts for file in part
    )


def _forget_the_dead(root: Path) -> None:
    note = root / NOTE
    with suppress(FileNotFoundError), _held(root / GUARD_OF_NOTE):
        try:
            used = json.loads(note.read_bytes())
        except ValueError:
            note.unlink()
            return
        living = _of_the_living(used, note.stat().st_mtime)
        if living != used:
            note.write_text(json.dumps(living), encoding="utf-8")


def _of_the_living(used: dict[str, Any], written: float) -> dict[str, Any]:
    """``{"write": {path: process}, "read": {path: [process, ...]}}`` without those that cannot have written it."""
    read = {path: [one for one in those if not _is_dead(one, written)] for path, those in used.get("read", {}).items()}
    return {
        "write": {path: one for path, one in used.get("write", {}).items() if not _is_dead(one, written)},
        "read": {path: those for path, those in read.items() if those},
    }


def _is_dead(process: dict[str, Any], written: float) -> bool:
    """Whether it is a zombie, or another one with its number; what is wholly gone DVC forgets itself."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(process["pid"])
        return bool(found.status() == psutil.STATUS_ZOMBIE or found.create_time() > written + 1)
    return False


@contextmanager
def _held(guard: Path) -> Iterator[None]:
    """DVC's own lock on a file, which it takes by flock before it writes."""
    with guard.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
