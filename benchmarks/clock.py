"""Where the time of a step goes."""

import time
from typing import Literal, get_args

import torch

Part = Literal["data", "teacher", "attack", "training", "bookkeeping"]
"""data: fetching and augmenting; attack: all of the walk, and what makes the student ready for it; training: the two
forwards in training mode, their backward and the optimiser; bookkeeping: temperatures, risks, sums."""
PARTS: tuple[Part, ...] = get_args(Part)


class Clock:
    """Adds up seconds by part while it runs. While it does not, `enter` costs next to nothing and waits for nobody."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[Part, float] = {}
        self._part: Part | None = None
        self._since = 0.0

    def start(self) -> None:
        """Run, from zero; what comes before the first part is nobody's but bookkeeping's."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._since, self._part = self.now(), "bookkeeping"

    def enter(self, part: Part) -> None:
        """From now on the time is this part's."""
        if self._part is not None:
            now = self.now()
            self.seconds[self._part] += now - self._since
            self._since, self._part = now, part

    def stop(self) -> dict[Part, float]:
        """Run no more. The share of each part in the time since the start; they sum to 1."""
        self.enter("bookkeeping")
        self._part = None
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    def now(self) -> float:
        """Seconds, when the device has done all that it was asked to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
