"""A run that was killed goes on where it was, bit for bit on a CPU.

The best weights have a file of their own, written once, when the epoch after them is not better: those of the newest
epoch are in the checkpoint anyway. The checkpoint is written after that file and names it, and only then do others go:
a kill at any point leaves a checkpoint and the best weights that belong to it.
"""

from pathlib import Path
from typing import Any

import torch

from absld.records.files import replacing

BEST = "best_weights"
"""The part of a run's memory that is kept apart; None where the newest epoch is the best."""


class Checkpoint:
    """The newest finished epoch of a run, in a scratch folder that belongs to exactly this run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.pt"
        self._apart: str | None = None
        """The file that the checkpoint names. Another one there is left over from a kill and may hold anything."""

    def save(self, memory: dict[str, Any]) -> None:
        """Replace the checkpoint at once or not at all."""
        best = memory[BEST]
        apart = None if best is None else f"best-{memory['best'][0]}.pt"
        if apart is not None and apart != self._apart:
            _write(self.path.with_name(apart), best)
        _write(self.path, {**memory, BEST: apart})
        self._apart = apart
        self._remove_apart(but=apart)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """What was saved, or None."""
        if not self.path.exists():
            return None
        memory = _read(self.path, device)
        self._apart = memory[BEST]
        if self._apart is not None:
            memory[BEST] = _read(self.path.with_name(self._apart), device)
        return memory

    def remove(self) -> None:
        """Forget the run: it has ended, and its results are safe."""
        self.path.unlink(missing_ok=True)
        self._remove_apart(but=None)

    def _remove_apart(self, but: str | None) -> None:
        for path in self.path.parent.glob("best-*.pt"):
            if path.name != but:
                path.unlink(missing_ok=True)


def _write(path: Path, value: Any) -> None:
    with replacing(path) as part:
        torch.save(value, part)


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    memory: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return memory
