"""Which run has which name. The paths themselves stand in stages/contracts.py."""

from typing import NamedTuple


class RunKey(NamedTuple):
    """One method with one seed."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-s{self.seed}"
