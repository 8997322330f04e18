"""Image files of any kind and size as pixels of one size."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from absld.errors import InputError
from absld.progress import progress

_CHUNK = 128
"""Images that a thread reads at a time."""
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L")
"""Pillow's modes for grey images of 16 bits."""
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no image, or half of one."""


def read_images(paths: Sequence[Path], out: NDArray[np.uint8]) -> None:
    """Read `paths` into `out`, (N, size, size, channels), in their order and with several threads.

    Raises:
        InputError: a file is no image that Pillow reads.

    """
    starts = range(0, len(paths), _CHUNK)
    with ThreadPoolExecutor() as pool, progress("read images", len(paths), "images") as advance:
        for count in pool.map(partial(_read_chunk, paths, out), starts):
            advance(count)


def _read_chunk(paths: Sequence[Path], out: NDArray[np.uint8], start: int) -> int:
    chunk = paths[start : start + _CHUNK]
    for row, path in enumerate(chunk, start):
        out[row] = read_image(path, size=out.shape[1], channels=out.shape[3])
    return len(chunk)


def read_image(path: Path, size: int, channels: int) -> NDArray[np.uint8]:
    """One image, (size, size, channels): the shorter side is resized to `size`, then the centre is cropped.

    An image of that size already keeps its pixels. Transparency is laid on white, a photograph is turned as its camera
    says, an animation gives its first frame.

    Raises:
        InputError: the file is no image that Pillow reads.

    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            image = _converted(upright, "L" if channels == 1 else "RGB")
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read as an image ({error}): repair or remove it") from error
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(size, size, channels)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in _SIXTEEN_BITS:
        # Pillow would cut every value above 255 off
        values: NDArray[Any] = np.asarray(image, dtype=np.float64)
        image = Image.fromarray(np.rint(values.clip(0, 65535) / 257).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer)
    return image.convert(mode)
