"""What many tests stand on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    """Tests do not depend on each other's random numbers."""
    torch.manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def root() -> Path:
    """The project's root."""
    return ROOT
