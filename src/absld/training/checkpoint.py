"""A run that was killed goes on where it was, bit for bit on a CPU."""

from pathlib import Path
from typing import Any

import torch

from absld.records.files import replacing


class Checkpoint:
    """The newest finished epoch of a run, in a scratch folder that belongs to exactly this run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.pt"

    def save(self, memory: dict[str, Any]) -> None:
        """Replace the checkpoint at once or not at all."""
        with replacing(self.path) as part:
            torch.save(memory, part)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """What was saved, or None."""
        if not self.path.exists():
            return None
        memory: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        return memory
