"""A fetched split: uint8 images and their labels, memory-mapped; and its pixels as floats."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from absld.data.card import Card, read_card, write_card
from absld.shapes import Images, Pixels

__all__ = ["Card", "Split", "read_card", "read_split", "to_images", "write_card"]


@dataclass(frozen=True)
class Split:
    """One split as it lies on disk."""

    x: NDArray[np.uint8]
    """(N, height, width, channels), memory-mapped and read-only."""
    y: NDArray[np.int64]
    """(N,), class ids."""

    def __len__(self) -> int:
        return len(self.y)


def read_split(x_path: Path, y_path: Path) -> Split:
    """Open a split without reading its images."""
    return Split(x=np.load(x_path, mmap_mode="r"), y=np.load(y_path))


def to_images(x: "NDArray[np.uint8] | Pixels") -> Images:
    """Pixels 0 to 255, channels last, as floats in [0, 1], channels first: v / 255 exactly rounded."""
    pixels = torch.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x
    return pixels.permute(0, 3, 1, 2).to(torch.float32).div(255).contiguous()
