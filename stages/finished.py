"""Work of a stage that has ended well, until DVC has recorded it.

DVC copies the outs and writes dvc.lock after the stage has gone. Killed at that, or without space, it removes the outs
when it comes back and begins the stage anew, which then finds its work here.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from stages.contracts import ALL

if TYPE_CHECKING:
    from stages.opening import Opened

FINISHED = Path(".absld/finished")


def take_up(opened: "Opened") -> None:
    """Give the stage back the work that it has finished before, and forget that of the stages before it.

    DVC has recorded these, or it would not have begun this one.
    """
    for before in ALL:
        if set(before.writes.values()) & set(opened.stage.reads.values()):
            key = opened.key if before.axes else "pipeline"
            for folder in (opened.root / FINISHED).glob(f"{before.name}-{key}-*"):
                shutil.rmtree(folder, ignore_errors=True)
    place = _place(opened)
    if place.exists() and not opened.scratch.exists():
        opened.scratch.parent.mkdir(parents=True, exist_ok=True)
        place.rename(opened.scratch)


def put_aside(opened: "Opened") -> None:
    """Keep the work of a stage that has ended well."""
    if opened.scratch.exists():
        place = _place(opened)
        shutil.rmtree(place, ignore_errors=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        opened.scratch.rename(place)


def _place(opened: "Opened") -> Path:
    return opened.root / FINISHED / opened.scratch.name
